"""Synthetic training runs with a known structure, and a driver that shows them to a predictor as the trainer would."""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from references.blocks import joined, one_step

from hpt.history import NEVER, StepStats
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.loss_trend import LossTrend

NOISE = 0.05


def noise_losses(num_steps: int, seed: int) -> NDArray[np.float64]:
    """White noise about a constant: nothing can be forecast."""
    return 2.0 + NOISE * np.random.default_rng(seed).normal(size=num_steps)


def wave_losses(num_steps: int, seed: int, period: float = 60.0) -> NDArray[np.float64]:
    """A wave under noise: the loss half a period ahead follows from where it is now."""
    return noise_losses(num_steps, seed) + 0.1 * np.sin(2 * math.pi * np.arange(num_steps) / period)


def step_of(index: int, loss: float, cycle_steps: int, since: int, seed: int) -> StepStats:
    """Full step `index` (1 for the first) as a block of one, a function of its arguments alone."""
    rng = np.random.default_rng((seed, index))
    return one_step(
        step=index,
        loss=float(loss),
        grad_norm=float(np.exp(0.2 * rng.normal())),
        lr_frac=1.0 / (1.0 + index / 1000.0),
        progress=0.5,
        cycle_frac=((index - 1) % cycle_steps + 1) / cycle_steps,
        steps_since_jump=since,
    )


def cycle_of(cycle: int, cycle_steps: int, seed: int) -> CycleStats:
    """Cycle `cycle` with one parameter group, a function of its arguments alone."""
    paths = np.random.default_rng((seed, cycle, 1)).normal(size=(2, 8))
    gram = (paths @ paths.T)[None]
    return CycleStats(
        cycle=cycle,
        step=cycle * cycle_steps,
        num_steps=cycle_steps,
        progress=0.5,
        lr_frac=1.0 / (1.0 + cycle * cycle_steps / 1000.0),
        scale=0.8,
        gram=gram,
        lagged=0.5 * gram[:, 0, 1],
        lagged_norms=gram[:, 1, 1],
        weight_norms=np.ones(1),
    )


def outcome_of(step: int, arm: str, *, good: bool) -> JumpOutcome:
    """A kept jump's outcome."""
    return JumpOutcome(
        step=step,
        arm=arm,
        kept=True,
        rolled_back=False,
        norm_ratio=0.5,
        gain=1.8,
        loss_change=0.01,
        good=good,
    )


def since_of(index: int, cycle_steps: int) -> int:
    """Steps since the last jump, where every cycle from the third on ends in one."""
    return NEVER if index <= 3 * cycle_steps else (index - 1) % cycle_steps + 1


def as_stored(state: Any) -> Any:
    """A state as a checkpoint gives it back: tuples as lists, numpy scalars as numbers, nothing shared."""
    if isinstance(state, Mapping):
        return {str(key): as_stored(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [as_stored(value) for value in state]
    if isinstance(state, np.generic):
        return state.item()
    return copy.deepcopy(state)


class Shown:
    """A predictor and the trend that goes with it.

    Attributes:
        predictor: what is shown the run.
        trend: as the trainer keeps it.
    """

    def __init__(self, predictor: Any, cycle_steps: int) -> None:
        self.predictor = predictor
        self.trend = LossTrend(max(cycle_steps, predictor.far or 1), predictor.far)

    def observe(self, steps: StepStats) -> None:
        """Show full steps."""
        self.predictor.observe(steps, self.trend.observe(steps.loss))

    def end_cycle(self, stats: CycleStats) -> Any:
        """Show the end of a cycle; the proposal or None."""
        self.predictor.end_cycle(stats, self.trend)
        return self.propose(stats)

    def propose(self, stats: CycleStats) -> Any:
        """Ask for a proposal within 75 steps."""
        return self.predictor.propose(stats, self.trend, 75)

    def drive(
        self, losses: NDArray[np.float64], cycle_steps: int, *, first: int = 1, seed: int = 0
    ) -> Iterator[tuple[int, Any]]:
        """Show a run from step `first` on, a cycle at a time; yields (step, proposal or None) after each.

        Every proposal counts as a kept jump made right after it.
        """
        waiting: list[StepStats] = []
        for index in range(first, len(losses) + 1):
            waiting.append(step_of(index, losses[index - 1], cycle_steps, since_of(index, cycle_steps), seed))
            if index % cycle_steps == 0:
                self.observe(joined(waiting))
                waiting = []
                yield index, self.end_cycle(cycle_of(index // cycle_steps, cycle_steps, seed))
        if waiting:
            self.observe(joined(waiting))
