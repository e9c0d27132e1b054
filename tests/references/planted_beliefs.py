"""Runs in which the worth of every policy, the way forks are read, and the loss curve are known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from references.blocks import one_step
from references.planted_runs import cycle_of

from hpt.config import HybridConfig, ValueConfig
from hpt.history import FloatArray
from hpt.jump.stats import CycleStats
from hpt.learned.belief import Belief
from hpt.learned.forecast_model import Vector
from hpt.learned.prior import ForkReading
from hpt.numerics.stateful import Stateful
from hpt.predictors.chooser import NAMES, PolicyChooser
from hpt.predictors.protocol import ForkOutcome, ForkRequest, MeasuredValue

WINDOW = (0.1, 0.9)
FALL = 0.4
"""Loss gained per e-fold of steps."""
READING = ForkReading(
    num_jumps=3,
    settle_steps=60,
    offset=np.array([0.0, 0.1, 0.1, -0.2, 0.3, 0.0]),
    scale=np.array([1.5, 2.5, 2.0, 1.5, 3.0, 1.0]),
    variance=np.array([0.15, 0.25, 0.2, 0.1, 0.3, 0.05]),
)
FEATURES = np.zeros(64)
NO_TICKS = np.zeros((0, 0), dtype=np.float32)


@dataclass
class Planted(Stateful):
    """A value model that believes what it is told, with one standard deviation or one a policy."""

    means: Sequence[float]
    sd: float | Sequence[float]
    correlation: float = 0.8
    name: str = "planted"
    basis: str = "a planted belief"

    def tick(self, features: Vector, actions: Vector) -> None:
        """The state of the run does not matter."""

    def belief(self, raw: FloatArray) -> Belief:
        """The same at any time."""
        shared = self.correlation + (1.0 - self.correlation) * np.eye(len(NAMES))
        sds = np.broadcast_to(np.array(self.sd, dtype=np.float64), len(NAMES))
        return Belief(np.array(self.means, dtype=np.float64), np.outer(sds, sds) * shared)

    def describe(self) -> dict[str, Any]:
        """Its numbers."""
        return {"means": list(self.means), "sd": self.sd}


SURE = Planted((0.04, 0.08, 0.1, 0.2, 0.3, 0.15), 1e-4)
"""The fifth, `full`, is worth most for certain."""
HOPELESS = Planted((-0.05, -0.1, -0.1, -0.2, -0.3, -0.15), 1e-4)
OPEN = Planted((0.05,) * len(NAMES), 0.5)
"""Little expected, little known."""


def measured(value: float, se: float, num_jumps: int = 3, settle_steps: int = 60) -> MeasuredValue:
    """A value a jump with its standard error: half of the steps looked at lie above, half below."""
    count = settle_steps // 2
    spread = se * num_jumps * math.sqrt(count - 1)  # sample deviation over sqrt(count)
    gains = [value * num_jumps + spread * (-1.0) ** place for place in range(count)]
    return MeasuredValue((0.0, *gains), num_jumps, settle_steps)


BROKEN = MeasuredValue((), 3, 60)


def forked(stats: CycleStats, values: Mapping[str, MeasuredValue]) -> ForkOutcome:
    """What a fork at the end of a cycle measured."""
    return ForkOutcome(stats.step, stats, values)


class PlantedRun:
    """Cycles of a run with loss 5 - FALL log(step), shown to a chooser.

    Args:
        model: what is believed before any fork.
        total_steps: planned; None: not known.
        cycle_steps: K.
        budget: share of the run for losing branches.
        fall: loss gained per e-fold of steps.
        jump_cost: of one jump, in full steps.

    Attributes:
        step: full steps made.
    """

    def __init__(
        self,
        model: Planted,
        total_steps: int | None = 10_000,
        *,
        cycle_steps: int = 100,
        budget: float = 0.05,
        fall: float = FALL,
        jump_cost: float = 0.0,
    ) -> None:
        value = ValueConfig(fork_budget_frac=budget)
        config = HybridConfig(total_steps=total_steps, full_steps=cycle_steps, value=value)
        self.chooser = PolicyChooser(config, model, WINDOW, jump_cost)
        self.chooser._reading = READING
        self.step, self.fall = 0, fall
        self._total, self._cycle_steps = total_steps, cycle_steps

    def observe(self, num_steps: int | None = None) -> CycleStats:
        """So many steps, or a cycle's, as one block; the stats at their end."""
        count = self._cycle_steps if num_steps is None else num_steps
        middle = self.step + (count + 1) / 2
        self.step += count
        block = one_step(step=0, loss=5.0 - self.fall * math.log(middle))
        self.chooser.observe(replace(block, step=np.array([middle])), NO_TICKS, NO_TICKS)
        progress = None if self._total is None else self.step / self._total
        cycle = -(-self.step // self._cycle_steps)
        return replace(cycle_of(cycle, self._cycle_steps, 0), step=self.step, progress=progress)

    def until(self, progress: float) -> CycleStats:
        """Cycles until so much of the run is done, without a choice."""
        assert self._total is not None
        stats = self.observe()
        while self.step + self._cycle_steps <= progress * self._total:
            stats = self.observe()
        return stats

    def choose(self, stats: CycleStats) -> str | ForkRequest:
        """What is played at the end of a cycle, or a fork."""
        return self.chooser.choose(stats, FEATURES)

    def settle(self, stats: CycleStats, values: Mapping[str, MeasuredValue]) -> str:
        """A fork asked for at the end of a cycle has measured these."""
        return self.chooser.settle(forked(stats, values), FEATURES)

    def play(self, values: Mapping[str, float], se: float = 1e-3) -> list[str]:
        """The rest of the run inside its window; forks measure these; policies played cycle by cycle."""
        assert self._total is not None
        played: list[str] = []
        while self.step + self._cycle_steps <= WINDOW[1] * self._total:
            stats = self.observe()
            if stats.progress is None or stats.progress < WINDOW[0]:
                continue
            choice = self.choose(stats)
            if isinstance(choice, ForkRequest):
                found = {name: measured(values[name], se) for name in choice.policies}
                choice = self.settle(stats, found)
                self.observe(READING.num_jumps * self._cycle_steps + READING.settle_steps)
            played.append(choice)
        return played
