"""Optimizers that train at other weights than those to be judged, as Schedule-Free does (arXiv:2405.15682)."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from torch.optim import Optimizer


@contextmanager
def evaluating(optimizers: Iterable[Optimizer]) -> Generator[None]:
    """Inside, the model has the weights to be judged; afterwards those to train on, equal to those before to rounding.

    Optimizers with the methods `eval` and `train` are told; all others train at the weights to be judged.
    """
    told: list[Any] = [one for one in optimizers if hasattr(one, "eval") and hasattr(one, "train")]
    for one in told:
        one.eval()
    try:
        yield
    finally:
        for one in told:
            one.train()
