"""Forty healthy runs whose data change under the trainer: regimes, small models, optimizers.

Everything is a function of the run's name and the number of the call, so that the plain loop sees the same batches.
Models and rates are such that the plain loop survives them all.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

IN_SIZE, HIDDEN, CLASSES = 8, 16, 4
NOISE = 0.1
SEED_STRIDE = 1_000_003


class Lion(torch.optim.Optimizer):
    """Chen et al., "Symbolic discovery of optimization algorithms", 2023: the sign of an interpolated momentum."""

    def __init__(self, params: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update."""
        for group in self.param_groups:
            fast, slow = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                p.add_(torch.lerp(p.grad, momentum, fast).sign_(), alpha=-group["lr"])
                momentum.lerp_(p.grad, 1.0 - slow)


@dataclass(frozen=True, slots=True)
class Data:
    """What a call's batch is drawn from.

    Attributes:
        teacher: angle between two linear teachers, radians; the labels follow the one at this angle.
        x_scale, x_shift: of the inputs.
        noise: standard deviation of the targets' noise, or share of flipped labels.
        outliers: share of samples whose targets are ten noises of the ordinary kind further off, times `outlier_size`.
        wild: share of samples whose inputs are ten times as large.
        offset: added to the loss, no gradient.
        factor: times the loss.
    """

    teacher: float = 0.0
    x_scale: float = 1.0
    x_shift: float = 0.0
    noise: float = NOISE
    outliers: float = 0.0
    outlier_size: float = 30.0
    wild: float = 0.0
    offset: float = 0.0
    factor: float = 1.0


class Moment(NamedTuple):
    """A call, and its place in the run, 0 to 1."""

    call: int
    frac: float


REGIMES: dict[str, Data | Callable[[Moment], Data]] = {
    "stationary": Data(),
    "offset up": lambda at: Data(offset=float(at.frac > 0.375)),
    "offset down": lambda at: Data(offset=float(at.frac < 0.375)),
    "offsets now and then": lambda at: Data(offset=float(at.call // 37 * 7 % 10 < 3)),
    "task switch": lambda at: Data(teacher=math.pi / 2 * (at.frac > 0.5)),
    "tasks in turn": lambda at: Data(teacher=math.pi / 2 * (int(20 * at.frac) % 2)),
    "tasks in quick turn": lambda at: Data(teacher=math.pi / 4 * (at.call // 30 % 2)),
    "drift": lambda at: Data(teacher=math.pi * at.frac),
    "drift to and fro": lambda at: Data(teacher=math.sin(16 * math.pi * at.frac)),
    "easy to hard": lambda at: Data(x_scale=0.3 + 1.2 * at.frac),
    "hard to easy": lambda at: Data(x_scale=1.5 - 1.2 * at.frac),
    "harder in steps": lambda at: Data(x_scale=0.5 * (1 + int(4 * at.frac)), noise=NOISE * (1 + int(4 * at.frac))),
    "easier in steps": lambda at: Data(x_scale=0.5 * (4 - int(4 * at.frac)), noise=NOISE * (4 - int(4 * at.frac))),
    "every 50th noisy": lambda at: Data(noise=20 * NOISE if at.call % 50 == 49 else NOISE),
    "easy and hard blocks": lambda at: Data(noise=10 * NOISE if at.call // 100 % 2 else NOISE),
    "bursts": lambda at: Data(noise=20 * NOISE if at.call % 500 < 5 else NOISE),
    "label outliers": Data(outliers=0.002),
    "rare label outliers": Data(outliers=0.0002, outlier_size=100.0),
    "wild inputs": Data(wild=0.002),
    "noise grows": lambda at: Data(noise=NOISE * (1 + 9 * at.frac)),
    "noise from half on": lambda at: Data(noise=8 * NOISE if at.frac > 0.5 else NOISE),
    "noise up to half": lambda at: Data(noise=8 * NOISE if at.frac < 0.5 else NOISE),
    "inputs move": lambda at: Data(x_shift=1.5 * (at.frac > 0.5)),
    "loss times ten": lambda at: Data(factor=10.0 if at.frac > 0.5 else 1.0),
    "labels flipped": lambda at: Data(noise=0.3 if at.frac > 0.5 else 0.0),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One run: regime, model, inner optimizer, rate, batch size.

    Attributes:
        plans: the trainer knows how long the run is.
        cosine: the rate falls to a tenth, else it is constant.
    """

    regime: str
    optimizer: str
    lr: float
    batch: int
    model: str = "regression"
    plans: bool = True
    cosine: bool = False

    @property
    def name(self) -> str:
        """Unique among the runs."""
        rate = "cosine" if self.cosine else "constant"
        length = "" if self.plans else ", length unknown"
        return f"{self.regime}, {self.model}, {self.optimizer} {self.lr:g} {rate}, batch {self.batch}{length}"


HEALTHY: tuple[Run, ...] = (
    Run("stationary", "adamw", 3e-3, 32),
    Run("stationary", "adamw", 1e-2, 1),
    Run("stationary", "adamw", 3e-3, 4, plans=False),
    Run("stationary", "sgd", 0.05, 64),
    Run("stationary", "sgd", 0.01, 1),
    Run("stationary", "momentum", 0.02, 8),
    Run("stationary", "lion", 1e-3, 2),
    Run("stationary", "adamw", 3e-3, 16, model="linear"),
    Run("offset up", "adamw", 3e-3, 32),
    Run("offset up", "sgd", 0.05, 8, plans=False),
    Run("offset down", "lion", 3e-4, 32),
    Run("offsets now and then", "adamw", 3e-3, 32, cosine=True),
    Run("task switch", "adamw", 3e-3, 32),
    Run("task switch", "sgd", 0.1, 16),
    Run("task switch", "lion", 1e-3, 64, cosine=True),
    Run("tasks in turn", "adamw", 1e-2, 32),
    Run("tasks in turn", "sgd", 0.1, 32, model="linear"),
    Run("tasks in quick turn", "adamw", 3e-2, 16),
    Run("tasks in quick turn", "momentum", 0.02, 64, plans=False),
    Run("drift", "adamw", 3e-3, 32),
    Run("drift to and fro", "sgd", 0.1, 8),
    Run("drift to and fro", "lion", 1e-3, 1),
    Run("easy to hard", "adamw", 3e-3, 16),
    Run("hard to easy", "momentum", 0.01, 16),
    Run("harder in steps", "adamw", 3e-3, 4),
    Run("easier in steps", "lion", 3e-4, 16),
    Run("every 50th noisy", "adamw", 3e-3, 32),
    Run("every 50th noisy", "sgd", 0.05, 2, plans=False),
    Run("easy and hard blocks", "adamw", 3e-3, 32),
    Run("easy and hard blocks", "lion", 1e-3, 8),
    Run("bursts", "momentum", 0.02, 32),
    Run("label outliers", "adamw", 3e-3, 8),
    Run("rare label outliers", "sgd", 0.01, 1),
    Run("wild inputs", "adamw", 3e-3, 16),
    Run("noise grows", "adamw", 3e-3, 1),
    Run("noise from half on", "sgd", 0.05, 32),
    Run("noise up to half", "adamw", 3e-3, 64, cosine=True),
    Run("inputs move", "momentum", 0.005, 32),
    Run("loss times ten", "adamw", 3e-3, 32),
    Run("labels flipped", "adamw", 3e-3, 16, model="classifier"),
)


class Training:
    """Model, optimizer and schedule of one run, and its batches and loss; all seeded by the run's place."""

    def __init__(self, run: Run, num_calls: int) -> None:
        self.run, self.num_calls = run, num_calls
        self.seed = sum(map(ord, run.name))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            self.model = _model(run.model)
            self._teachers = torch.randn(2, IN_SIZE, CLASSES if run.model == "classifier" else 1)
        self.optimizer = _optimizer(run, self.model)
        self.scheduler = (
            torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, num_calls, eta_min=0.1 * run.lr)
            if run.cosine
            else None
        )

    def data(self, call: int) -> Data:
        """What call `call` draws from."""
        regime = REGIMES[self.run.regime]
        frac = min(call, self.num_calls - 1) / self.num_calls  # jumps take calls, too: the end lasts a little longer
        return regime if isinstance(regime, Data) else regime(Moment(call, frac))

    def batch(self, call: int) -> tuple[Tensor, Tensor, Data]:
        """Batch of a call."""
        return self._draw(self.data(call), self.run.batch, SEED_STRIDE * (self.seed + 1) + call)

    def held_out(self, call: int) -> tuple[Tensor, Tensor, Data]:
        """4096 samples of what the call draws from."""
        return self._draw(self.data(call), 4096, self.seed)

    def _draw(self, data: Data, size: int, seed: int) -> tuple[Tensor, Tensor, Data]:
        generator = torch.Generator().manual_seed(seed)
        x = data.x_shift + data.x_scale * torch.randn(size, IN_SIZE, generator=generator)
        noise = torch.randn(size, 1, generator=generator)
        chance = torch.rand(size, 3, generator=generator)
        direction = math.cos(data.teacher) * self._teachers[0] + math.sin(data.teacher) * self._teachers[1]
        clean = x @ direction / math.sqrt(IN_SIZE)
        x = torch.where(chance[:, :1] < data.wild, 10.0 * x, x)
        if self.run.model == "classifier":
            label = clean.argmax(dim=1)
            wrong = (label + 1 + (chance[:, 1] * (CLASSES - 1)).long()) % CLASSES
            return x, torch.where(chance[:, 2] < data.noise, wrong, label), data
        far = torch.where(chance[:, 1:2] < data.outliers, data.outlier_size * NOISE * noise.sign(), 0.0)
        return x, clean + data.noise * noise + far, data

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor, Data]) -> Tensor:
        """Mean over the batch, as the regime has it."""
        x, y, data = batch
        measure = nn.functional.cross_entropy if self.run.model == "classifier" else nn.functional.mse_loss
        return data.factor * measure(model(x), y) + data.offset

    @torch.no_grad()
    def held_out_loss(self, call: int) -> float:
        """Loss of the present weights on the held-out samples."""
        return float(self.loss(self.model, self.held_out(call)))


def _model(kind: str) -> nn.Module:
    if kind == "linear":
        return nn.Linear(IN_SIZE, 1)
    return nn.Sequential(
        nn.Linear(IN_SIZE, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES if kind == "classifier" else 1)
    )


def _optimizer(run: Run, model: nn.Module) -> torch.optim.Optimizer:
    if run.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=run.lr)
    if run.optimizer == "lion":
        return Lion(model.parameters(), lr=run.lr)
    return torch.optim.SGD(model.parameters(), lr=run.lr, momentum=0.9 if run.optimizer == "momentum" else 0.0)
