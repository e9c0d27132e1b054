"""Small workloads of many structures, on which policies are cheap to measure; by name for `load_workload`.

Networks with and without normalisation, on the teacher's labels, noisy templates, scikit-learn's digits (Alpaydin and
Kaynak 1998) and bytes of text; seconds a run. Rates are those at which AdamW does about best.
"""

from functools import lru_cache, partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hpt.workloads.byte_gpt import ByteGPT, ByteGPTSize
from hpt.workloads.classification import Arrays, Classification, Samples
from hpt.workloads.cnn import TemplateCNN
from hpt.workloads.mlp import TeacherMLP
from hpt.workloads.workload import seeded_init

NUM_HELD_OUT = 384


def mlp(
    sizes: tuple[int, ...], activation: type[nn.Module] = nn.GELU, norm: type[nn.Module] | None = None
) -> nn.Sequential:
    """Linear layers with an activation, and a normalisation before it, between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs), *([] if norm is None else [norm(outputs)]), activation()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class Residual(nn.Module):
    """x + f(norm(x)), as in a transformer's feed-forward part."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.inner = mlp((dim, 2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, dim) to the same."""
        return x + self.inner(self.norm(x))


class Teacher(TeacherMLP):
    """The teacher's labels for another network."""

    def __init__(self, network: Any, *, lr: float, batch_size: int, seed: int, device: torch.device) -> None:
        self._network, self.peak_lr, self.batch_size = network, lr, batch_size
        super().__init__(seed=seed, device=device)

    def make_model(self) -> nn.Module:
        """The network."""
        return self._network()


class Templates(TemplateCNN):
    """Noisy templates for a convolutional network without normalisation."""

    batch_size = 32
    peak_lr = 8e-3

    def make_model(self) -> nn.Module:
        """Two convolutions, then a linear head."""
        return nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(16 * 36, 10)),
        )


class Digits(Classification):
    """Scikit-learn's handwritten digits, 8 x 8, a quarter held out."""

    name = "digits"
    label_noise_frac = 0.05
    num_validation = NUM_HELD_OUT
    source = "scikit-learn's digits"

    def __init__(self, network: Any, *, lr: float, batch_size: int, seed: int, device: torch.device) -> None:
        self._network, self.peak_lr, self.batch_size = network, lr, batch_size
        super().__init__(seed=seed, device=device)

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Images (count, 64) and labels (count,), with pixel noise, so that no run ends at zero."""
        images, labels = digits()
        rows = generator.integers(NUM_HELD_OUT, len(labels), size=count)
        noise = 0.5 * generator.standard_normal((count, 64), dtype=np.float32)
        return (images[rows] + noise).astype(np.float32), labels[rows]

    def validation_batches(self) -> list[Samples]:
        """The digits held out, without noise."""
        images, labels = (torch.as_tensor(one[:NUM_HELD_OUT]) for one in digits())
        return list(zip(images.split(128), labels.split(128), strict=True))

    def make_model(self) -> nn.Module:
        """The network."""
        return self._network()


@lru_cache(maxsize=1)
def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images (1797, 64), standardised together, and labels, in a fixed random order; needs scikit-learn."""
    data: Any = import_module("sklearn.datasets").load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = data.data[order].astype(np.float32)
    return (images - images.mean()) / images.std(), data.target[order].astype(np.int64)


class Recurrent(nn.Module):
    """A GRU on bytes: no normalisation anywhere."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.table = nn.Embedding(256, dim)
        self.cell = nn.GRU(dim, dim, batch_first=True)
        self.head = nn.Linear(dim, 256)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time) to logits (batch, time, 256)."""
        return self.head(self.cell(self.table(tokens))[0])


class Window(nn.Module):
    """Next byte from the eight before it by a plain network on their embeddings (Bengio et al. 2003)."""

    def __init__(self, dim: int = 24, size: int = 8) -> None:
        super().__init__()
        self.size = size
        self.table = nn.Embedding(256, dim)
        self.inner = mlp((size * dim, 128, 256), nn.Tanh)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time) to logits (batch, time, 256)."""
        rows = functional.pad(self.table(tokens), (0, 0, self.size - 1, 0))
        return self.inner(rows.unfold(1, self.size, 1).flatten(2))


class Bytes(ByteGPT):
    """The byte-level text for another network."""

    def __init__(self, network: Any, size: ByteGPTSize, *, seed: int, data: Path | None, device: torch.device) -> None:
        self._network = network
        super().__init__(size, seed=seed, data=data, device=device)

    def build_model(self) -> nn.Module:
        """The network, drawn from the seed."""
        with seeded_init(self.seed):
            return self._network().to(self.device)


def _without_data(make: Any, *, seed: int, data: Path | None, device: torch.device) -> Any:
    del data
    return make(seed=seed, device=device)


def _teacher(network: Any, lr: float, batch_size: int = 32) -> Any:
    return partial(_without_data, partial(Teacher, network, lr=lr, batch_size=batch_size))


def _digits(network: Any, lr: float, batch_size: int = 32) -> Any:
    return partial(_without_data, partial(Digits, network, lr=lr, batch_size=batch_size))


def _image(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *layers, nn.Flatten(), nn.Linear(16 * 16, 10))


def _digits_cnn() -> nn.Module:
    return _image(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU())


def _digits_cnn_norm() -> nn.Module:
    return _image(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
    )


mlp_tanh = _teacher(partial(mlp, (32, 48, 48, 10), nn.Tanh), 8e-3)
mlp_wide = _teacher(partial(mlp, (32, 128, 10)), 8e-3, 64)
mlp_norm = _teacher(partial(mlp, (32, 64, 64, 64, 10), norm=nn.LayerNorm), 8e-3)
mlp_batchnorm = _teacher(partial(mlp, (32, 64, 64, 10), nn.ReLU, nn.BatchNorm1d), 8e-3, 64)
mlp_residual = _teacher(lambda: nn.Sequential(nn.Linear(32, 48), Residual(48), Residual(48), nn.Linear(48, 10)), 5.6e-3)
templates_plain = partial(_without_data, Templates)
digits_mlp = _digits(partial(mlp, (64, 64, 64, 10), nn.ReLU), 4e-3)
digits_cnn = _digits(_digits_cnn, 5.6e-3)
digits_cnn_norm = _digits(_digits_cnn_norm, 8e-3)
gpt_tiny = partial(ByteGPT, ByteGPTSize(name="gpt-tiny", dim=32, layers=1, heads=2, context=16, batch_size=16))
gpt_deep = partial(ByteGPT, ByteGPTSize(name="gpt-deep", dim=32, layers=3, heads=2, context=16, batch_size=32))
gru = partial(Bytes, Recurrent, ByteGPTSize(name="gru", context=16, batch_size=16, peak_lr=8e-3))
window = partial(Bytes, Window, ByteGPTSize(name="window", context=16, batch_size=16, peak_lr=5.6e-3))

VARIANTS = {
    **dict.fromkeys(("mlp_tanh", "mlp_wide", "mlp_norm", "mlp_batchnorm", "mlp_residual"), 1500),
    **dict.fromkeys(("templates_plain", "digits_cnn", "digits_cnn_norm"), 1000),
    **dict.fromkeys(("digits_mlp", "gpt_tiny", "gpt_deep", "gru", "window"), 1200),
}
"""Lengths by name."""
