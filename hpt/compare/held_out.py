"""The held-out set under seal: whoever opens it outside evaluation is stopped, and the run does not count.

Probes, gates and predictors work on training batches. A sealed workload gives out its validation batches,
and takes them in its loss, only while `opened`. A breach raises where it happens; since the trainer survives what
fails inside a probe or a predictor, breaches are counted too, and a cell with one fails.

A validation tensor is known by its memory, so a copy of one made while open would pass.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hpt.errors import HptError
from hpt.workloads.workload import Workload


class ValidationSealed(HptError):
    """The validation set was touched outside evaluation."""


class SealedWorkload(Workload):
    """A workload whose validation set opens only inside evaluation.

    Args:
        inner: the workload; use it through this one only.

    Attributes:
        num_breaches: attempts to touch the validation set while it was sealed.
    """

    def __init__(self, inner: Workload) -> None:
        self._inner = inner
        for name in Workload.__annotations__:
            setattr(self, name, getattr(inner, name))
        self.num_breaches = 0
        self._is_open = False
        self._held_out = frozenset(_addresses(inner.validation_batches()))

    def build_model(self) -> nn.Module:
        """The inner workload's model."""
        return self._inner.build_model()

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """The inner workload's optimizer."""
        return self._inner.build_optimizer(model)

    def build_scheduler(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """The inner workload's schedule."""
        return self._inner.build_scheduler(optimizer, total_steps)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Mean loss on a batch.

        Raises:
            ValidationSealed: it is a validation batch, and this is not evaluation.
        """
        if not self._is_open and not self._held_out.isdisjoint(_addresses(batch)):
            raise self._breach("a loss was asked for on a validation batch")
        return self._inner.loss(model, batch)

    def batch(self, index: int) -> Any:
        """Training batch number `index`."""
        return self._inner.batch(index)

    def validation_batches(self) -> Sequence[Any]:
        """The held-out batches.

        Raises:
            ValidationSealed: this is not evaluation.
        """
        if not self._is_open:
            raise self._breach("the validation batches were asked for")
        return self._inner.validation_batches()

    def validation_loss(self, model: nn.Module) -> float:
        """Mean loss over the validation batches.

        Raises:
            ValidationSealed: this is not evaluation.
        """
        if not self._is_open:
            raise self._breach("the validation loss was asked for")
        return self._inner.validation_loss(model)

    @contextmanager
    def opened(self) -> Generator[None]:
        """Evaluation: inside, the validation set may be used."""
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False

    def _breach(self, what: str) -> ValidationSealed:
        self.num_breaches += 1
        return ValidationSealed(f"{what} outside evaluation on {self.name}; probe and choose on training batches")


def _addresses(batch: object) -> Iterable[int]:
    """Memory addresses of all tensors in a batch: lists, tuples and mappings are searched."""
    if isinstance(batch, Tensor):
        yield batch.untyped_storage().data_ptr()
    elif isinstance(batch, dict):
        for part in batch.values():  # pyright: ignore[reportUnknownVariableType]
            yield from _addresses(part)
    elif isinstance(batch, (list, tuple)):
        for part in batch:  # pyright: ignore[reportUnknownVariableType]
            yield from _addresses(part)
