"""A benchmark run: what is not finished yet is measured, one scenario after the other, and stored as it comes."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpt.bench.discovery import Located
from hpt.bench.driver import ScenarioFailed, Stopped, measure
from hpt.bench.folder import SCHEMA_VERSION, BenchFolder
from hpt.bench.summary import BenchRow, low_variance, scalings, summarise

Watcher = Callable[[str, str], None]
"""Told of a scenario's name and what became of it: "measuring", "finished", "kept" or "failed: why"."""


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What a call of `hpt bench` came to.

    Attributes:
        rows: of the scenarios asked for that are finished.
        failures: why, by name of a scenario or a plug-in.
        is_interrupted: the user stopped it.
    """

    rows: tuple[BenchRow, ...]
    failures: dict[str, str]
    is_interrupted: bool

    def to_document(self, folder: BenchFolder) -> dict[str, Any]:
        """The document of --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(folder.path),
            "settings": folder.settings.to_document(),
            "machine": folder.machine,
            "scenarios": [row.to_document() for row in self.rows],
            "scaling": [asdict(one) for one in scalings(self.rows)],
            "low_variance": low_variance(self.rows),
            "failed": self.failures,
            "is_interrupted": self.is_interrupted,
        }


def carry_out(
    chosen: Sequence[Located],
    broken: dict[str, str],
    folder: BenchFolder,
    *,
    watch: Watcher,
    is_stopped: Callable[[], bool],
    timeout_s: float,
) -> BenchResult:
    """Measure what is not finished.

    Raises:
        DiskError: the disk is full; what was finished is stored.
    """
    for name, why in broken.items():
        folder.fail(name, why, "")
        watch(name, f"failed: {why}")
    folder.store()
    is_interrupted = False
    for located in chosen:
        if folder.finished(located.full_name) is not None:
            watch(located.full_name, "kept")
            continue
        watch(located.full_name, "measuring")
        raw = folder.raw_file(located.full_name)
        try:
            measure(located, folder.settings, raw, is_stopped=is_stopped, timeout_s=timeout_s)
            folder.keep(located.full_name, raw)
            watch(located.full_name, "finished")
        except ScenarioFailed as error:
            folder.fail(located.full_name, str(error), error.details)
            watch(located.full_name, f"failed: {error}")
        except Stopped:
            is_interrupted = True
            break
        finally:
            raw.unlink(missing_ok=True)
        folder.store()
    measurements = folder.measurements([located.full_name for located in chosen])
    return BenchResult(tuple(map(summarise, measurements)), dict(folder.failures), is_interrupted)
