"""A small problem under optimizers of several kinds: lists, peers with state in odd places, one that is lazy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_optimizer import SOAP, Lion
from references.problems import Problem, teacher
from torch import nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler

from hpt import HybridConfig, HybridTrainer
from hpt.predictors.protocol import Predictor
from hpt.records import Record


class Lazy(Optimizer):
    """Momentum whose state appears step by step, in lists, tuples and dictionaries, and counters in its groups."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr, "count": {"steps": 0, "told": []}})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update."""
        for group in self.param_groups:
            group["count"]["steps"] += 1
            if group["count"]["steps"] % 7 == 0:
                group["count"]["told"].append(group["count"]["steps"])
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_one(parameter, self.state[parameter], group)

    def _step_one(self, parameter: nn.Parameter, state: dict[str, Any], group: dict[str, Any]) -> None:
        grad = parameter.grad
        assert grad is not None
        state.setdefault("parts", [None, {"seen": (0, torch.zeros(()))}])
        seen, total = state["parts"][1]["seen"]
        state["parts"][1]["seen"] = (seen + 1, total.add_(grad.abs().mean()))
        if seen == 6:
            state["parts"][0] = {"late": [torch.zeros_like(grad)]}
        if state["parts"][0] is not None:
            (late,) = state["parts"][0]["late"]
            grad = late.mul_(0.9).add_(grad, alpha=0.1)
        parameter.add_(grad, alpha=-group["lr"])


def _muon_and_adamw(model: nn.Module) -> list[Optimizer]:
    first, *others = model.parameters()
    return [Muon([first], lr=0.02, weight_decay=0.01), AdamW(others, lr=3e-3)]


MAKERS: dict[str, Callable[[nn.Module], list[Optimizer]]] = {
    "muon+adamw": _muon_and_adamw,
    "soap": lambda model: [SOAP(model.parameters(), lr=3e-3, precondition_frequency=3)],
    "lion": lambda model: [Lion(model.parameters(), lr=1e-3)],
    "lazy": lambda model: [Lazy(model.parameters(), lr=0.02)],
    "lazy+soap": lambda model: [
        Lazy([next(model.parameters())], lr=0.02),
        SOAP(list(model.parameters())[1:], lr=3e-3, precondition_frequency=3),
    ],
}


@dataclass
class Training:
    """A problem with its optimizers, and a schedule for each: the first one's falls, the others' rise and stay."""

    problem: Problem
    optimizers: list[Optimizer]
    schedulers: list[LRScheduler]

    @classmethod
    def of(cls, name: str, **settings: Any) -> "Training":
        """With the optimizers of that name; settings are `teacher`'s."""
        problem = teacher(**settings)
        optimizers = MAKERS[name](problem.model)
        schedulers: list[LRScheduler] = [LambdaLR(optimizers[0], lambda step: max(0.05, 1.0 - step / 200))]
        schedulers += [LinearLR(one, 0.1, 1.0, total_iters=20) for one in optimizers[1:]]
        return cls(problem, optimizers, schedulers)

    def trainer(
        self, records: list[Record] | None = None, own: Predictor | None = None, **settings: Any
    ) -> HybridTrainer:
        """A trainer with short cycles; one optimizer is passed alone, several as a list."""
        config = HybridConfig.from_dict({"total_steps": 200, "full_steps": 10, "warmup_steps": 20} | settings)
        sink = None if records is None else records.append
        given = [_alone(self.optimizers), _alone(self.schedulers)]
        problem = self.problem
        return HybridTrainer(problem.model, given[0], problem.loss_fn, config, given[1], sink, own)

    def by_hand(self, updates: int, clip: float | None = None) -> list[float]:
        """The losses of a loop as a user writes it."""
        losses: list[float] = []
        for index in range(updates):
            for one in self.optimizers:
                one.zero_grad()
            loss = self.problem.loss_fn(self.problem.model, self.problem.batch(index))
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(self.problem.model.parameters(), clip)
            for one in (*self.optimizers, *self.schedulers):
                one.step()
            losses.append(loss.item())
        return losses

    def state(self) -> dict[str, Any]:
        """All that an update changes, by reference."""
        return {
            "model": self.problem.model.state_dict(),
            "optimizers": [one.state_dict() for one in self.optimizers],
            "schedulers": [one.last_epoch for one in self.schedulers],
        }


def _alone(several: Sequence[Any]) -> Any:
    return several[0] if len(several) == 1 else list(several)
