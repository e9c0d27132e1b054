"""Full-batch linear regression: a quadratic whose optimum is known in closed form.

Targets are y = x . w + c + noise with inputs of independent normal entries whose standard deviations fall
from 1 to 0.003, so the loss has a condition number near 100,000 and is slow to descend along its flat
directions. Every batch is the same set of samples, so the loss is a noiseless function of the weights: the
one workload on which a trajectory can be known exactly. w, c and the validation set are fixed; the seed
decides the training samples and the initial weights.

Measured, 600 updates, seed 0, validation loss at momentum 0.9, 0.95, 0.98, 0.99: learning rate 1.0 gives
8.47, 6.86, 4.08, 2.11; 1.5 gives 7.56, 5.60, 2.67, 1.06; 2.0 gives 7.38, 4.60 and diverges at the last two.
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Optimizer

from hpt.workloads.workload import Workload, batch_generator, num_parameters, seeded_init

NUM_INPUTS = 32
NUM_SAMPLES = 512
NUM_VALIDATION_SAMPLES = 4096
NOISE_STD = 0.5
SMALLEST_INPUT_STD = 0.003
PEAK_LR = 1.5
MOMENTUM = 0.99
ADAMW_LR = 4.0  # from 2 to 16 AdamW reaches the least loss in 600 updates, at 1 not
SAMPLES_STREAM, VALIDATION_STREAM, PROBLEM_STREAM = 0, 1, 2

Pair = tuple[Tensor, Tensor]


class Regression(Workload):
    """Linear least squares by full-batch SGD with momentum."""

    name = "regression"
    clip_norm = None
    peak_lr = ADAMW_LR
    weight_decay = 0.0  # the flat directions need large weights
    default_steps = 600

    def __init__(self, *, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.device = device
        self.chance_loss = target_variance()
        self.description = self._describe()

    def build_model(self) -> nn.Module:
        """One linear layer, drawn from the seed."""
        with seeded_init(self.seed):
            model = nn.Linear(NUM_INPUTS, 1)
        return model.to(self.device)

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """SGD with momentum at the learning rate measured best."""
        return SGD(model.parameters(), lr=PEAK_LR, momentum=MOMENTUM)

    def loss(self, model: nn.Module, batch: Pair) -> Tensor:
        """Mean squared error."""
        inputs, targets = batch
        return functional.mse_loss(model(inputs).float(), targets)

    def batch(self, index: int) -> Pair:
        """All training samples whatever the index: inputs (512, 32) and targets (512, 1), float32."""
        return self._samples

    def validation_batches(self) -> list[Pair]:
        """One batch of fresh samples, the same for every seed."""
        return [self._validation]

    def optimal_loss(self) -> float:
        """The least training loss any weights reach, from the normal equations in float64."""
        inputs, targets = (part.double().cpu().numpy() for part in self._samples)
        design = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
        weights = np.linalg.lstsq(design, targets, rcond=None)[0]
        return float(((design @ weights - targets) ** 2).mean())

    @cached_property
    def _samples(self) -> Pair:
        return self._draw(batch_generator(self.seed, 0, SAMPLES_STREAM), NUM_SAMPLES)

    @cached_property
    def _validation(self) -> Pair:
        return self._draw(batch_generator(0, 0, VALIDATION_STREAM), NUM_VALIDATION_SAMPLES)

    def _draw(self, generator: np.random.Generator, count: int) -> Pair:
        weights, offset = _truth()
        inputs = generator.standard_normal((count, NUM_INPUTS)) * _input_std()
        targets = inputs @ weights + offset + NOISE_STD * generator.standard_normal(count)
        pair = (torch.as_tensor(inputs).float(), torch.as_tensor(targets[:, None]).float())
        return pair[0].to(self.device), pair[1].to(self.device)

    def _describe(self) -> dict[str, Any]:
        return {
            "workload": self.name,
            "parameters": num_parameters(self.build_model()),
            "batch_size": NUM_SAMPLES,
            "samples_per_step": NUM_SAMPLES,
            "peak_lr": PEAK_LR,
            "loss_unit": "mean squared error",
            "chance_loss": self.chance_loss,
            "chance_level": "variance of the targets, in closed form",
            "optimal_training_loss": self.optimal_loss(),
            "noise_variance": NOISE_STD**2,
            "data": {"source": "generated: linear teacher with noise", "num_samples": NUM_SAMPLES},
        }


def target_variance() -> float:
    """Variance of a target: sum of (weight x input std)^2, plus the noise's."""
    weights, _ = _truth()
    return float(((weights * _input_std()) ** 2).sum() + NOISE_STD**2)


def _input_std() -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.geomspace(1.0, SMALLEST_INPUT_STD, NUM_INPUTS)


def _truth() -> tuple[np.ndarray[Any, np.dtype[np.float64]], float]:
    """The fixed weights and offset; weights grow as inputs shrink, so that flat directions matter too."""
    generator = batch_generator(0, 0, PROBLEM_STREAM)
    weights = generator.standard_normal(NUM_INPUTS) / _input_std()
    return weights, float(generator.standard_normal())
