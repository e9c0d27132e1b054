"""Next-token prediction on byte text: what the byte-level GPT and the GPT-2 family share.

A batch is `batch_size` windows of `seq_len + 1` bytes at uniformly random places of the training text, as
int64 token ids (batch_size, seq_len + 1); inputs are all but the last, targets all but the first.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from hpt.errors import UsageError
from hpt.optimizers.build import adamw_of
from hpt.workloads.data import HELD_OUT_EVERY, Bytes, load_text
from hpt.workloads.schedule import CLIP_NORM
from hpt.workloads.transformer import GPT, GPTShape
from hpt.workloads.workload import Workload, batch_generator, num_parameters, seeded_init

MIN_BATCHES = 4


@dataclass(frozen=True)
class LanguageSetup:
    """Everything that tells one language workload from another.

    Attributes:
        name: how records call it.
        shape: sizes of the model.
        batch_size: windows per batch.
        seq_len: predicted tokens per window, at most the shape's context.
        peak_lr: AdamW's learning rate at its peak.
        validation_tokens: predicted tokens in the validation set, fewer if the text is short.
        default_steps: length of a run when none is asked for, optimizer updates.

    Raises:
        UsageError: `batch_size` is below 1, or `seq_len` not within the context.
    """

    name: str
    shape: GPTShape
    batch_size: int
    seq_len: int
    peak_lr: float
    validation_tokens: int
    default_steps: int

    def __post_init__(self) -> None:
        """Refuse windows the model cannot take."""
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}, below 1; raise it")
        if not 1 <= self.seq_len <= self.shape.context:
            raise UsageError(f"seq_len is {self.seq_len}, not within 1 and the context {self.shape.context}; change it")


class LanguageWorkload(Workload):
    """A GPT of the given set-up on the given text.

    Raises:
        DataError: the data is missing, unreadable, or shorter than a few batches.
    """

    def __init__(self, setup: LanguageSetup, *, seed: int, data: Path | None, device: torch.device) -> None:
        window = setup.seq_len + 1
        min_bytes = max(MIN_BATCHES * setup.batch_size, 2 * HELD_OUT_EVERY) * window
        self.setup = setup
        self.name = setup.name
        self.seed = seed
        self.device = device
        self.text = load_text(data, min_bytes)
        self.chance_loss = self.text.unigram_entropy
        self.clip_norm = CLIP_NORM
        self.peak_lr = setup.peak_lr
        self.default_steps = setup.default_steps
        self.description = self._describe()

    def build_model(self) -> nn.Module:
        """The GPT, drawn on the CPU from the seed and moved to the device."""
        with seeded_init(self.seed):
            model = GPT(self.setup.shape)
        return model.to(self.device)

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """AdamW at the set-up's learning rate."""
        return adamw_of(model, self.setup.peak_lr)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Mean cross-entropy of the next token, nats, in float32 whatever the model computes in."""
        logits = model(batch[:, :-1])
        return functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())

    def batch(self, index: int) -> Tensor:
        """Token ids (batch_size, seq_len + 1), int64."""
        last = len(self.text.train) - self.setup.seq_len
        starts = batch_generator(self.seed, index).integers(0, last, size=self.setup.batch_size)
        return self._windows(self.text.train, starts)

    def validation_batches(self) -> list[Tensor]:
        """Windows spread evenly over the held-out text, in batches as large as those of training."""
        return self._validation

    @cached_property
    def _validation(self) -> list[Tensor]:
        held_out, seq_len = self.text.validation, self.setup.seq_len
        wanted = self.setup.validation_tokens // seq_len
        count = max(1, min(wanted, (len(held_out) - 1) // seq_len))
        size = min(count, self.setup.batch_size)
        starts = np.linspace(0, len(held_out) - seq_len - 1, count - count % size).astype(np.int64)
        return [self._windows(held_out, part) for part in starts.reshape(-1, size)]

    def _windows(self, text: Bytes, starts: np.ndarray[Any, np.dtype[np.int64]]) -> Tensor:
        places = starts[:, None] + np.arange(self.setup.seq_len + 1)
        return torch.as_tensor(text[places]).to(self.device).long()

    def _describe(self) -> dict[str, Any]:
        setup = self.setup
        with torch.device("meta"):
            parameters = num_parameters(GPT(setup.shape))
        return {
            "workload": setup.name,
            "parameters": parameters,
            "layers": setup.shape.layers,
            "heads": setup.shape.heads,
            "dim": setup.shape.dim,
            "vocabulary": setup.shape.vocabulary,
            "batch_size": setup.batch_size,
            "seq_len": setup.seq_len,
            "tokens_per_step": setup.batch_size * setup.seq_len,
            "peak_lr": setup.peak_lr,
            "loss_unit": "nats per byte",
            "chance_loss": self.chance_loss,
            "chance_level": "entropy of the text's byte frequencies, nats",
            "tokenizer": "none: text enters as byte ids 0..255",
            "data": self.text.describe(),
        }
