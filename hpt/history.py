"""The one memory of a run's full steps: losses, gradient norms, rates, phases.

Steps are pending until the cycle that they belong to stands; then they become past, once and for all. Observers
(forecasters, gate, divergence monitor, features, CORRECT) read arrays from here and are shown steps only when these
become past, so that a rollback is one call, `drop`, and nothing that was undone is remembered anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt.records import Phase

FloatArray = NDArray[np.float64]
NEVER = -1
"""Steps since the last kept jump, before the first."""
PAST_STEPS = 128
"""Past losses and norms kept: what the divergence monitor calls recent."""

_PLACES = {phase: place for place, phase in enumerate(Phase)}  # how phases are stored


@dataclass(frozen=True, slots=True)
class StepStats:
    """n full steps in a row, oldest first; G is the number of parameter groups.

    Attributes:
        step: (n,) net optimizer updates after each step.
        loss: (n,) loss of the step's batch, the mean over its micro-batches.
        grad_norm: (n,) global gradient norm before clipping.
        group_grad_norms: (n, G) the same by parameter group.
        lr_frac: (n,) learning rate over the largest seen so far, first group.
        progress: (n,) step / total_steps; NaN when total_steps is unknown.
        cycle_frac: (n,) position inside the cycle, 1 at its end.
        steps_since_jump: (n,) full steps since the last kept jump; `NEVER` before the first.
        phase: WARMUP, FULL or CORRECT of each step.
    """

    step: NDArray[np.int64]
    loss: FloatArray
    grad_norm: FloatArray
    group_grad_norms: FloatArray
    lr_frac: FloatArray
    progress: FloatArray
    cycle_frac: FloatArray
    steps_since_jump: NDArray[np.int64]
    phase: tuple[Phase, ...]

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def is_finite(self) -> bool:
        """No loss and no gradient norm is NaN or infinite."""
        return bool(np.isfinite(self.loss).all()) and self.has_finite_gradients

    @property
    def has_finite_gradients(self) -> bool:
        """No gradient norm is NaN or infinite."""
        return bool(np.isfinite(self.grad_norm).all())


class RunHistory:
    """Pending and past full steps of one run.

    Args:
        num_groups: parameter groups of the optimizer (G).
        total_steps: planned updates, for progress; None if unknown.

    Attributes:
        max_lr: largest learning rate of any step so far.
        past_losses, past_grad_norms: (<= PAST_STEPS,) of the steps that stand, oldest first, finite ones only.
    """

    def __init__(self, num_groups: int, total_steps: int | None) -> None:
        self.max_lr = 0.0
        self.past_losses: FloatArray = np.zeros(0)
        self.past_grad_norms: FloatArray = np.zeros(0)
        self._total_steps = total_steps
        self._facts: list[tuple[int, float, float, int]] = []  # step, lr_frac, cycle_frac, since
        self._phases: list[Phase] = []
        self._rows: FloatArray = np.zeros((0, 2 + num_groups))  # fewer than `_facts` while some are unread
        self._num_fixed = 0  # pending steps that came before the state a rollback goes back to
        self._since = self._since_before = NEVER

    @property
    def num_pending(self) -> int:
        """Steps whose cycle is not over yet."""
        return len(self._facts)

    @property
    def num_unread(self) -> int:
        """Newest pending steps whose loss and norms are not known here yet."""
        return len(self._facts) - len(self._rows)

    @property
    def steps_since_jump(self) -> int:
        """Full steps since the last kept jump; `NEVER` before the first."""
        return self._since

    def lr_frac(self, lr: float) -> float:
        """A learning rate over the largest seen."""
        return lr / self.max_lr if self.max_lr > 0.0 else 1.0

    def jumped(self) -> None:
        """A jump was kept: the next step is the first since."""
        self._since = 0

    def add(self, step: int, lr: float, cycle_frac: float, phase: Phase) -> None:
        """Note one full step; its loss and norms come by `fill`, now or later."""
        self.max_lr = max(self.max_lr, lr)
        if self._since != NEVER:
            self._since += 1
        self._facts.append((step, self.lr_frac(lr), cycle_frac, self._since))
        self._phases.append(phase)

    def fill(self, rows: FloatArray) -> None:
        """Loss, gradient norm and group norms, (n, 2 + G), of the oldest unread steps; NaN where G was smaller."""
        assert len(rows) <= self.num_unread, f"{len(rows)} rows for {self.num_unread} steps"
        self._rows = np.concatenate(_as_wide(self._rows, rows)) if len(self._rows) else rows

    def pending(self) -> StepStats:
        """All pending steps; every one must have been filled."""
        assert not self.num_unread, f"{self.num_unread} pending steps were not read"
        facts, rows = np.array(self._facts, dtype=np.float64).reshape(-1, 4), self._rows
        step = facts[:, 0].astype(np.int64)
        total = np.nan if self._total_steps is None else self._total_steps
        return StepStats(
            step=step,
            loss=rows[:, 0],
            grad_norm=rows[:, 1],
            group_grad_norms=rows[:, 2:],
            lr_frac=facts[:, 1],
            progress=step / total,
            cycle_frac=facts[:, 2],
            steps_since_jump=facts[:, 3].astype(np.int64),
            phase=tuple(self._phases),
        )

    def accept(self) -> None:
        """The pending steps stand: they become past."""
        steps = self.pending()
        self.past_losses = _extended(self.past_losses, steps.loss)
        self.past_grad_norms = _extended(self.past_grad_norms, steps.grad_norm)
        self._facts, self._phases, self._num_fixed = [], [], 0
        self._rows = self._rows[:0]
        self._since_before = self._since

    def fix(self) -> None:
        """What is pending now lies before the state that a rollback would go back to."""
        self._num_fixed, self._since_before = len(self._facts), self._since

    def drop(self) -> int:
        """Forget the pending steps after that state; returns how many they were."""
        lost = len(self._facts) - self._num_fixed
        for kept in (self._facts, self._phases):
            del kept[self._num_fixed :]
        self._rows = self._rows[: self._num_fixed]
        self._since = self._since_before
        return lost

    def replace(self, rows: FloatArray, ages: Sequence[int]) -> None:
        """The last n pending steps happened otherwise, with jumps.

        Args:
            rows: (n, 2 + G) what they gave instead.
            ages: (n,) full steps since the last jump, of each.
        """
        first = len(self._facts) - len(rows)
        assert not self.num_unread, "only steps that were read can be replaced"
        self._rows = np.concatenate(_as_wide(self._rows[:first], rows))
        for place, age in zip(range(first, len(self._facts)), ages, strict=True):
            self._facts[place] = (*self._facts[place][:3], age)
        self._since = ages[-1]

    def state_dict(self) -> dict[str, Any]:
        """Past and pending steps, these as far as they were read."""
        return {
            "max_lr": self.max_lr,
            "past_losses": self.past_losses.copy(),
            "past_grad_norms": self.past_grad_norms.copy(),
            "facts": np.array(self._facts, dtype=np.float64).reshape(-1, 4),
            "phases": [_PLACES[phase] for phase in self._phases],
            "rows": self._rows.copy(),
            "since": self._since,
            "since_before": self._since_before,
            "num_fixed": self._num_fixed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.max_lr = float(state["max_lr"])
        self.past_losses = np.array(state["past_losses"], dtype=np.float64)
        self.past_grad_norms = np.array(state["past_grad_norms"], dtype=np.float64)
        facts = np.asarray(state["facts"], dtype=np.float64).tolist()
        self._facts = [(int(step), lr_frac, cycle_frac, int(since)) for step, lr_frac, cycle_frac, since in facts]
        self._phases = [tuple(Phase)[int(place)] for place in state["phases"]]
        self._rows = np.array(state["rows"], dtype=np.float64)
        self._since, self._since_before = int(state["since"]), int(state["since_before"])
        self._num_fixed = int(state["num_fixed"])


def _as_wide(*blocks: FloatArray) -> list[FloatArray]:
    """Rows of the same number of columns, NaN in those that a block has not."""
    width = max(block.shape[1] for block in blocks)
    return [np.column_stack((one, np.full((len(one), width - one.shape[1]), np.nan))) for one in blocks]


def _extended(past: FloatArray, new: FloatArray) -> FloatArray:
    """The last PAST_STEPS finite numbers."""
    return np.concatenate((past, new[np.isfinite(new)]))[-PAST_STEPS:]
