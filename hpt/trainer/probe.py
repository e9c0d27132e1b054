"""Forward-only loss on fixed batches: eval mode, no gradient, random streams left as they were."""

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from hpt.config import ProbeConfig
from hpt.trainer.full_step import FullStep
from hpt.trainer.ledger import FORWARD_SHARE, Ledger

GRACE_STEPS = 2.0  # full-step equivalents that may be spent before the run is long enough for a share of it


class Probe:
    """Measures the loss before and after a jump on the same batches, within a budget of extra forwards."""

    def __init__(self, full: FullStep, config: ProbeConfig, ledger: Ledger) -> None:
        self._full = full
        self._config = config
        self._ledger = ledger
        self._recent: deque[Any] = deque(maxlen=config.batches - 1)

    def keep(self, batch: Any) -> None:
        """Remember a training batch for later probes."""
        self._recent.append(batch)

    def affords_pair(self) -> bool:
        """Whether a paired probe stays inside the budget; the one forward that reports a loss is never counted."""
        counters = self._ledger.counters
        spent = FORWARD_SHARE * (counters.probe_forwards - counters.jumps_proposed) + counters.updates_rolled_back
        pair = FORWARD_SHARE * (2 * self._config.batches - 1)
        return spent + pair <= GRACE_STEPS + self._config.budget_frac * counters.full_step_equivalents

    def batches(self, batch: Any, *, paired: bool) -> list[Any]:
        """This call's batch first, then the kept ones when a full probe is affordable."""
        return [batch, *self._recent] if paired else [batch]

    def losses(self, batches: Sequence[Any]) -> list[float]:
        """Loss on each batch. Raises whatever the user's loss function raises."""
        with torch.no_grad(), _evaluating(self._full.model), _forked_rng(self._full.model):
            losses = [float(self._full.loss_of(batch)) for batch in batches]
        self._ledger.counters.probe_forwards += len(losses)
        return losses

    def state_dict(self) -> dict[str, Any]:
        """The kept batches."""
        return {"recent": list(self._recent)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._recent = deque(state["recent"], maxlen=self._config.batches - 1)


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
