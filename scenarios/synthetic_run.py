"""A synthetic training run, as plain numbers: what scenarios feed to the parts of the trainer that learn from a run.

The loss falls like a power law under noise, gradient norms shrink slowly, displacements of the weights turn slowly, and
from the third cycle on every cycle ends in a jump.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpt.history import NEVER, FloatArray, StepStats
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.records import Phase

NUM_GROUPS = 2
SCALE = 0.8
CYCLE_STEPS = 50  # the shipped K of a run whose length is not known
_CORRECT_STEPS = 3
_NUM_WEIGHTS = 64  # of each group; only inner products of them are used
_FIRST_JUMP = 3  # cycles

Event = StepStats | CycleStats | JumpOutcome


def synthetic_run(num_steps: int, seed: int = 0) -> Iterator[Event]:
    """Everything that a run of so many full steps reports, in order: a cycle's steps, its end, a verdict, ..."""
    draw = np.random.default_rng(seed)
    path = _Path(draw)
    outcome: JumpOutcome | None = None
    for first in range(0, num_steps, CYCLE_STEPS):
        steps = np.arange(first + 1, min(first + CYCLE_STEPS, num_steps) + 1)
        if outcome is not None:
            yield _steps(steps[:_CORRECT_STEPS], num_steps, draw)
            yield outcome
            steps = steps[_CORRECT_STEPS:]
        yield _steps(steps, num_steps, draw)
        cycle = first // CYCLE_STEPS + 1
        yield path.end_cycle(cycle, num_steps)
        outcome = _jump(cycle * CYCLE_STEPS, draw) if cycle >= _FIRST_JUMP else None


def blocks_of(num_steps: int, seed: int = 0) -> list[StepStats]:
    """Only the full steps, a cycle at a time."""
    draw, steps = np.random.default_rng(seed), np.arange(1, num_steps + 1)
    return [_steps(block, num_steps, draw) for block in steps.reshape(-1, CYCLE_STEPS)]


def _steps(steps: NDArray[np.int64], num_steps: int, draw: np.random.Generator) -> StepStats:
    """Full steps of these numbers, all in one cycle."""
    noise = 0.06 * draw.standard_normal(len(steps))
    in_cycle = (steps - 1) % CYCLE_STEPS + 1
    since = np.where(steps > _FIRST_JUMP * CYCLE_STEPS, in_cycle, NEVER)
    bump = np.where(since == NEVER, 0.0, 0.2 * 0.9**in_cycle)
    spread = np.exp(0.15 * draw.standard_normal((len(steps), NUM_GROUPS)) + noise[:, None])
    norms = 0.8 * steps[:, None].astype(np.float64) ** -0.1 * spread * np.arange(1.0, NUM_GROUPS + 1)
    return StepStats(
        step=steps,
        loss=1.5 + 4 * (1 + steps / 20) ** -0.5 + bump + noise,
        grad_norm=np.sqrt(np.square(norms).sum(axis=1)),
        group_grad_norms=norms,
        lr_frac=np.maximum(0.02, 1 - steps / num_steps),
        progress=steps / num_steps,
        cycle_frac=in_cycle / CYCLE_STEPS,
        steps_since_jump=since,
        phase=(Phase.FULL,) * len(steps),
    )


def _jump(step: int, draw: np.random.Generator) -> JumpOutcome:
    gain = float(draw.uniform(1, 2))
    return JumpOutcome(
        step=step,
        arm="0.8x1",
        kept=True,
        rolled_back=False,
        norm_ratio=0.5 * gain,
        gain=gain,
        loss_change=float(0.1 * gain * draw.uniform(0.5, 1.5)),
        good=bool(draw.random() < 0.7),
    )


class _Path:
    """Displacements of two groups of weights, and their trend."""

    def __init__(self, draw: np.random.Generator) -> None:
        self._draw = draw
        self._drift = draw.standard_normal((NUM_GROUPS, _NUM_WEIGHTS))
        self._ema = np.zeros((NUM_GROUPS, _NUM_WEIGHTS))

    def end_cycle(self, cycle: int, num_steps: int) -> CycleStats:
        step = cycle * CYCLE_STEPS
        self._drift = 0.9 * self._drift + 0.4 * self._draw.standard_normal(self._drift.shape)
        lr_frac = max(0.02, 1 - step / num_steps)
        d = 0.01 * lr_frac * (self._drift + self._draw.standard_normal(self._drift.shape))
        earlier = self._trend(cycle - 1)
        self._ema = SCALE * self._ema + (1 - SCALE) * d
        basis = np.stack((d, self._trend(cycle)))
        return CycleStats(
            cycle=cycle,
            step=step,
            num_steps=CYCLE_STEPS,
            progress=step / num_steps,
            lr_frac=lr_frac,
            scale=SCALE,
            gram=np.einsum("igp,jgp->gij", basis, basis),
            lagged=(earlier * d).sum(axis=1),
            lagged_norms=np.square(earlier).sum(axis=1),
            weight_norms=np.ones(NUM_GROUPS) * np.sqrt(_NUM_WEIGHTS),
        )

    def _trend(self, cycle: int) -> FloatArray:
        """Bias-corrected; zeros before the first cycle."""
        return self._ema / (1 - SCALE**cycle) if cycle else np.zeros_like(self._ema)
