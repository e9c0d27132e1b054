"""The steps of the cycle under way: reading them, and letting them stand."""

import math
from collections.abc import Sequence

import torch

from hpt.control.correct import settled
from hpt.history import FloatArray, StepStats
from hpt.jump.stats import CycleStats
from hpt.learned.loss_trend import LossTrend, TrendPath
from hpt.trainer.engine import Engine

KEPT_RECOVERY = 1.2  # a kept jump lifts a shrunken horizon by a fifth


def read(c: Engine) -> StepStats:
    """All pending steps, with one transfer for those that were not read yet."""
    return read_with(c, ())[0]


def read_with(c: Engine, others: Sequence[torch.Tensor]) -> tuple[StepStats, FloatArray]:
    """The same, and other tensors of one shape in the same transfer, (m, ...)."""
    rows, arrays = drained(c, others)
    c.history.fill(rows)
    return c.history.pending(), arrays


def drained(c: Engine, others: Sequence[torch.Tensor] = ()) -> tuple[FloatArray, FloatArray]:
    """What the readings give, the losses averaged over processes; gradients are the same in all of them already."""
    rows, arrays = c.readings.drain(others)
    if len(rows):
        rows[:, 0] = c.together.mean(rows[:, 0])
    return rows, arrays


def losses_since_jump(c: Engine, steps: StepStats) -> FloatArray:
    """Of all pending steps, the losses (n,) of those since the jump that is being watched; empty without one."""
    return steps.loss[len(steps) - c.correct.num_seen :]


def stand(c: Engine, steps: StepStats, trend: LossTrend, path: TrendPath, stats: CycleStats | None = None) -> None:
    """The pending steps stand: a rollback goes no further back, and everyone who learns from them is told.

    Args:
        c: the trainer's components.
        steps: all pending ones.
        trend: the constant forecaster after them.
        path: what it said of each.
        stats: of the cycle, None if its displacement is not followed.
    """
    since_jump = losses_since_jump(c, steps)
    c.outer.take_snapshot()
    c.history.accept()
    c.trend = trend
    c.gate.progress.observe(steps.loss)
    c.predictor.observe(steps, path)
    _conclude_jump(c, since_jump)
    c.ledger.lap("predictor")
    if stats is not None:
        c.predictor.end_cycle(stats, trend)
        c.ledger.lap("learning")
    c.state.skips_in_row = c.state.rollbacks = 0


def _conclude_jump(c: Engine, losses: FloatArray) -> None:
    """The cycle after a kept jump is over: everyone learns how it went, by the losses (n,) since it."""
    watched = c.correct.jump
    if watched is None or not len(losses):
        return
    rise = c.correct.rise(losses)
    if math.isfinite(rise):  # else there are no losses
        c.outer.bound.observe(rise)
    outcome = c.correct.close(losses, rolled_back=False)
    assert outcome is not None, "a watched jump has an outcome"
    c.gate.judge(kept=True)
    c.state.horizon_factor = min(1.0, c.state.horizon_factor * KEPT_RECOVERY)
    if watched.features is not None:
        residual = (settled(losses) - watched.uncorrected_mean) / watched.far.scale
        c.residuals.observe(watched.features, residual)
    c.predictor.judge(outcome)
