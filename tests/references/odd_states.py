"""Training problems whose state is easily lost or changed on the way through a file."""

from collections.abc import Callable
from typing import Any

import torch
from references.problems import Problem, teacher
from torch import Tensor, nn


class LowMoments(torch.optim.Optimizer):
    """Momentum in bf16, a counter in int32, and a list of turned tensors, beside fp32 weights."""

    def __init__(self, parameters: Any, lr: float = 1e-3) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p, dtype=torch.bfloat16)
                state["count"] = torch.zeros((), dtype=torch.int32)
                state["sums"] = [
                    torch.zeros(tuple(reversed(p.shape)), dtype=torch.float64).permute(*range(p.ndim)[::-1])
                ]
            state["count"] += 1
            state["sums"][0] += p.grad.double() ** 2
            mixed = 0.9 * state["momentum"].float() + 0.1 * p.grad
            scale = (state["sums"][0] / state["count"]).sqrt().clamp(min=1e-12).float()
            p.add_(torch.tanh(mixed / scale), alpha=-self.param_groups[0]["lr"])
            state["momentum"].lerp_(p.grad.bfloat16(), 0.01)


class Migrated(nn.Linear):
    """Holds its weight doubled since version 2; a state without a version is of version 1 and is doubled on loading."""

    _version = 2

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        return nn.functional.linear(input, 0.5 * self.weight, self.bias)

    def _load_from_state_dict(  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        if local_metadata.get("version") != 2:
            state_dict[f"{prefix}weight"] = 2.0 * state_dict[f"{prefix}weight"]
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class Remembering(nn.Module):
    """Buffers that a forward pass changes: one in no state dictionary, one empty at first, one made late."""

    hidden: Tensor
    filled: Tensor | None
    late: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hidden", torch.zeros(8), persistent=False)
        self.register_buffer("filled", None)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.detach().mean(dim=0)
        if self.filled is None:
            self.filled = mean.double()
            self.register_buffer("late", torch.ones(8))
        if self.training:
            self.hidden.lerp_(mean, 0.1)
            self.filled = 0.9 * self.filled + 0.1 * mean.double()
            self.late = self.late * 0.99
        return x + self.hidden + 0.1 * self.filled.float() + 0.1 * self.late


class WeightedLoss(nn.Module):
    """A loss function with a weight of its own, which the optimizer has and the model has not."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, net: nn.Module, pair: tuple[Tensor, Tensor]) -> Tensor:
        error = nn.functional.mse_loss(net(pair[0]), pair[1])
        return error * torch.exp(-self.log_scale) + self.log_scale


def _changed(model: Callable[[nn.Module], nn.Module], optimizer: Callable[[Any], torch.optim.Optimizer]) -> Problem:
    problem = teacher()
    problem.model, problem.scheduler = model(problem.model), None
    problem.optimizer = optimizer(problem.model.parameters())
    return problem


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=3e-3)


def fused(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=3e-3, fused=True)


def _channels_last(model: nn.Module) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        layers = [nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 6, 2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(54, 1)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def turned(model: nn.Module) -> nn.Module:
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.weight = nn.Parameter(layer.weight.detach().t().contiguous().t())
    return model


def _migrated(model: nn.Module) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return nn.Sequential(Migrated(8, 16), nn.Tanh(), Migrated(16, 1))


def _in_bf16(optimizer: Callable[[Any], torch.optim.Optimizer]) -> Problem:
    problem = _changed(lambda model: model.bfloat16(), optimizer)
    problem.loss_fn = lambda net, pair: nn.functional.mse_loss(net(pair[0].bfloat16()).float(), pair[1])
    return problem


def _weighted() -> Problem:
    problem, loss = teacher(), WeightedLoss()
    problem.scheduler = None
    problem.optimizer = fused([*problem.model.parameters(), *loss.parameters()])
    problem.loss_fn = loss
    return problem


def _levelled() -> Problem:
    """The loss is taken less a running mean that only the loss function's own module holds."""
    problem, memory = teacher(), Remembering()
    problem.scheduler = None
    problem.loss_fn = lambda net, pair: nn.functional.mse_loss(net(memory(pair[0])), pair[1])
    return problem


ODD: dict[str, Callable[[], Problem]] = {
    "channels_last": lambda: _changed(_channels_last, fused),
    "turned": lambda: _changed(turned, fused),
    "nadam_bf16": lambda: _in_bf16(
        lambda parameters: torch.optim.NAdam(parameters, betas=(0.99, 0.999), momentum_decay=100.0)
    ),
    "low_moments": lambda: _changed(lambda model: model, LowMoments),
    "migrated": lambda: _changed(_migrated, adamw),
    "buffers": lambda: _changed(lambda model: nn.Sequential(Remembering(), model), adamw),
    "weighted_loss": _weighted,
    "buffers_of_the_loss": _levelled,
}
