"""Are the weights broken, or did the data change? The same batches under the last snapshot's weights decide.

A high loss alone tells neither. Asked when a signal is critical, the test takes the present batch and
`NUM_REFERENCES` from before the signal. Broken weights do far worse than the snapshot's on the one and on the others.
New or hard data is as bad for both; and a task that was left and comes back is better under the snapshot, but what was
learned since is not.

A loss that comes out differently when it is asked again is looked at a second time before the weights are blamed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from hpt.control.loss_statistics import LossStatistics
from hpt.jump.batch import KeptBatch
from hpt.trainer.components import Components

NUM_REFERENCES = 3
IsWorse = Callable[[float, float], bool]
"""Whether the first loss, of the present weights, is so much higher than the second that the weights are to blame."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the test found.

    Attributes:
        is_broken: the weights are to blame; None if it could not be told.
        text: the two losses of the newest batch, in words.
    """

    is_broken: bool | None
    text: str


def examine(c: Components, batches: Sequence[KeptBatch], is_worse: IsWorse) -> Verdict:
    """Compare the present weights with the snapshot's: on the last of these batches, and on those kept before it."""
    snapshot = c.outer.snapshot
    if snapshot is None or not snapshot.is_whole or not batches:
        return Verdict(None, "there is no earlier state to compare with")
    tested = [batches[-1], *(one for one in c.state.references if not one.spent)]
    try:
        now = c.measure(tested)
        with snapshot.exchanged():
            before = c.measure(tested)
        is_broken = _both(is_worse, now, before) and _both(is_worse, c.measure(tested), before)
    except Exception as error:  # noqa: BLE001 (whatever the user's loss function raises)
        c.memory.recover(error)
        return Verdict(None, f"the loss could not be had again ({type(error).__name__}: {error})")
    return Verdict(is_broken, f"loss {now[0]:.4g} now, {before[0]:.4g} under the last snapshot's weights")


def keep(c: Components, batch: KeptBatch, *, is_unusual: bool | None) -> None:
    """Keep a step's batch as a reference: the last ordinary ones; where losses are not known yet, a few of a cycle."""
    is_wanted = not is_unusual
    if is_unusual is None:
        is_wanted = c.controller.cycle_position % max(1, c.config.cycle_steps // NUM_REFERENCES) == 0
    if is_wanted:
        c.state.references = [*c.state.references[1 - NUM_REFERENCES :], batch]


def _both(is_worse: IsWorse, now: Sequence[float], before: Sequence[float]) -> bool:
    """On the present batch, and on the mean of the references."""
    return is_worse(now[0], before[0]) and (len(now) == 1 or is_worse(fmean(now[1:]), fmean(before[1:])))


def broken_by(usual: LossStatistics | None) -> IsWorse:
    """The rule for weights: far worse in units of what is usual; before anything is usual, only if not finite."""

    def is_worse(now: float, before: float) -> bool:
        if not math.isfinite(now):
            return math.isfinite(before)
        return usual is not None and now - before > usual.broken_rise(now)

    return is_worse
