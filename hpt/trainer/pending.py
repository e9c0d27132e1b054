"""The steps of the cycle under way: reading them, and letting them stand."""

import math

import numpy as np

from hpt.control.correct import settled
from hpt.history import FloatArray, StepStats
from hpt.jump.stats import CycleStats
from hpt.learned.loss_trend import LossTrend, TrendPath
from hpt.trainer.engine import Engine

KEPT_RECOVERY = 1.2  # a kept jump lifts a shrunken horizon by a fifth


def read(c: Engine) -> StepStats:
    """All pending steps, with one transfer for those that were not read yet."""
    c.history.fill(drained(c))
    return c.history.pending()


def read_cycle(c: Engine) -> tuple[StepStats, FloatArray]:
    """The same, and the inner products (G, 3, 3) of the cycle that they end, in one transfer and one message."""
    trajectory = c.outer.trajectory
    rows, grams = c.readings.drain(trajectory.measure())
    rows, products = _of_all(c, rows, trajectory.by_group(grams))
    c.history.fill(rows)
    return c.history.pending(), products


def drained(c: Engine) -> FloatArray:
    """What the readings give, (n, 2 + G), for all processes."""
    return _of_all(c, c.readings.drain()[0], np.zeros(0))[0]


def _of_all(c: Engine, rows: FloatArray, products: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Losses averaged over processes; squares and products added up where each is of pieces of the weights."""
    together, num = c.together, len(rows)
    if not (num or products.size):
        return rows, products
    if not c.parameters.shards.exist:
        if num:
            rows[:, 0] = together.mean(rows[:, 0])
        return rows, products
    parts = rows[:, 0], np.square(rows[:, 1:]).ravel(), products.ravel()
    sums = c.parameters.shards.sum(np.concatenate(parts))
    norms = np.sqrt(sums[num : rows.size]).reshape(num, rows.shape[1] - 1)
    return np.column_stack((sums[:num] / together.num_processes, norms)), sums[rows.size :].reshape(products.shape)


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
