"""The ladder of memory layer 4: what prediction gives up, rung by rung, when memory runs short.

    1  the trajectory's copies move to the host; where they are there already, they are stored in bf16
    2  time scales that the predictor does not ask for are forgotten
    3  the horizon is halved, again at every further look

What was given up stays given up for the rest of the run, and a checkpoint remembers it.
"""

from collections.abc import Mapping
from typing import Any

from hpt.trainer.trajectory import Trajectory

NUM_RUNGS = 3


class Degradation:
    """How far down the ladder this run is.

    Args:
        trajectory: whose copies are moved and dropped.
        needed_scales: time scales that the predictor cannot do without.
    """

    def __init__(self, trajectory: Trajectory, needed_scales: tuple[float, ...]) -> None:
        self._trajectory = trajectory
        self._needed = tuple(mu for mu in trajectory.scales if mu in needed_scales)
        self.rung = 0

    def step_down(self) -> str:
        """Take the next rung and say what was given up."""
        self.rung += 1
        if self.rung == 1:
            return self._move()
        if self.rung == 2:
            return f"averages the predictor does not ask for dropped, {self._drop()} bytes freed"
        return "horizon halved"

    @property
    def halves_horizon(self) -> bool:
        """The rung taken last is the third, or below it."""
        return self.rung >= NUM_RUNGS

    def _move(self) -> str:
        is_on_host = all(parameter.device.type == "cpu" for parameter in self._trajectory.parameters)
        freed_bytes = self._trajectory.move_to("bf16" if is_on_host else "cpu")
        where = "stored in bf16" if is_on_host else "moved to the host"
        return f"trajectory {where}, {freed_bytes} bytes freed"

    def _drop(self) -> int:
        return self._trajectory.keep_scales(self._needed) if self._needed else 0

    def state_dict(self) -> dict[str, Any]:
        """The rung."""
        return {"rung": self.rung}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`: goes down to the stored rung, so that the trajectory's state fits."""
        while self.rung < min(int(state["rung"]), NUM_RUNGS):
            self.step_down()
        self.rung = int(state["rung"])
