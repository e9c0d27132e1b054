"""Where the work and the time of a run went: counters that add up, seconds that sum to the wall time.

Time is taken in laps: each lap charges everything since the last one to a part, so nothing inside a call escapes.
On CUDA kernels run behind the clock; a lap that ends in a transfer to the host pays for those before it.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from hpt.records import Phase

FORWARD_SHARE = 1.0 / 3.0  # a forward pass in full-step equivalents: the backward costs about twice the forward


@dataclass(slots=True)
class Counters:
    """How often each thing happened since the run began."""

    forwards: int = 0
    backwards: int = 0
    optimizer_updates: int = 0
    updates_skipped: int = 0
    updates_rolled_back: int = 0
    updates_in_losing_branches: int = 0
    probe_forwards: int = 0
    forks: int = 0
    jumps_proposed: int = 0
    jumps_accepted: int = 0
    jumps_rejected: int = 0
    jumps_rolled_back: int = 0
    steps_covered_by_jumps: int = 0
    factor_flops: int = 0
    checkpoints_failed: int = 0

    @property
    def full_step_equivalents(self) -> float:
        """All passes through the model in full steps: a forward alone is a third of one.

        Orthogonal factors are not passes; what share of a step their `factor_flops` are depends on the model and the
        batch, see `hpt.compare.training.charged`.
        """
        return self.backwards + FORWARD_SHARE * (self.forwards - self.backwards)


class Ledger:
    """Counters, and seconds by phase and by part, of all calls so far."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.calls: dict[str, int] = {phase.value: 0 for phase in Phase}
        self.phase_s: dict[str, float] = {phase.value: 0.0 for phase in Phase}
        self.part_s: dict[str, float] = {}
        self.wall_s = 0.0
        self._began = self._last = time.perf_counter()

    def begin(self) -> None:
        """A call begins."""
        self._began = self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """Charge the time since the last lap to `part`."""
        now = time.perf_counter()
        self.part_s[part] = self.part_s.get(part, 0.0) + now - self._last
        self._last = now

    def end(self, phase: Phase) -> float:
        """The call ends; returns its seconds, charged to `phase`."""
        self.lap("bookkeeping")
        elapsed_s = self._last - self._began
        self.calls[phase.value] += 1
        self.phase_s[phase.value] += elapsed_s
        self.wall_s += elapsed_s
        return elapsed_s

    def extend(self, phase: Phase) -> None:
        """Work between two calls ends; its seconds are charged to `phase`, and no call is counted."""
        elapsed_s = self._last - self._began
        self.phase_s[phase.value] += elapsed_s
        self.wall_s += elapsed_s

    def summary(self) -> dict[str, Any]:
        """Plain numbers for run.json."""
        counters = asdict(self.counters) | {"full_step_equivalents": self.counters.full_step_equivalents}
        return {
            "phases": dict(self.calls),
            "counters": counters,
            "seconds": {"phase": dict(self.phase_s), "part": dict(self.part_s)},
            "wall_s": self.wall_s,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything counted so far."""
        return {
            "counters": asdict(self.counters),
            "calls": dict(self.calls),
            "phase_s": dict(self.phase_s),
            "part_s": dict(self.part_s),
            "wall_s": self.wall_s,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        known = {item.name for item in fields(Counters)}
        self.counters = Counters(**{key: value for key, value in state["counters"].items() if key in known})
        self.calls = dict(state["calls"])
        self.phase_s = dict(state["phase_s"])
        self.part_s = dict(state["part_s"])
        self.wall_s = float(state["wall_s"])
