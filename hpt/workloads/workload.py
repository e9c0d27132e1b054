"""What a workload is: a model, its optimizer, its data and its loss, all of them a function of one seed.

A workload has no state that moves. `batch(index)` is random access: the batch of any index is computed from
(seed, index) with a counter-based generator (Philox; Salmon et al., "Parallel random numbers: as easy as 1,
2, 3", SC11), so a resumed run, a fork and a paired arm see the same data with no data loader's state to
carry along. The validation set depends on no seed, so losses of different seeds are comparable.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hpt.optimizers.build import WEIGHT_DECAY
from hpt.workloads.schedule import warmup_linear


class Workload(ABC):
    """A learning problem that the trainer and the harness can run. Derive from it for your own.

    Attributes:
        name: how records call it.
        chance_loss: loss, in the unit of `loss`, of knowing nothing but the targets' marginal distribution.
        clip_norm: global gradient norm to clip at, None for no clipping.
        peak_lr: AdamW's tuned peak learning rate, from which that of other optimizers is scaled; None: not known.
        weight_decay: AdamW's, of tensors with two axes or more.
        default_steps: length of a run when none is asked for, optimizer updates.
        description: plain facts for the run's record: sizes, data source, how the chance level was computed.
        seed: source of the initial weights and of the batches; any non-negative integer.
        device: where the model and the batches live.
    """

    name: str
    chance_loss: float
    clip_norm: float | None
    peak_lr: float | None = None
    weight_decay: float = WEIGHT_DECAY
    default_steps: int
    description: dict[str, Any]
    seed: int
    device: torch.device

    @abstractmethod
    def build_model(self) -> nn.Module:
        """A new model on the device, its weights a function of the seed; global generators are untouched."""

    @abstractmethod
    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """The tuned baseline optimizer, its learning rates at their peak."""

    def build_scheduler(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """Warm-up and linear decay over `total_steps` updates; see `schedule`."""
        return warmup_linear(optimizer, total_steps)

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Mean loss on a batch, a scalar with a graph."""

    @abstractmethod
    def batch(self, index: int) -> Any:
        """Training batch number `index` on the device, a function of (seed, index) alone."""

    @abstractmethod
    def validation_batches(self) -> Sequence[Any]:
        """The fixed held-out batches, all of one size, on the device; the same for every seed."""

    def validation_loss(self, model: nn.Module) -> float:
        """Mean loss over the validation batches in eval mode; flags and generators stay as they were."""
        with frozen(model), kept_rng(self.device):
            losses = [self.loss(model, batch) for batch in self.validation_batches()]
            return float(torch.stack(losses).double().mean())


def batch_generator(seed: int, index: int, stream: int = 0) -> np.random.Generator:
    """The generator of batch `index`: a Philox stream of its own for every (seed, stream, index).

    Seed and stream are the key, the index is the high word of the counter, so streams never overlap.
    """
    counter = np.array([0, 0, 0, index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64), counter=counter))


@contextmanager
def seeded_init(seed: int) -> Generator[None]:
    """Seed torch's CPU generator for the weights made inside, and put it back as it was afterwards.

    Weights are made on the CPU and moved, so that one seed means the same weights on every device. The
    accelerators' generators are left alone, which `torch.manual_seed` would not do.
    """
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


@contextmanager
def kept_rng(device: torch.device) -> Generator[None]:
    """Whatever is drawn inside, the CPU's and this device's generators come back as they were."""
    on_host = torch.default_generator.get_state()
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        yield
    finally:
        torch.default_generator.set_state(on_host)
        if on_device is not None:
            torch.cuda.set_rng_state(on_device, device)


@contextmanager
def frozen(model: nn.Module) -> Generator[None]:
    """Eval mode without gradients inside; afterwards every module has the training flag it had before."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, was_training in flags:
            module.training = was_training


def num_parameters(model: nn.Module) -> int:
    """Number of trainable weights, tied tensors counted once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def marginal_entropy(counts: NDArray[np.int64]) -> float:
    """Entropy of the frequencies behind `counts`, nats: the loss of a model that knows these alone."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
