"""Faults planted into running trainers: corrupted layers, exploding rates, far jumps."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from survival_runs import Run, Training
from torch import Tensor

from hpt import HybridTrainer


class Subject(Protocol):
    """What a fault happens to."""

    training: Training
    trainer: HybridTrainer


Plant = Callable[[Subject], None]
ADAMW, SGD, LION = (
    Run("stationary", "adamw", 3e-3, 32),
    Run("stationary", "sgd", 0.05, 32),
    Run("stationary", "lion", 1e-3, 32),
)
SINGLE, FOUR = Run("stationary", "adamw", 3e-3, 1), Run("stationary", "adamw", 3e-3, 4)
MOMENTUM = Run("stationary", "momentum", 0.02, 32)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks the weights.

    Attributes:
        kind: what the issue is.
        name: unique among the faults.
        plant: does it, before a call.
        run: the training that it happens to.
        at: net updates before it; the first PREDICT call from there on for a jump.
        settings: of the trainer.
    """

    kind: str
    name: str
    plant: Plant
    run: Run = ADAMW
    at: int = 1203
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


def _layer(number: int, change: Callable[[Tensor], Tensor]) -> Plant:
    """Overwrite the weight of a layer; -1 is the last."""

    @torch.no_grad()
    def plant(subject: Subject) -> None:
        weight = [one for one in subject.training.model.parameters() if one.ndim == 2][number]
        weight.copy_(change(weight))

    return plant


def _everywhere(spread: float) -> Plant:
    """Noise on every weight."""

    @torch.no_grad()
    def plant(subject: Subject) -> None:
        generator = torch.Generator().manual_seed(1)
        for one in subject.training.model.parameters():
            one.add_(spread * torch.randn(one.shape, generator=generator))

    return plant


def _one_weight(value: float) -> Callable[[Tensor], Tensor]:
    """What a flipped bit of an exponent does."""

    def change(weight: Tensor) -> Tensor:
        changed = weight.clone()
        changed.view(-1)[0] = value
        return changed

    return change


def _rate(factor: float) -> Plant:
    """The rate is so many times as large from now on."""

    def plant(subject: Subject) -> None:
        for group in subject.training.optimizer.param_groups:
            group["lr"] *= factor

    return plant


def _jump(factor: float) -> Plant:
    """The jump of this call goes so many times as far as it was meant to."""

    def plant(subject: Subject) -> None:
        around = subject.trainer.outer.around_move

        @contextmanager
        def far() -> Generator[None]:
            before = [one.detach().clone() for one in subject.training.model.parameters()]
            yield
            with torch.no_grad():
                for one, earlier in zip(subject.training.model.parameters(), before, strict=True):
                    one.add_(one - earlier, alpha=factor - 1.0)
            subject.trainer.outer.around_move = around

        moved: Callable[[], AbstractContextManager[Any]] = far
        subject.trainer.outer.around_move = moved

    return plant


UNSEEN = {"probe": {"budget_frac": 0.0}}
LONG_CYCLES = {"full_steps": 150}
CORRUPTED, RATE, JUMP = "corrupted layer", "exploding rate", "far jump"
FAULTS = (
    Fault(CORRUPTED, "last layer times 10", _layer(-1, lambda w: 10 * w)),
    Fault(CORRUPTED, "last layer times -1", _layer(-1, torch.neg), SGD),
    Fault(CORRUPTED, "last layer zero", _layer(-1, torch.zeros_like), LION),
    Fault(CORRUPTED, "first layer times 30", _layer(0, lambda w: 30 * w), MOMENTUM),
    Fault(CORRUPTED, "first layer upside down", _layer(0, lambda w: w.flip(0))),
    Fault(CORRUPTED, "one weight 1e20", _layer(-1, _one_weight(1e20)), SGD),
    Fault(CORRUPTED, "one weight NaN", _layer(0, _one_weight(float("nan")))),
    Fault(CORRUPTED, "noise on every weight", _everywhere(0.5), FOUR),
    Fault(CORRUPTED, "much noise on every weight", _everywhere(3.0), SINGLE),
    Fault(CORRUPTED, "last layer times 10 in a long cycle", _layer(-1, lambda w: 10 * w), settings=LONG_CYCLES),
    Fault(CORRUPTED, "last step of a cycle", _layer(-1, lambda w: 10 * w), at=1219),
    Fault(
        CORRUPTED, "after a shift of the loss", _layer(-1, lambda w: 10 * w), Run("offset up", "adamw", 3e-3, 32), 903
    ),
    Fault(CORRUPTED, "among outliers", _layer(-1, lambda w: 10 * w), Run("every 50th noisy", "adamw", 3e-3, 32)),
    Fault(RATE, "AdamW, times 100", _rate(100.0)),
    Fault(RATE, "AdamW, times 1000", _rate(1000.0), at=1219),
    Fault(RATE, "SGD, times 100", _rate(100.0), SGD),
    Fault(RATE, "SGD, times 1e6", _rate(1e6), SGD),
    Fault(RATE, "momentum, times 300", _rate(300.0), MOMENTUM, settings=LONG_CYCLES),
    Fault(RATE, "Lion, times 300", _rate(300.0), LION),
    Fault(JUMP, "30 times as far", _jump(30.0)),
    Fault(JUMP, "30 times as far, not probed", _jump(30.0), settings=UNSEEN),
    Fault(JUMP, "1000 times as far, not probed", _jump(1000.0), SGD, settings=UNSEEN),
    Fault(JUMP, "50 times backwards, not probed", _jump(-50.0), LION, settings=UNSEEN),
    Fault(JUMP, "into overflow, not probed", _jump(1e30), settings=UNSEEN),
)
