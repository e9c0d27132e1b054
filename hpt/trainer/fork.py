"""A fork: from one state the run goes on both ways, so that the value of a jump is measured and not guessed.

The branch without the jump runs first, as ordinary full steps, and its batches are kept by reference. The call that
ends it goes back to the fork, where the state with the jump was kept, runs the same batches with the same random
streams, and keeps the better branch. Each branch's loss on a batch is taken before its update on that batch, so it is
a loss on data the branch has not seen; value is the mean paired difference over the last steps, positive when the
jump saved loss. The losing branch's work stays counted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from hpt.config import ForkConfig
from hpt.jump.batch import KeptBatch
from hpt.jump.snapshot import Snapshot

MAX_BATCH_BYTES = 256 * 1024**2  # batches kept for the second branch; more means no fork
MEASURED_FRAC = 0.25  # of the branches' steps, the last ones, over which value is measured: the transient is over


@dataclass(frozen=True, slots=True)
class ForkPlan:
    """What is being tried at a fork.

    Attributes:
        step: net updates at the fork.
        arm: arm of the jump.
        horizon: full steps the jump stands for.
        norm_ratio: |jump| / |last displacement|.
        gain: of the weight delta, on the trend.
        immediate: probed loss after minus before the jump; a rise is positive.
    """

    step: int
    arm: str
    horizon: int
    norm_ratio: float
    gain: float
    immediate: float


@dataclass(frozen=True, slots=True)
class ForkValue:
    """Loss saved by the jump over the last steps of the branches, and its standard error."""

    value: float
    value_se: float


NO_VALUE = ForkValue(-math.inf, 0.0)


class Fork:
    """One open fork.

    Args:
        plan: what is being tried.
        steps: full steps in each branch.
        jumped: the state with the jump applied.
        rng: random streams at the fork, see `hpt.numerics.rng.stream_states`.

    Attributes:
        batches: micro-batches of the first branch so far.
        num_steps: full steps of it so far.
    """

    def __init__(self, plan: ForkPlan, steps: int, jumped: Snapshot, rng: Mapping[str, Any]) -> None:
        self.plan = plan
        self.jumped = jumped
        self.rng = dict(rng)
        self.batches: list[KeptBatch] = []
        self.num_steps = 0
        self._steps = steps
        self._batch_bytes = 0

    @property
    def complete(self) -> bool:
        """The branch without the jump has its steps."""
        return self.num_steps >= self._steps

    def add(self, batches: Sequence[KeptBatch]) -> bool:
        """Take note of one full step of the first branch; False when its batches no longer fit MAX_BATCH_BYTES."""
        self.batches.extend(batches)
        self.num_steps += 1
        self._batch_bytes += sum(batch.nbytes for batch in batches)
        return self._batch_bytes <= MAX_BATCH_BYTES


def paired_value(without: list[float], jumped: list[float]) -> ForkValue:
    """Mean paired difference over the last MEASURED_FRAC of the branches' losses; positive when the jump saved loss."""
    count = max(1, round(MEASURED_FRAC * len(without)))
    gains = [mine - theirs for mine, theirs in zip(without[-count:], jumped[-count:], strict=True)]
    if not all(math.isfinite(gain) for gain in gains):
        return NO_VALUE
    return ForkValue(fmean(gains), stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf)


class ForkSchedule:
    """Where forks are due, and whether one more can be paid for.

    Args:
        config: budget, length and places.
        total_steps: planned updates; without a plan there is no share to spend, hence no fork.
    """

    def __init__(self, config: ForkConfig, total_steps: int | None) -> None:
        self._config = config
        self._total = total_steps or 0
        affordable = int(config.budget_frac * self._total // config.steps)
        self._due = sorted(config.at_fracs[:affordable])

    def is_due(self, step: int) -> bool:
        """A fork is due at or after its place, if its branches end inside the run."""
        return bool(self._due) and step >= self._due[0] * self._total and step + self._config.steps < self._total

    def took(self) -> None:
        """The due fork was opened, or given up."""
        self._due = self._due[1:]

    def state_dict(self) -> dict[str, Any]:
        """Places still due."""
        return {"due": list(self._due)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._due = [float(one) for one in state["due"]]
