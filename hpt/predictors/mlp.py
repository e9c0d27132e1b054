"""The MLP predictor: a small network trained by replay on forecasts whose outcome is known.

One hidden layer and an ensemble of output heads for the shift of the forecast, each head trained on its own half of the
outcomes (bootstrap masks: Osband et al., "Deep Exploration via Bootstrapped DQN", arXiv:1602.04621). The weights are
held to where they began as a Gaussian prior holds them, weakening with the number of outcomes (Pearce et al.,
"Uncertainty in Neural Networks: Approximately Bayesian Ensembling", arXiv:1810.05546; here all heads begin at zero and
share the first layer). So an untrained network is the constant forecaster, and a run's few outcomes move it only as far
as they must. The scale is learned apart, from errors made before their outcome was used.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from hpt.config import HybridConfig, LearnerConfig
from hpt.learned.facts import FloatArray
from hpt.learned.forecast import Correction, ForecastModel, LossTrend
from hpt.predictors.chooser import FALLBACK, LearnedChooser
from hpt.predictors.feature_model import NUM_INPUTS, ErrorScale, FeatureModel
from hpt.predictors.ridge import RidgeForecast

HIDDEN = 32
NUM_HEADS = 4
CAPACITY = 512  # outcomes kept; a run resolves 60 to 300
MIN_OUTCOMES = 8
MASK_RATE = 0.5
HEAD_PRECISION = 100.0  # prior of a head's weights: all hidden units together explain a tenth of the variance
FIRST_PRECISION = float(NUM_INPUTS)  # prior of the first layer, one over the variance it is drawn with
SCALE_PRIOR_COUNT = 20.0
SCALE_MEMORY = 0.98


class MlpForecast(FeatureModel):
    """Two-layer network on features and actions.

    Args:
        num_arms: arms whose values are learned.
        max_horizon: longest horizon of a forecast, in full steps.
        config: updates, batch size, step size and gradient clip.
        seed: of its own random stream.
    """

    def __init__(self, num_arms: int, max_horizon: int, config: LearnerConfig, seed: int) -> None:
        super().__init__(num_arms, max_horizon)
        self._config = config
        self._generator = torch.Generator().manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        self._first = torch.randn(HIDDEN, NUM_INPUTS, generator=self._generator) / math.sqrt(NUM_INPUTS)
        self._parameters = [
            self._first.clone().requires_grad_(),
            torch.randn(HIDDEN, generator=self._generator).requires_grad_(),
            torch.zeros(NUM_HEADS, HIDDEN, requires_grad=True),
            torch.zeros(NUM_HEADS, requires_grad=True),
        ]
        self._optimizer = torch.optim.Adam(self._parameters, lr=config.learning_rate)
        self._scale = ErrorScale(SCALE_PRIOR_COUNT, SCALE_MEMORY)
        self._inputs = torch.zeros(CAPACITY, NUM_INPUTS)
        self._errors = torch.zeros(CAPACITY)
        self._masks = torch.zeros(CAPACITY, NUM_HEADS)
        self._num_outcomes = 0

    def _shifts(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shifts (batch, heads) from inputs (batch, 68)."""
        first, first_bias, second, second_bias = self._parameters
        hidden = torch.tanh(torch.nn.functional.linear(inputs, first, first_bias))
        return torch.nn.functional.linear(hidden, second, second_bias)

    @torch.no_grad()
    def _predict(self, inputs: FloatArray) -> Correction:
        shifts = self._shifts(torch.from_numpy(inputs[None]).float())[0].double()
        return Correction(float(shifts.mean()), self._scale.log_scale, float(shifts.std(correction=0)))

    def _fit(self, inputs: FloatArray, error: float) -> None:
        self._scale.add(error - self._predict(inputs).shift)
        row = self._num_outcomes % CAPACITY
        self._inputs[row] = torch.from_numpy(inputs)
        self._errors[row] = error
        self._masks[row] = torch.rand(NUM_HEADS, generator=self._generator) < MASK_RATE
        self._num_outcomes += 1

    def learn(self, trend: LossTrend) -> None:
        """Adam steps on batches drawn from the outcomes so far."""
        del trend
        filled = min(self._num_outcomes, CAPACITY)
        if filled < MIN_OUTCOMES:
            return
        for _ in range(self._config.updates_per_cycle):
            rows = torch.randint(filled, (self._config.batch_windows,), generator=self._generator)
            self._update(self._inputs[rows], self._errors[rows], self._masks[rows], filled)

    def _update(self, inputs: torch.Tensor, errors: torch.Tensor, masks: torch.Tensor, num_outcomes: int) -> None:
        squares = masks * (errors[:, None] - self._shifts(inputs)).square()
        likelihood = 0.5 * squares.sum() / masks.sum().clamp(min=1.0) * NUM_HEADS
        loss = likelihood + self._penalty() / (MASK_RATE * num_outcomes)
        self._optimizer.zero_grad()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        torch.nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm)
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
            "base": super().state_dict(),
            "scale": self._scale.state_dict(),
            "first": self._first.clone(),
            "parameters": [parameter.detach().clone() for parameter in self._parameters],
            "moments": {
                str(index): {name: value.clone() for name, value in each.items()} for index, each in moments.items()
            },
            "inputs": self._inputs.clone(),
            "errors": self._errors.clone(),
            "masks": self._masks.clone(),
            "num_outcomes": self._num_outcomes,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state["base"])
        self._scale.load_state_dict(state["scale"])
        self._first = state["first"].clone()
        with torch.no_grad():
            for parameter, saved in zip(self._parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        groups = self._optimizer.state_dict()["param_groups"]
        moments = {
            int(index): {name: torch.as_tensor(value).clone() for name, value in each.items()}
            for index, each in state["moments"].items()
        }
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self._inputs, self._errors = state["inputs"].clone(), state["errors"].clone()
        self._masks = state["masks"].clone()
        self._num_outcomes = int(state["num_outcomes"])
        self._generator.set_state(state["generator"])


def build(config: HybridConfig, num_groups: int) -> LearnedChooser:
    """The base preset watched over by this model."""

    def models(num_arms: int, max_horizon: int) -> dict[str, ForecastModel]:
        return {
            "mlp": MlpForecast(num_arms, max_horizon, config.learner, config.seed),
            FALLBACK: RidgeForecast(num_arms, max_horizon),
        }

    return LearnedChooser("mlp", config, num_groups, models)
