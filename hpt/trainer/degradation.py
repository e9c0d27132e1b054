"""The ladder of memory layer 4: what prediction gives up, rung by rung, when memory runs short.

    1  the trajectory's copies move to the host; where they are there already, they are stored in bf16
    2  the horizon is halved, again at every further look

What was given up stays given up for the rest of the run, and a checkpoint remembers it.
"""

from collections.abc import Mapping
from typing import Any

from hpt.jump.trajectory import Trajectory

NUM_RUNGS = 2


class Degradation:
    """How far down the ladder this run is.

    Args:
        trajectory: whose copies are moved.
    """

    def __init__(self, trajectory: Trajectory) -> None:
        self._trajectory = trajectory
        self.rung = 0

    def step_down(self) -> str:
        """Take the next rung and say what was given up."""
        self.rung += 1
        return self._move() if self.rung == 1 else "horizon halved"

    @property
    def halves_horizon(self) -> bool:
        """The rung taken last is the second, or below it."""
        return self.rung >= NUM_RUNGS

    def _move(self) -> str:
        is_on_host = all(parameter.device.type == "cpu" for parameter in self._trajectory.parameters)
        where = {"number_format": "bf16"} if is_on_host else {"device": "host"}
        freed_bytes = self._trajectory.move_to(**where)
        return f"trajectory {'stored in bf16' if is_on_host else 'moved to the host'}, {freed_bytes} bytes freed"

    def state_dict(self) -> dict[str, Any]:
        """The rung."""
        return {"rung": self.rung}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`: goes down to the stored rung, so that the trajectory's state fits."""
        while self.rung < min(int(state["rung"]), NUM_RUNGS):
            self.step_down()
        self.rung = int(state["rung"])
