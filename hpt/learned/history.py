"""What is remembered of the last steps: losses, gradient norms, learning rates, and where a number ranks among them.

Recording a step is three appends to bounded queues and a comparison with the lowest loss so far. The rank
comes from a window that is kept sorted: two binary searches a step instead of a pass over the window.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.learned.facts import FloatArray


class StepHistory:
    """Loss, gradient norm and relative learning rate of the last `capacity` steps.

    Attributes:
        num_steps: steps recorded, forgotten ones included.
        lowest_loss: lowest loss of all steps, infinite before the first.
        steps_since_lowest: steps since it was reached, 0 if by the last one.
    """

    def __init__(self, capacity: int) -> None:
        assert capacity >= 1, f"capacity is {capacity}, it must be at least 1"
        self.num_steps = 0
        self.lowest_loss = float("inf")
        self._lowest_step = 0
        self._losses: deque[float] = deque(maxlen=capacity)
        self._grad_norms: deque[float] = deque(maxlen=capacity)
        self._lr_fracs: deque[float] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._losses)

    def record_step(self, loss: float, grad_norm: float, lr_frac: float) -> None:
        """Take note of one full step."""
        self.num_steps += 1
        self._losses.append(loss)
        self._grad_norms.append(grad_norm)
        self._lr_fracs.append(lr_frac)
        if loss < self.lowest_loss:
            self.lowest_loss = loss
            self._lowest_step = self.num_steps

    @property
    def steps_since_lowest(self) -> int:
        """Steps since the lowest loss was reached, 0 if by the last one."""
        return self.num_steps - self._lowest_step

    @property
    def losses(self) -> FloatArray:
        """Copy (n,) of the losses kept, oldest first."""
        return np.array(self._losses, dtype=np.float64)

    @property
    def grad_norms(self) -> FloatArray:
        """Copy (n,) of the gradient norms kept, oldest first."""
        return np.array(self._grad_norms, dtype=np.float64)

    @property
    def lr_fracs(self) -> FloatArray:
        """Copy (n,) of the relative learning rates kept, oldest first."""
        return np.array(self._lr_fracs, dtype=np.float64)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {
            "num_steps": self.num_steps,
            "lowest_loss": self.lowest_loss,
            "lowest_step": self._lowest_step,
            "losses": list(self._losses),
            "grad_norms": list(self._grad_norms),
            "lr_fracs": list(self._lr_fracs),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.num_steps = int(state["num_steps"])
        self.lowest_loss = float(state["lowest_loss"])
        self._lowest_step = int(state["lowest_step"])
        for kept, name in (
            (self._losses, "losses"),
            (self._grad_norms, "grad_norms"),
            (self._lr_fracs, "lr_fracs"),
        ):
            kept.clear()
            kept.extend(float(number) for number in state[name])


class RankWindow:
    """Rank of each new number among the last `capacity` ones, itself included."""

    def __init__(self, capacity: int) -> None:
        assert capacity >= 1, f"capacity is {capacity}, it must be at least 1"
        self._capacity = capacity
        self._in_time: deque[float] = deque()
        self._sorted: list[float] = []

    def push(self, number: float) -> float:
        """Take in one finite number; return the share of the window below it, equals counted half, in (0, 1)."""
        ordered = self._sorted
        if len(self._in_time) == self._capacity:
            del ordered[bisect_left(ordered, self._in_time.popleft())]
        self._in_time.append(number)
        insort(ordered, number)
        return (bisect_left(ordered, number) + bisect_right(ordered, number)) / (2 * len(ordered))

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {"numbers": list(self._in_time)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._in_time = deque(float(number) for number in state["numbers"])
        self._sorted = sorted(self._in_time)
