"""Small training problems for tests: seeded, quick, with data as a function of the index."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hpt import HybridConfig, HybridTrainer
from hpt.predictors.protocol import Predictor
from hpt.records import Record


@dataclass
class Problem:
    """A model with its optimizer, schedule, loss and data."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None
    loss_fn: Callable[[nn.Module, Any], Tensor]
    batch: Callable[[int], Any]

    def trainer(
        self, records: list[Record] | None = None, own: Predictor | None = None, **settings: Any
    ) -> HybridTrainer:
        """A trainer with short cycles unless told otherwise; `own` is a predictor in place of the one by name."""
        config = HybridConfig.from_dict(
            {"predictor": "nesterov", "total_steps": 200, "full_steps": 10, "warmup_steps": 20} | settings
        )
        sink = None if records is None else records.append
        return HybridTrainer(self.model, self.optimizer, self.loss_fn, config, self.scheduler, sink, own)

    def run(self, trainer: HybridTrainer, updates: int) -> list[float]:
        """Losses of all calls until `updates` net updates are done."""
        losses: list[float] = []
        while trainer.num_updates < updates:
            losses.append(trainer.step(self.batch(trainer.num_calls)).loss)
        return losses


def teacher(seed: int = 0, *, dropout: float = 0.0, total: int = 200, norm: bool = False) -> Problem:
    """A two-layer student of a linear teacher with label noise; AdamW with two groups and a falling rate."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers: list[nn.Module] = [nn.Linear(8, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 1)]
        if norm:
            layers.insert(1, nn.BatchNorm1d(16))
        model = nn.Sequential(*layers)
        target = torch.randn(8, 1)
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}], lr=3e-3
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.05, 1.0 - step / total))

    def batch(index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + index)
        x = torch.randn(32, 8, generator=generator)
        return x, x @ target + 0.1 * torch.randn(32, 1, generator=generator)

    def loss_fn(net: nn.Module, pair: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.mse_loss(net(pair[0]), pair[1])

    return Problem(model, optimizer, scheduler, loss_fn, batch)


class Quadratic(nn.Module):
    """0.5 sum(curvature x (theta - optimum)^2): every later displacement is known in closed form."""

    def __init__(self, size: int = 64, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.curvature = torch.logspace(-2, 0, size)
        self.optimum = torch.randn(size, generator=generator)
        self.theta = nn.Parameter(torch.zeros(size))

    def forward(self) -> Tensor:
        """The loss."""
        return 0.5 * (self.curvature * (self.theta - self.optimum) ** 2).sum()


def quadratic(lr: float = 0.05) -> Problem:
    """Gradient descent on a noiseless quadratic."""
    model = Quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return Problem(model, optimizer, None, lambda net, _: net(), lambda index: index)


def noisy_optimum(lr: float = 0.1, seed: int = 0) -> Problem:
    """SGD that has reached the optimum of a quadratic and is kept off it by noise: there is no trend to follow."""
    problem = quadratic(lr)
    model = problem.model
    assert isinstance(model, Quadratic)
    with torch.no_grad():
        model.theta.copy_(model.optimum)

    def batch(index: int) -> Tensor:
        return torch.randn(64, generator=torch.Generator().manual_seed(15_485_863 * (seed + 1) + index))

    def loss_fn(net: nn.Module, noise: Tensor) -> Tensor:
        assert isinstance(net, Quadratic)
        return 0.5 * (net.curvature * (net.theta - net.optimum - noise) ** 2).sum()

    return Problem(model, problem.optimizer, None, loss_fn, batch)


class Noise(nn.Module):
    """A loss whose gradient is pure noise, independent of the weights."""

    def __init__(self, size: int = 4096) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(size))

    def forward(self, direction: Tensor) -> Tensor:
        """<theta, noise>."""
        return (self.theta * direction).sum()


def pure_noise(seed: int = 0) -> Problem:
    """AdamW on gradients without any signal."""
    model = Noise()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)

    def batch(index: int) -> Tensor:
        return torch.randn(4096, generator=torch.Generator().manual_seed(7919 * (seed + 1) + index))

    return Problem(model, optimizer, None, lambda net, noise: net(noise), batch)


def weights_of(model: nn.Module) -> Tensor:
    """All parameters as one vector, copied."""
    return torch.cat([p.detach().reshape(-1).double() for p in model.parameters()])
