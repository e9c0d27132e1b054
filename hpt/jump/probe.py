"""What a jump does to the loss at once: forward passes on fixed batches that leave nothing behind, and a bound.

A good jump raises the loss at first (measured: 0.03 to 0.3 nats on a small GPT) and pays a hundred steps later, so the
probe guards against blow-ups and judges no value. The bound is learned from the jumps that were kept: median + 6 robust
standard deviations of their rises. Before enough were seen it is a share of the loss itself.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch

from hpt.distributed.wrappers import fully_sharded, reshard
from hpt.jump.batch import BatchSpent, KeptBatch
from hpt.jump.reach import Reach
from hpt.jump.snapshot import BufferGuard
from hpt.memory.manager import is_out_of_memory
from hpt.numerics.rng import set_stream_states, stream_states
from hpt.numerics.robust import MAD_TO_SIGMA
from hpt.numerics.shards import local


class Way(NamedTuple):
    """How a probe's forward pass is run."""

    evaluates: bool
    has_gradient: bool
    text: str


WAYS = (
    Way(evaluates=True, has_gradient=False, text="in eval mode without gradient"),
    Way(evaluates=True, has_gradient=True, text="in eval mode with gradient"),  # autograd.grad inside the loss
    Way(evaluates=False, has_gradient=True, text="in training mode"),  # a model that has no loss in eval mode
)
Agree = Callable[[Callable[[], Sequence[float]]], list[float]]
MAX_FAILED = 3
NUM_KEPT = 32
MIN_KEPT = 5
WIDTH_SIGMAS = 6.0


class Probe:
    """Loss on batches, in the first of three ways that works; all that a forward pass leaves behind is put back.

    The ways are tried until one works, and again after it failed.

    Args:
        model: whose modules go to eval mode and back.
        loss_of: loss of one batch, a scalar tensor.
        num_batches: batches in a paired probe, the present one included.
        buffers: of the model, and of what the loss function holds on to.
        reach: what that is.

    Attributes:
        way: index into `WAYS` of the one that is tried first.
        num_failed: probes in a row that did not work in any way.
        recent: training batches for a paired probe.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss_of: Callable[[Any], torch.Tensor],
        num_batches: int,
        buffers: BufferGuard,
        reach: Reach,
    ) -> None:
        self._model = model
        self._sharded = fully_sharded(model)
        self._loss_of = loss_of
        self._buffers = buffers
        self._reach = reach
        self.recent: deque[KeptBatch] = deque(maxlen=num_batches - 1)
        self.way = 0
        self.num_failed = 0
        self._works = False

    @property
    def is_off(self) -> bool:
        """It failed so often that nothing is probed any more, hence nothing jumps."""
        return self.num_failed >= MAX_FAILED

    def keep(self, batch: KeptBatch) -> None:
        """Remember a training batch for later probes."""
        self.recent.append(batch)

    def batches(self, batch: Any, *, paired: bool) -> list[KeptBatch]:
        """The present batch first, then the kept ones that are as they were, if the probe is paired."""
        kept = [one for one in self.recent if not one.spent] if paired else []
        return [KeptBatch(batch), *kept]

    def objection(self, batches: Sequence[KeptBatch]) -> str:
        """Why the loss cannot be had once more on these batches, "" if it can."""
        if self._reach.readers:
            return f"the loss function reads from a {self._reach.readers[0]} of its own"
        return next((one.spent for one in batches if one.spent), "")

    def losses(self, batches: Sequence[KeptBatch], agree: Agree | None = None) -> list[float]:
        """Loss on each batch, read at once.

        Args:
            batches: to measure it on.
            agree: makes what one way gives the same in several processes, which then go through the ways together;
                None: this process is alone.

        Raises:
            BatchSpent: one of them cannot be had again.
            Exception: whatever the user's loss function raises, if it does so in every way.
        """
        last = self.way if self._works else len(WAYS) - 1  # a pair is measured one way
        for way in range(self.way, last + 1):
            measure = partial(self._losses, batches, WAYS[way])
            try:
                losses = measure() if agree is None else agree(measure)
            except Exception as error:
                if agree is None and isinstance(error, BatchSpent):
                    raise
                self._works = False
                if way == last or (agree is None and is_out_of_memory(error)):
                    raise
            else:
                self.way, self.num_failed, self._works = way, 0, True
                return losses
        raise AssertionError("every way returns or raises")

    def _losses(self, batches: Sequence[KeptBatch], way: Way) -> list[float]:
        if reason := self.objection(batches):
            raise BatchSpent(reason)
        mode = _evaluating(self._model) if way.evaluates else nullcontext()
        with self._leaving_nothing(), mode, torch.set_grad_enabled(way.has_gradient):
            losses = [self._loss_of(batch.copied()).detach().reshape(()) for batch in batches]
        return torch.stack(losses).tolist() if len(losses) > 1 else [float(losses[0])]

    @contextmanager
    def _leaving_nothing(self) -> Generator[None]:
        """Afterwards buffers, gradients and random streams are as before."""
        streams = stream_states(self._reach.sources)
        grads = [(parameter, parameter.grad) for parameter in self._model.parameters()]
        for parameter, _ in grads:
            parameter.grad = None  # a loss function may run a backward pass of its own
        self._buffers.save()
        try:
            yield
        finally:
            reshard(self._sharded)
            self._buffers.restore()
            for parameter, grad in grads:
                parameter.grad = grad
            set_stream_states(streams, self._reach.sources)

    def state_dict(self) -> dict[str, Any]:
        """The way that is tried first, and whether any works; batches are stored apart, since not all can be."""
        return {"way": self.way, "num_failed": self.num_failed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.way, self.num_failed = int(state["way"]), int(state["num_failed"])


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
    """Eval mode inside; afterwards each module trains or not as before, through its own `train`.

    A module that does something of its own on a change of mode (LoRA merges its factors into the weight) is told of
    both changes, and its weights come back to the bit.
    """
    modes = [(module, module.training) for module in model.modules()]
    own = [module for module, _ in modes if type(module).train is not torch.nn.Module.train]
    weights = {id(one): one for module in own for one in module.parameters()}
    copies = [(one, one.data, one.detach().clone()) for one in weights.values()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            if module.training is not training:
                module.train(training)
        for module, training in modes:
            module.training = training
        for weight, place, kept in copies:
            place.copy_(kept)
            if local(weight).data_ptr() != local(place).data_ptr():
                weight.data = place
