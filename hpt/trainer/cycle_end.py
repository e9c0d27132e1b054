"""The end of a cycle: read -> finite? -> alarms, broken weights? -> displacement -> the steps stand -> observers."""

import math
from collections.abc import Callable
from enum import Enum, auto

import numpy as np

from hpt.control.divergence import Level
from hpt.jump.stats import CycleStats
from hpt.trainer.alarms import alarms_of, critical, tell
from hpt.trainer.engine import Engine
from hpt.trainer.pending import read, read_cycle, stand

NO_PRODUCTS = np.zeros((0, 3, 3))


class Ending(Enum):
    """How a cycle ended that nothing follows."""

    NOT_FINITE = auto()  # a loss or a gradient norm; its steps are pending
    BROKEN = auto()  # the weights, and `question` has seen to it
    DOUBTFUL = auto()  # its steps stand, its displacement is not followed, the next cycle has begun
    WEIGHTS_LOST = auto()  # not finite; its steps are pending


def end(c: Engine, question: Callable[[str], bool], *, is_followed: bool = True) -> CycleStats | Ending:
    """End the cycle; its inner products if it stands and is followed.

    Args:
        c: the run's engine.
        question: told of a critical signal; whether the weights were broken, and went back.
        is_followed: its displacement is of the parameters trained now.
    """
    steps, products = read_cycle(c) if is_followed else (read(c), NO_PRODUCTS)
    c.ledger.lap("trajectory")
    if not (steps.is_finite if c.has_losses else steps.has_finite_gradients):
        return Ending.NOT_FINITE
    trend = c.trend.copy()
    path = trend.observe(steps.loss if c.has_losses else steps.loss[:0])
    alarms = alarms_of(c, steps, path) if is_followed else []
    signal = critical(c, alarms, products) if is_followed else ""
    if signal and question(signal):
        return Ending.BROKEN
    tell(c, alarms)
    c.ledger.lap("control")
    if not is_followed or any(alarm.level >= Level.WARNING for alarm in alarms):
        c.outer.begin_cycle()  # what a doubtful cycle moved is not followed
        stand(c, steps, trend, path)
        c.controller.forced_full()
        return Ending.DOUBTFUL
    lr_frac = c.history.lr_frac(c.optimizer.lr)
    stats = c.outer.trajectory.end_cycle(c.controller.step, c.config.cycle_steps, c.progress, lr_frac, products)
    c.ledger.lap("trajectory")
    if not math.isfinite(stats.displacement_norm):
        return Ending.WEIGHTS_LOST
    stand(c, steps, trend, path, stats)
    return stats
