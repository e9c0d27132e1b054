"""Classification of generated samples with noisy labels: what the MLP and the CNN workload share.

A batch is (inputs, labels), drawn afresh for every index, so no sample is ever seen twice and training loss
estimates test loss. A given share of labels is replaced by a uniformly random class, which puts a floor
under the loss.
"""

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from hpt.optimizers.build import adamw_of
from hpt.workloads.schedule import CLIP_NORM
from hpt.workloads.workload import Workload, batch_generator, marginal_entropy, num_parameters, seeded_init

NUM_CLASSES = 10
VALIDATION_BATCH_SIZE = 128  # the teacher's products stay too small for BLAS to spread over threads
TRAINING_STREAM, VALIDATION_STREAM, PROBLEM_STREAM = 0, 1, 2

Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]
Samples = tuple[Tensor, Tensor]


class Classification(Workload):
    """Cross-entropy on samples that a subclass draws.

    Attributes:
        batch_size: samples per batch.
        label_noise_frac: share of labels replaced by a uniformly random class.
        num_validation: samples in the validation set, a multiple of 128.
        source: how the samples are made, for the record.
    """

    batch_size: int
    label_noise_frac: float
    num_validation: int
    source: str
    clip_norm = CLIP_NORM

    def __init__(self, *, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.device = device
        self.chance_loss = self._label_entropy()
        self.description = self._describe()

    @abstractmethod
    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Inputs (count, ...) as float32 and their true labels (count,)."""

    @abstractmethod
    def make_model(self) -> nn.Module:
        """The network, its weights drawn from torch's CPU generator."""

    def build_model(self) -> nn.Module:
        """The network, drawn on the CPU from the seed and moved to the device."""
        with seeded_init(self.seed):
            model = self.make_model()
        return model.to(self.device)

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """AdamW at the learning rate measured best."""
        assert self.peak_lr is not None, "every one of them says its rate"
        return adamw_of(model, self.peak_lr)

    def loss(self, model: nn.Module, batch: Samples) -> Tensor:
        """Mean cross-entropy, nats, in float32 whatever the model computes in."""
        inputs, labels = batch
        return functional.cross_entropy(model(inputs).float(), labels)

    def batch(self, index: int) -> Samples:
        """Inputs (batch_size, ...) and noisy labels (batch_size,), int64."""
        return self._samples(batch_generator(self.seed, index, TRAINING_STREAM), self.batch_size)

    def validation_batches(self) -> list[Samples]:
        """Fresh samples with the same label noise, the same for every seed."""
        return self._validation

    @cached_property
    def _validation(self) -> list[Samples]:
        count = self.num_validation // VALIDATION_BATCH_SIZE
        return [
            self._samples(batch_generator(0, index, VALIDATION_STREAM), VALIDATION_BATCH_SIZE) for index in range(count)
        ]

    def _samples(self, generator: np.random.Generator, count: int) -> Samples:
        inputs, labels = self.draw(generator, count)
        is_noisy = generator.random(count) < self.label_noise_frac
        noisy = np.where(is_noisy, generator.integers(0, NUM_CLASSES, size=count), labels)
        return torch.as_tensor(inputs).to(self.device), torch.as_tensor(noisy).to(self.device)

    def _label_entropy(self) -> float:
        labels = torch.cat([labels for _, labels in self.validation_batches()])
        return marginal_entropy(np.bincount(labels.cpu().numpy(), minlength=NUM_CLASSES))

    def _describe(self) -> dict[str, Any]:
        return {
            "workload": self.name,
            "parameters": num_parameters(self.build_model()),
            "batch_size": self.batch_size,
            "samples_per_step": self.batch_size,
            "peak_lr": self.peak_lr,
            "loss_unit": "nats per sample",
            "chance_loss": self.chance_loss,
            "chance_level": "entropy of the validation labels' frequencies, nats",
            "data": {
                "source": self.source,
                "label_noise_frac": self.label_noise_frac,
                "num_validation": self.num_validation,
            },
        }
