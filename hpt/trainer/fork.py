"""A fork: from one state the run goes on in several ways on the same batches, so that a policy's value is measured.

The branch without jumps runs first, as ordinary full steps, and its batches are kept by reference. The call that ends
it goes back to the fork once for every policy tried, makes its jumps at the ends of the first cycles, and runs the
same batches with the same random streams. A branch is `num_jumps` cycles and then `settle_steps` without a jump, after
which the transient is over. Each branch's loss on a batch is taken before its update on that batch, so it is a loss on
data that the branch has not seen; value is the mean paired difference over the last steps. One branch goes on; the
work of the others stays counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hpt.history import FloatArray
from hpt.jump.batch import KeptBatch
from hpt.jump.snapshot import Snapshot
from hpt.jump.stats import CycleStats
from hpt.jump.trajectory import Trajectory
from hpt.numerics.shards import local
from hpt.predictors.protocol import ForkRequest

MAX_BATCH_BYTES = 256 * 1024**2  # batches kept for the other branches; more means no fork


@dataclass(frozen=True, slots=True)
class PathCopy:
    """The trajectory's own numbers at one moment.

    Attributes:
        state: as `Trajectory.state_dict` gives them, in memory of their own.
    """

    state: dict[str, Any]

    @classmethod
    def take(cls, trajectory: Trajectory) -> "PathCopy":
        """Copy them."""
        state = trajectory.state_dict()
        copies = {name: [one.clone() for one in state[name]] for name in ("start", "trend")}
        return cls({**state, **copies})

    def restore(self, trajectory: Trajectory) -> None:
        """Put them back."""
        trajectory.load_state_dict(self.state)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a branch begins or ends: the training state and the trajectory's."""

    training: Snapshot
    path: PathCopy


@dataclass(frozen=True, slots=True)
class ForkPlan:
    """What is tried, and from where.

    Attributes:
        step: net updates at the fork.
        cycle_steps: full steps in a cycle (K).
        request: the policies, jumps and settling time.
        stats: of the cycle that ended at the fork.
    """

    step: int
    cycle_steps: int
    request: ForkRequest
    stats: CycleStats

    @property
    def num_steps(self) -> int:
        """Full steps in each branch."""
        return self.request.num_steps(self.cycle_steps)

    def ages(self) -> list[int]:
        """Full steps since the last jump, of each step of a branch that jumps."""
        last = (self.request.num_jumps - 1) * self.cycle_steps
        return [step % self.cycle_steps + 1 if step < last else step - last + 1 for step in range(self.num_steps)]


class Fork:
    """One open fork.

    Args:
        plan: what is being tried.
        start: where all branches begin.
        rng: random streams there, see `hpt.numerics.rng.stream_states`.

    Attributes:
        batches: micro-batches of the first branch so far.
        num_steps: full steps of it so far.
    """

    def __init__(self, plan: ForkPlan, start: Place, rng: Mapping[str, Any]) -> None:
        self.plan = plan
        self.start = start
        self.rng = dict(rng)
        self.batches: list[KeptBatch] = []
        self.num_steps = 0

    @property
    def complete(self) -> bool:
        """The branch without jumps has its steps."""
        return self.num_steps >= self.plan.num_steps

    def add(self, batches: Sequence[KeptBatch]) -> bool:
        """Take note of one full step of the first branch; False when its batches no longer fit MAX_BATCH_BYTES."""
        self.batches.extend(batches)
        self.num_steps += 1
        return sum(batch.nbytes for batch in self.batches) <= MAX_BATCH_BYTES


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch that was run: where it ended, and (n, 2 + G) what its steps gave."""

    end: Place
    rows: FloatArray


def weights_of(trajectory: Trajectory) -> list[torch.Tensor]:
    """Copies of the trained parameters as they are, of pieces those that lie here."""
    return [local(parameter).detach().clone() for parameter in trajectory.parameters]
