"""What a jump does to the loss at once: forward passes on fixed batches that leave nothing behind, and a bound.

A good jump raises the loss at first (measured: 0.03 to 0.3 nats on a small GPT) and pays a hundred steps later, so the
probe guards against blow-ups and judges no value. The bound is learned from the jumps that were kept: median + 6 robust
standard deviations of their rises. Before enough were seen it is a share of the loss itself.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch

from hpt.numerics.robust import MAD_TO_SIGMA

NUM_KEPT = 32
MIN_KEPT = 5
WIDTH_SIGMAS = 6.0


class Probe:
    """Loss on batches in eval mode, without gradient, random streams as they were.

    Args:
        model: whose modules go to eval mode and back.
        loss_of: loss of one batch, a scalar tensor.
        num_batches: batches in a paired probe, the present one included.
    """

    def __init__(self, model: torch.nn.Module, loss_of: Callable[[Any], torch.Tensor], num_batches: int) -> None:
        self._model = model
        self._loss_of = loss_of
        self._recent: deque[Any] = deque(maxlen=num_batches - 1)

    def keep(self, batch: Any) -> None:
        """Remember a training batch for later probes."""
        self._recent.append(batch)

    def batches(self, batch: Any, *, paired: bool) -> list[Any]:
        """The present batch first, then the kept ones if the probe is paired."""
        return [batch, *self._recent] if paired else [batch]

    def losses(self, batches: Sequence[Any]) -> list[float]:
        """Loss on each batch, read at once. Raises whatever the user's loss function raises."""
        with torch.no_grad(), _evaluating(self._model), _forked_rng(self._model):
            losses = [self._loss_of(batch).detach().reshape(()) for batch in batches]
        return torch.stack(losses).tolist() if len(losses) > 1 else [float(losses[0])]

    def state_dict(self) -> dict[str, Any]:
        """The kept batches."""
        return {"recent": list(self._recent)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._recent = deque(state["recent"], maxlen=self._recent.maxlen)


class JumpBound:
    """Largest tolerated rise of the loss right after a jump, from the rises of kept jumps.

    Args:
        max_rise_frac: bound before enough jumps were kept, as a share of the loss's magnitude.
    """

    def __init__(self, max_rise_frac: float) -> None:
        self._max_rise_frac = max_rise_frac
        self._rises: deque[float] = deque(maxlen=NUM_KEPT)

    def at(self, loss: float) -> float:
        """Tolerated rise above `loss`, never negative and never above the share of the loss it started from."""
        start = self._max_rise_frac * max(abs(loss), 1e-8)
        if len(self._rises) < MIN_KEPT:
            return start
        middle = median(self._rises)
        spread = MAD_TO_SIGMA * median(abs(rise - middle) for rise in self._rises)
        # A floor of a twentieth of the start keeps a run of equal rises from turning into a bound without slack.
        return min(start, max(0.0, middle) + WIDTH_SIGMAS * spread + 0.05 * start)

    def observe(self, rise: float) -> None:
        """Learn the rise of a jump that was kept."""
        self._rises.append(rise)

    def state_dict(self) -> dict[str, Any]:
        """The rises seen."""
        return {"rises": list(self._rises)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._rises = deque((float(rise) for rise in state["rises"]), maxlen=NUM_KEPT)


@contextmanager
def _evaluating(model: torch.nn.Module) -> Generator[None]:
    """Eval mode inside; afterwards each module trains or not exactly as before."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _forked_rng(model: torch.nn.Module) -> Generator[None]:
    devices = {p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        yield
