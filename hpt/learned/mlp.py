"""Two more models on features and actions: a linear one learned by LMS, and a small network trained by replay.

The linear one is a normalised-LMS model of what the constant forecaster gets wrong,

    w <- w + mu e x / (eps + |x|^2),

stable for any input while 0 < mu < 2 (Haykin, "Adaptive Filter Theory", chapter 6). A step below that bound trades
speed for noise: on pure noise the excess error is mu / (2 - mu) of the noise variance, so mu = .05 costs 2.6 %.

The network has one hidden layer and an ensemble of output heads for the shift of the forecast, each head trained on its
own half of the outcomes (bootstrap masks: Osband et al., "Deep Exploration via Bootstrapped DQN", arXiv:1602.04621).
The weights are held to where they began as a Gaussian prior holds them, weakening with the number of outcomes (Pearce
et al., "Uncertainty in Neural Networks: Approximately Bayesian Ensembling", arXiv:1810.05546; here all heads begin at
zero and share the first layer). So an untrained network is the constant forecaster, and a run's few outcomes move it
only as far as they must. The scale is learned apart, from errors made before their outcome was used.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hpt.history import FloatArray
from hpt.learned.forecast_model import RelativeForecast
from hpt.learned.ridge import NUM_INPUTS, FeatureModel
from hpt.learned.rssm import PLACE

STEP_SIZE = 0.05  # mu
HIDDEN = 32
NUM_HEADS = 4
CAPACITY = 512  # outcomes kept; a run resolves 60 to 300
MIN_OUTCOMES = 8
MASK_RATE = 0.5
HEAD_PRECISION = 100.0  # prior of a head's weights: all hidden units together explain a tenth of the variance
FIRST_PRECISION = float(NUM_INPUTS)  # prior of the first layer, one over the variance it is drawn with
BATCH_OUTCOMES = 16
LEARNING_RATE = 3e-3
MAX_GRAD_NORM = 1.0


class LinearForecast(FeatureModel):
    """Normalised least mean squares on features and actions."""

    _state = ("_weights",)

    def __init__(self, max_horizon: int) -> None:
        super().__init__(max_horizon)
        self._weights = np.zeros(NUM_INPUTS)

    def _predict(self, inputs: FloatArray) -> RelativeForecast:
        return RelativeForecast(float(self._weights @ inputs), self._scale.log_scale, 0.0)

    def _fit(self, inputs: FloatArray, error: float) -> None:
        left = error - float(self._weights @ inputs)
        self._scale.add(left)
        self._weights += (STEP_SIZE * left / (1.0 + float(inputs @ inputs))) * inputs


class MlpForecast(FeatureModel):
    """Two-layer network on features and actions.

    Args:
        max_horizon: longest horizon of a forecast, in ticks.
        seed: of its own random stream.
    """

    _state = ("_generator", "_first", "_inputs", "_errors", "_masks", "_num_outcomes")

    def __init__(self, max_horizon: int, seed: int) -> None:
        super().__init__(max_horizon)
        self._generator = torch.Generator().manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        self._first = torch.randn(HIDDEN, NUM_INPUTS, generator=self._generator, **PLACE) / math.sqrt(NUM_INPUTS)
        self._parameters = [
            self._first.clone().requires_grad_(),
            torch.randn(HIDDEN, generator=self._generator, **PLACE).requires_grad_(),
            torch.zeros(NUM_HEADS, HIDDEN, requires_grad=True, **PLACE),
            torch.zeros(NUM_HEADS, requires_grad=True, **PLACE),
        ]
        self._optimizer = torch.optim.Adam(self._parameters, lr=LEARNING_RATE)
        self._inputs = torch.zeros(CAPACITY, NUM_INPUTS, **PLACE)
        self._errors = torch.zeros(CAPACITY, **PLACE)
        self._masks = torch.zeros(CAPACITY, NUM_HEADS, **PLACE)
        self._num_outcomes = 0

    def _shifts(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shifts (batch, heads) from inputs (batch, 68)."""
        first, first_bias, second, second_bias = self._parameters
        hidden = torch.tanh(torch.nn.functional.linear(inputs, first, first_bias))
        return torch.nn.functional.linear(hidden, second, second_bias)

    @torch.no_grad()
    def _predict(self, inputs: FloatArray) -> RelativeForecast:
        shifts = self._shifts(torch.from_numpy(inputs[None]).float())[0].double()
        return RelativeForecast(float(shifts.mean()), self._scale.log_scale, float(shifts.std(correction=0)))

    def _fit(self, inputs: FloatArray, error: float) -> None:
        self._scale.add(error - self._predict(inputs).shift)
        row = self._num_outcomes % CAPACITY
        self._inputs[row] = torch.from_numpy(inputs)
        self._errors[row] = error
        self._masks[row] = torch.rand(NUM_HEADS, generator=self._generator, **PLACE) < MASK_RATE
        self._num_outcomes += 1

    def learn(self, means: FloatArray, scales: FloatArray) -> None:
        """An Adam step on a batch drawn from the outcomes so far."""
        del means, scales
        filled = min(self._num_outcomes, CAPACITY)
        if filled < MIN_OUTCOMES:
            return
        rows = torch.randint(filled, (BATCH_OUTCOMES,), generator=self._generator)
        self._update(self._inputs[rows], self._errors[rows], self._masks[rows], filled)

    def _update(self, inputs: torch.Tensor, errors: torch.Tensor, masks: torch.Tensor, num_outcomes: int) -> None:
        squares = masks * (errors[:, None] - self._shifts(inputs)).square()
        likelihood = 0.5 * squares.sum() / masks.sum().clamp(min=1.0) * NUM_HEADS
        loss = likelihood + self._penalty() / (MASK_RATE * num_outcomes)
        self._optimizer.zero_grad()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        torch.nn.utils.clip_grad_norm_(self._parameters, MAX_GRAD_NORM)
        self._optimizer.step()

    def _penalty(self) -> torch.Tensor:
        """Negative log prior of the weights, up to a constant."""
        first, _, second, _ = self._parameters
        drift = FIRST_PRECISION * (first - self._first).square().sum()
        return 0.5 * (drift + HEAD_PRECISION * second.square().sum())

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        moments = self._optimizer.state_dict()["state"]
        return {
            **super().state_dict(),
            "parameters": [parameter.detach().clone() for parameter in self._parameters],
            "moments": {
                str(index): {name: value.clone() for name, value in each.items()} for index, each in moments.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        with torch.no_grad():
            for parameter, saved in zip(self._parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        groups = self._optimizer.state_dict()["param_groups"]
        moments = {int(index): dict(each) for index, each in state["moments"].items()}
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
