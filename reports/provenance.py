"""On which machine, from which commit and on which day something was measured, and by which command."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GIB = 2**30
COMMIT_LETTERS = 9


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a measurement comes from; None where its file does not say.

    Attributes:
        machine: as stored by every part of hpt: cpu_model, num_cores, memory_bytes, device, versions, commit, sources.
        moment: UTC, ISO 8601, "" if the file does not say.
        command: the command line that makes such a measurement.
    """

    machine: Mapping[str, Any] | None
    moment: str
    command: str

    @property
    def commit(self) -> str | None:
        """Of the code that ran."""
        return (self.machine or {}).get("commit")

    @property
    def is_dirty(self) -> bool | None:
        """The tree had changes that are in no commit."""
        return (self.machine or {}).get("is_dirty")

    @property
    def sources(self) -> Mapping[str, str]:
        """Digests of the code's parts."""
        return (self.machine or {}).get("sources") or {}

    @property
    def is_of_gpu(self) -> bool:
        """It was made on a GPU."""
        return str((self.machine or {}).get("device") or "cpu").partition(":")[0] != "cpu"

    @property
    def day(self) -> str:
        """YYYY-MM-DD."""
        return self.moment[:10] or "day not stored"

    @property
    def where(self) -> str:
        """Processor, cores, memory, device and threads in words."""
        facts = self.machine
        if not facts:
            return "machine not stored"
        words = [str(facts.get("cpu_model") or "processor not stored")]
        if facts.get("num_cores") is not None:
            words.append(f"{facts['num_cores']} cores")
        if facts.get("memory_bytes") is not None:
            words.append(f"{facts['memory_bytes'] / GIB:.3g} GiB")
        device = facts.get("device_name") or facts.get("device")
        if device is not None:
            words.append(f"device {device}")
        if facts.get("threads") is not None:
            words.append(f"threads {facts['threads']}")
        return ", ".join(words)

    @property
    def versions(self) -> str:
        """Python, torch and numpy."""
        facts = self.machine or {}
        known = [f"{name} {facts[name]}" for name in ("python", "torch", "numpy") if facts.get(name)]
        return ", ".join(known) or "versions not stored"

    @property
    def code(self) -> str:
        """The commit, and whether its tree was changed; all of them where parts were measured at several times."""
        if self.commit is None:
            return "commit not stored"
        others = [one for one in (self.machine or {}).get("commits") or [] if one != self.commit]
        letters = [one[:COMMIT_LETTERS] for one in (self.commit, *others)]
        return ", ".join(letters) + (" with changes" if self.is_dirty else "")
