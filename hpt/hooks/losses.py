"""The loss of the update under way, as the host shows it, micro-batch by micro-batch."""

from typing import Any

import torch


class UpdateLoss:
    """Adds up what is shown; stays on its device.

    Attributes:
        was_shown: some loss was, ever.
        num_missing: updates since the first shown loss for which none was; the one before stands in for it.
    """

    def __init__(self) -> None:
        self.was_shown = False
        self.num_missing = 0
        self._sum: torch.Tensor | None = None
        self._last: torch.Tensor | None = None

    def add(self, loss: torch.Tensor | float) -> None:
        """What was back-propagated for one micro-batch: the losses of an update are added."""
        one = torch.as_tensor(loss).detach().reshape(())
        self.was_shown = True
        self._sum = one.clone() if self._sum is None else self._sum + one

    def drop(self) -> None:
        """The update under way is not made: what was shown of it counts for none."""
        self._sum = None

    def take(self) -> torch.Tensor | None:
        """The loss of the update that was just made; None if none was ever shown."""
        self.num_missing += self.was_shown and self._sum is None
        self._last = self._last if self._sum is None else self._sum
        self._sum = None
        return self._last

    def state_dict(self) -> dict[str, Any]:
        """What was shown of the update under way, and the loss of the one before; on the CPU."""
        held = {name: None if one is None else one.cpu() for name, one in (("sum", self._sum), ("last", self._last))}
        return {"was_shown": self.was_shown, "num_missing": self.num_missing, **held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.was_shown, self.num_missing = state["was_shown"], state["num_missing"]
        self._sum, self._last = state["sum"], state["last"]
