"""The gain against the size of the model: byte-gpt and its larger sisters, AdamW and Muon, the hybrid on each.

From stored comparisons together, since models of several sizes need not have been compared at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpt_reports.comparisons import Finding, findings
from hpt_reports.evidence import Evidence, Source
from hpt_reports.inner_optimizers import hybrids_of, optimizers_of, over_own

ADAMW, MUON = "adamw", "muon"
NEEDED = ("byte-gpt", "byte-gpt-1m")
RUNGS = (*NEEDED, "byte-gpt-10m")
"""Workloads that differ in size, from the smallest; the needed ones make a ladder."""
COMMAND = f"hpt compare --workloads {','.join(NEEDED)} --optimizers {ADAMW},{MUON} --tune --seeds 3 --out runs/ladder"
GAINS = (f"hybrid on {ADAMW} over {ADAMW}", f"hybrid on {MUON} over {MUON}", f"{MUON} by itself over {ADAMW}")


@dataclass(frozen=True, slots=True)
class Rung:
    """One size of model.

    Attributes:
        workload: its name.
        num_weights: trainable weights.
        gains: steps ratio with its interval, by what is over what; None where it was not measured.
        finding: Muon by itself in the comparison that it is from.
    """

    workload: str
    num_weights: int
    gains: Mapping[str, Mapping[str, Any] | None]
    finding: Finding

    @property
    def arms(self) -> tuple[str, ...]:
        """Muon by itself, and the hybrids that were measured."""
        hybrids = hybrids_of(self.finding.beside)
        return (MUON, *(hybrids[name] for name in (ADAMW, MUON) if name in hybrids))

    @property
    def source(self) -> Source:
        """The comparison that it is from."""
        return self.finding.source


@dataclass(frozen=True, slots=True)
class Ladder:
    """Rungs from the smallest model, and the names of their gains."""

    rungs: tuple[Rung, ...]
    gains: tuple[str, ...] = GAINS

    @property
    def sources(self) -> tuple[Source, ...]:
        """The comparisons behind it, each once."""
        return tuple(dict.fromkeys(rung.source for rung in self.rungs))


def ladder(evidence: Evidence) -> Ladder | None:
    """From the comparison to believe first for each size; None while one of the needed sizes was not measured."""
    found = {name: rung for name in RUNGS if (rung := _rung(evidence, name)) is not None}
    if not all(name in found for name in NEEDED):
        return None
    return Ladder(tuple(sorted(found.values(), key=lambda rung: rung.num_weights)))


def _rung(evidence: Evidence, workload: str) -> Rung | None:
    """With AdamW as the reference, Muon by itself measured, and the number of weights stored."""
    for one in findings(evidence):
        is_of_it = (one.workload, one.arm) == (workload, MUON) and optimizers_of(one.source)[0] == ADAMW
        if is_of_it and one.beside.get("num_weights") is not None:
            return Rung(workload, int(one.beside["num_weights"]), _gains(one), one)
    return None


def _gains(one: Finding) -> dict[str, Mapping[str, Any] | None]:
    hybrids, arms = hybrids_of(one.beside), one.beside["arms"]
    own = [over_own(arms[hybrids[name]])["steps_ratio"] if name in hybrids else None for name in (ADAMW, MUON)]
    return dict(zip(GAINS, (*own, one.stored["measures"]["steps_ratio"]), strict=True))
