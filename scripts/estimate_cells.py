"""Configurations whose peak is estimated and measured, and what measures and estimates one of them.

They are large enough that tensors and not the interpreter are what is measured, and small enough for a minute each.
"""

import gc
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint

from hpt import HybridConfig, HybridTrainer, Phase
from hpt.machine import describe_machine
from hpt.memory.cleanup import trim_heap
from hpt.memory.estimate import estimate_memory
from hpt.memory.peak import PeakMeter
from hpt.memory.probe import resident_bytes
from hpt.optimizers.build import build_optimizers
from hpt.workloads.gpt2 import SIZES
from hpt.workloads.transformer import GPT, GPTShape

CPU = torch.device("cpu")
PLAIN_UPDATES, PERIODIC_UPDATES = 2, 12
INPUTS = 1024  # of an MLP
HYBRID_CYCLE = {"warmup_steps": 3, "full_steps": 4, "correct_steps": 2, "total_steps": 40, "gate": "always"}
Batch = tuple[Tensor, Tensor]


class LSTM(nn.Module):
    """Two layers over embedded tokens, with a linear head."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time) to (batch, time, vocabulary)."""
        return self.head(self.layers(self.embedding(tokens))[0])


class Checkpointed(nn.Module):
    """A block whose activations are computed again in the backward pass."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """As the block's."""
        return checkpoint(self.inner, x, use_reentrant=False)


def gpt(shape: GPTShape) -> Callable[[], nn.Module]:
    """A GPT of that shape."""
    return lambda: GPT(shape)


def mlp(width: int) -> nn.Module:
    """Three hidden layers of that width."""
    widths = (INPUTS, width, width, width, 1000)
    layers = [[nn.Linear(a, b), nn.GELU()] for a, b in pairwise(widths)]
    return nn.Sequential(*[one for pair in layers for one in pair][:-1])


def cnn() -> nn.Module:
    """Six convolutions with BatchNorm, over images of 64 x 64."""
    channels = (3, 32, 64, 64, 128, 128, 256)
    layers: list[nn.Module] = []
    for place, (a, b) in enumerate(pairwise(channels)):
        stride = 2 if place % 2 else 1
        layers += [nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


BYTE_GPT = GPTShape(layers=6, heads=6, dim=384, vocabulary=256, context=128)
MODELS: dict[str, Callable[[], nn.Module]] = {
    "gpt2": gpt(SIZES["gpt2"].shape()),
    "gpt2-medium": gpt(SIZES["gpt2-medium"].shape()),
    "byte-gpt": gpt(BYTE_GPT),
    "mlp": lambda: mlp(2048),
    "narrow-mlp": lambda: mlp(1024),
    "cnn": cnn,
    "lstm": lambda: LSTM(512, 4096),
}
VOCABULARIES = {"gpt2": 50257, "gpt2-medium": 50257, "byte-gpt": 256, "lstm": 4096}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration.

    Attributes:
        model: of `MODELS`.
        optimizer: a name of the catalogue, or "adamw-foreach", "adamw-fused".
        batch_size: samples in a micro-batch.
        seq_len: tokens; 0 for models without.
        dtype: of `estimate_memory`; None for single precision.
        accumulation_steps: micro-batches an update.
        is_checkpointed: activations of blocks are computed again.
        is_hybrid: trained by HybridTrainer with jumps.
    """

    model: str
    optimizer: str = "adamw"
    batch_size: int = 1
    seq_len: int = 0
    dtype: str | None = None
    accumulation_steps: int = 1
    is_checkpointed: bool = False
    is_hybrid: bool = False

    @property
    def name(self) -> str:
        """Unique among the cells."""
        further = (
            f"acc{self.accumulation_steps}" if self.accumulation_steps > 1 else "",
            "ckpt" if self.is_checkpointed else "",
        )
        parts = (
            self.model,
            self.dtype or "fp32",
            self.optimizer,
            f"b{self.batch_size}",
            f"t{self.seq_len}" if self.seq_len else "",
        )
        return "-".join(one for one in (*parts, *further, "hybrid" if self.is_hybrid else "") if one)

    @property
    def catalogued(self) -> str:
        """The optimizer's name in the catalogue."""
        return self.optimizer.partition("-")[0]

    def make(self, device: torch.device = CPU) -> tuple[nn.Module, list[Optimizer]]:
        """Model and optimizers; weights are made where they will be."""
        torch.manual_seed(0)
        with device:
            model = MODELS[self.model]()
        if self.is_checkpointed:
            model.h = nn.ModuleList(Checkpointed(one) for one in model.get_submodule("h").children())
        if self.dtype == "bf16-weights":
            model.to(torch.bfloat16)
        made = build_optimizers(self.catalogued, model, peak_lr=1e-4, total_steps=100)
        way = self.optimizer.removeprefix(self.catalogued).removeprefix("-")
        for group in (group for one in made for group in one.param_groups if way):
            group[way] = True
        return model, made

    def batch(self, index: int) -> Batch:
        """Inputs and targets."""
        generator = torch.Generator().manual_seed(index)
        if self.seq_len:
            shape = (self.batch_size, self.seq_len + 1)
            tokens = torch.randint(VOCABULARIES[self.model], shape, generator=generator)
            return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        sizes = (INPUTS,) if self.model.endswith("mlp") else (3, 64, 64)
        inputs = torch.randn((self.batch_size, *sizes), generator=generator)
        labels = torch.randint(10, (self.batch_size,), generator=generator)
        return inputs.to(torch.bfloat16) if self.dtype == "bf16-weights" else inputs, labels

    def config(self) -> HybridConfig:
        """Settings of the trainer, which does the plain loop too."""
        values: dict[str, Any] = {"update": {"accumulation_steps": self.accumulation_steps, "clip_norm": 1.0}}
        values["precision"] = {"autocast": "bf16" if self.dtype == "bf16" else "none"}
        return HybridConfig.from_dict(values | (HYBRID_CYCLE if self.is_hybrid else {"predictor": "none"}))


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """Mean cross-entropy."""
    inputs, targets = batch
    return functional.cross_entropy(model(inputs).float().flatten(0, -2), targets.flatten())


def measure_cell(arguments: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """Train it on the host, in this process; yields the peak above what the process held before."""
    cell = Cell(**arguments)
    torch.set_num_threads(1)
    warm_up(CPU, cell)
    yield measure(cell, CPU)


def measure_cell_on_cuda(arguments: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """Train it on the GPU, in this process; yields the peak of tensors above what libraries held before."""
    cell, device = Cell(**arguments), torch.device("cuda")
    warm_up(device, cell)
    yield measure(cell, device)


def estimate_cell(arguments: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """Estimate it, in this process, for the host and a GPU, of whose model nothing is made."""
    cell = Cell(**arguments)
    yield {device: _estimate(cell, device, torch.device(place)) for device, place in (("cpu", "cpu"), ("cuda", "meta"))}


def _estimate(cell: Cell, device: str, place: torch.device) -> dict[str, Any]:
    model, optimizers = cell.make(place)
    began = time.perf_counter()
    found = estimate_memory(model, cell.batch(0), optimizers, loss_of, trainer=cell.config(), device=device)
    return {
        "total_bytes": found.total_bytes,
        "least_budget_bytes": found.least_budget_bytes,
        "breakdown": found.breakdown,
        "phases": found.phases,
        "estimate_s": time.perf_counter() - began,
    }


def warm_up(device: torch.device, cell: Cell) -> None:
    """What libraries and the trainer allocate once, the code of the optimizer's package included."""
    torch.manual_seed(0)
    model = Checkpointed(GPT(GPTShape(layers=1, heads=2, dim=32, vocabulary=64, context=16))).to(device)
    build_optimizers(cell.catalogued, model, peak_lr=1e-4, total_steps=100)  # imports it: 22 MiB for SOAP's
    made = build_optimizers("adamw", model, peak_lr=1e-4, total_steps=100)
    made[0].param_groups[0]["foreach"] = True
    config = HybridConfig.from_dict(HYBRID_CYCLE if cell.is_hybrid else {"predictor": "none"})
    trainer = HybridTrainer(model, made, loss_of, config)
    tokens = torch.randint(64, (2, 17), device=device)
    for _ in range(30):
        trainer.step((tokens[:, :-1], tokens[:, 1:]))
    with torch.device(device):
        square = torch.ones(1024, 1024)
        for one in (square, square.bfloat16()):
            functional.linear(one, one.requires_grad_()).sum().backward()  # buffers of the libraries' products
        torch.linalg.qr(torch.linalg.eigh(square.detach() + torch.diag(torch.arange(1024.0))).eigenvectors)
        nn.Conv2d(8, 8, 3)(torch.zeros(16, 8, 16, 16)).sum().backward()
        nn.LSTM(8, 8)(torch.zeros(2, 2, 8))[0].sum().backward()


def measure(cell: Cell, device: torch.device) -> dict[str, Any]:
    """Train for a few updates; the peak above what the process held before, on the GPU that of its tensors."""
    gc.collect()
    trim_heap()
    meter = PeakMeter(device)
    baseline = resident_bytes() if device == CPU else torch.cuda.memory_allocated(device)
    meter.start()
    model, optimizers = cell.make(device)
    trainer = HybridTrainer(model, optimizers, loss_of, cell.config())
    built = meter.split()
    began, peaks, calls = time.perf_counter(), dict[str, int](), 0
    while not done(trainer, cell):
        phase = str(trainer.phase)
        trainer.step(tuple(one.to(device) for one in cell.batch(calls)))
        calls += 1
        peaks[phase] = max(peaks.get(phase, 0), (meter.split() or 0) - baseline)
    return {
        "baseline_bytes": baseline,
        "built_bytes": (built or 0) - baseline,
        "peak_bytes": max(peaks.values()),
        "peak_by_phase": peaks,
        "peak_method": meter.method,
        "reserved_bytes": None if device == CPU else torch.cuda.max_memory_reserved(device),
        "calls": calls,
        "machine": describe_machine(device=device.type, threads=torch.get_num_threads()),
        "device_name": None if device == CPU else torch.cuda.get_device_name(device),
        "measure_s": time.perf_counter() - began,
    }


def done(trainer: HybridTrainer, cell: Cell) -> bool:
    """Enough has happened: every phase, and what the optimizer does every tenth update."""
    if cell.is_hybrid:
        return trainer.num_calls >= 16 and trainer.phase is Phase.FULL
    return trainer.num_updates >= (PERIODIC_UPDATES if cell.optimizer == "soap" else PLAIN_UPDATES)


def _with(cell: Cell, *optimizers: str) -> Iterator[Cell]:
    return (replace(cell, optimizer=name) for name in optimizers)


_GPT2 = Cell(model="gpt2", seq_len=64)
_LONG = Cell(model="gpt2", batch_size=4, seq_len=256, optimizer="sgd")
_MEDIUM = Cell(model="gpt2-medium", seq_len=64, optimizer="sgd")
_BYTES = Cell(model="byte-gpt", batch_size=8, seq_len=128)
_LSTM = Cell(model="lstm", batch_size=16, seq_len=64)
_MLP = Cell(model="mlp", batch_size=256)
_CNN = Cell(model="cnn", batch_size=64)
FEW = 16  # tokens or samples in bf16, whose products are emulated where the processor has none
CELLS: tuple[Cell, ...] = (
    *_with(_MLP, "adamw", "adamw-foreach", "adamw-fused", "sgd", "muon"),
    replace(_MLP, batch_size=FEW, dtype="bf16"),
    replace(_MLP, batch_size=FEW, dtype="bf16-weights"),
    replace(_MLP, is_hybrid=True),
    Cell(model="narrow-mlp", batch_size=64, optimizer="soap"),
    *_with(_LSTM, "adamw", "adamw-foreach", "sgd"),
    *_with(_CNN, "adamw", "sgd"),
    replace(_CNN, accumulation_steps=2),
    replace(_CNN, is_hybrid=True),
    *_with(_BYTES, "adamw", "adamw-foreach", "adamw-fused", "sgd", "muon"),
    replace(_BYTES, is_checkpointed=True),
    replace(_BYTES, accumulation_steps=3, optimizer="adamw-fused"),
    replace(_BYTES, batch_size=4, is_hybrid=True),
    replace(_BYTES, batch_size=4, dtype="bf16"),
    *_with(_GPT2, "adamw", "adamw-foreach", "adamw-fused", "sgd", "muon"),
    _LONG,
    replace(_LONG, is_checkpointed=True),
    replace(_GPT2, accumulation_steps=2),
    replace(_GPT2, is_hybrid=True),
    replace(_GPT2, seq_len=FEW, dtype="bf16"),
    replace(_GPT2, seq_len=FEW, dtype="bf16-weights"),
    *_with(_MEDIUM, "sgd", "adamw-fused"),
    replace(_MEDIUM, is_checkpointed=True),
    replace(_MEDIUM, seq_len=FEW, dtype="bf16-weights", optimizer="adamw"),
)
