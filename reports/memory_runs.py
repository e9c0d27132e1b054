"""Stored validations of memory: arms, checks, drills and estimates of `hpt validate-vram`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hpt_reports.evidence import Evidence, Source
from hpt_reports.formatting import NOT_MEASURED, harmless
from hpt_reports.kinds import MEMORY
from hpt_reports.page import INCONCLUSIVE, MISSED, REACHED, REPORTED, VerdictRow

CALL_NUMBERS = ("call", "allocated_bytes", "reserved_bytes", "process_bytes", "peak_bytes")
RANK = ", rank "
FIRST = f"{RANK}0"
WORDS = {"passed": REACHED, "failed": MISSED, "inconclusive": INCONCLUSIVE, "reported": REPORTED}


@dataclass(frozen=True, slots=True)
class Validation:
    """One stored validation.

    Attributes:
        source: where it is stored.
        model: that was trained.
        device: "cpu" or "cuda".
        processes: of each arm; the highest of them is what an arm's numbers are of.
    """

    source: Source
    model: str
    device: str
    processes: int = 1

    @property
    def where(self) -> str:
        """The device, and the number of processes where there were several."""
        return self.device if self.processes == 1 else f"{self.device}, {self.processes} processes"

    @property
    def stored(self) -> Mapping[str, Any]:
        """Arms, drills and estimates by name, checks in their order."""
        return self.source.document

    @property
    def measured(self) -> str:
        """What the numbers are about."""
        return str(self.stored.get("measured") or ("host memory" if self.device == "cpu" else "GPU memory"))

    def verdicts(self) -> list[VerdictRow]:
        """Its checks as verdicts of a report."""
        return [
            VerdictRow(
                what=harmless(f"{one['name']} ({self.model}, {self.where})"),
                threshold=harmless(one["threshold"]),
                measured=harmless(one["evidence"]),
                word=WORDS.get(str(one["verdict"]), NOT_MEASURED),
                sources=(self.source,),
            )
            for one in self.stored["checks"]
        ]


def validations(evidence: Evidence) -> list[Validation]:
    """The newest validation of each model, device and number of processes, in the order of their names."""
    found: dict[tuple[str, str, int], Validation] = {}
    for source in evidence.of(MEMORY):
        settings = source.document["settings"]
        device = "cuda" if settings["device"].startswith("cuda") else "cpu"
        key = (settings["model"], device, settings.get("processes", 1))
        found.setdefault(key, Validation(source, *key))
    return [found[key] for key in sorted(found)]


def check_value(evidence: Evidence, name: str, device: str, model: str = "gpt2") -> tuple[float, bool, Source] | None:
    """The number of one check on one kind of device, of the model that targets speak of, and whether it decides.

    Of arms of one process.
    """
    for one in validations(evidence):
        if (one.device, one.model, one.processes) == (device, model, 1):
            for check in one.stored["checks"]:
                if check["name"] == name and check["value"] is not None:
                    return float(check["value"]), check["verdict"] != "inconclusive", one.source
    return None


def steps_of(validation: Validation) -> pd.DataFrame | None:
    """A row a call: arm, call, phase, in_use_bytes, peak_bytes; None if the file beside run.json is missing.

    Where several processes ran an arm together, those of the first.
    """
    if validation.stored["calls"] is None:
        return None
    calls = [call | {"arm": call["arm"].removesuffix(FIRST)} for call in validation.stored["calls"]]
    calls = [call for call in calls if RANK not in call["arm"]]
    frame = pd.DataFrame(calls, columns=sorted({"arm", "phase", *CALL_NUMBERS}))
    for name in CALL_NUMBERS:
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    frame["in_use_bytes"] = frame["allocated_bytes"].where(frame["allocated_bytes"].notna(), frame["process_bytes"])
    return frame
