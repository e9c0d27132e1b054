"""The forecast model: an RSSM of the training run, learned online from this run alone.

Every few full steps are one tick: it goes into the replay and advances the acting latent by the posterior. Every few
hundred steps the model takes an optimizer step on replayed windows, each observed for a while and then imagined to the
full horizon under the actions that were really taken, and the acting path gets the new weights. Forecasts are shifts
of the constant forecaster's; an untrained model corrects nothing.

All randomness (initial weights, windows, samples, bootstrap weights) comes from generators made from one seed, and all
state can be saved, so a run continues bit for bit. The model lives on the CPU wherever the trained one does: its
products are too small for a device to help.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hpt.history import FloatArray
from hpt.learned.forecast_model import NOTHING, Moment, RelativeForecast, Vector
from hpt.learned.replay import Replay, anchors
from hpt.learned.rollout import FastRollout
from hpt.learned.rssm import PLACE, SIZES
from hpt.learned.world_model import ModelOptimizer, WorldModel
from hpt.numerics.stateful import Stateful

UPDATE_INTERVAL_STEPS = (60, 600)
"""Least full steps from one replay update to the next, early and late; a fifth of the run so far in between.

An update costs some 6 ms. What there is to learn changes with the logarithm of time, as the loss does, so updates come
often while the run is young; at 6000 steps they have cost 0.02 ms a step.
"""
_INTERVAL_FRAC = 1 / 5
_REPLAY_TICKS = 4096
_BATCH_WINDOWS = 16
_WINDOW_TICKS = 8  # observed, at the head of a window
RIPE_STEPS = 20
"""Full steps before the first whose averages and latent are ripe enough to forecast from."""
_GRID = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
_RELUCTANCE = 3.0
"""Nats against believing the latent in full, for shift and scale each, before there is evidence."""
_MEMORY = 0.98
"""Decay of the evidence per cycle."""
_OBSERVATIONS = 4.0
"""Independent observations that one cycle's losses are worth: they share their level, but not their batches."""
_CLIP = 9.0
"""Largest squared error in variances: a spike may not settle the matter."""


class DynamicsLearner(Stateful):
    """RSSM behind the `ForecastModel` protocol.

    Args:
        dims: name of its sizes.
        max_horizon: furthest forecast, ticks.
        seed: of all its randomness.
        tick_steps: full steps in a tick.
        update_interval_steps: least full steps between updates, early and late.
        replay_ticks: kept, enough for one window at least.

    Attributes:
        num_ticks: ticks seen.
    """

    _state = (
        *("_model", "_optimizer", "_replay", "_blend", "_acting"),
        *("_noise", "_draws", "_curve", "_num_learned", "num_ticks"),
    )

    def __init__(
        self,
        dims: str = "default",
        *,
        max_horizon: int,
        seed: int,
        tick_steps: int = 1,
        update_interval_steps: tuple[int, int] = UPDATE_INTERVAL_STEPS,
        replay_ticks: int = _REPLAY_TICKS,
    ) -> None:
        self._update_interval = [interval / tick_steps for interval in update_interval_steps]  # ticks
        self._sizes = sizes = SIZES[dims]
        self._noise = torch.Generator().manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        self._draws = np.random.default_rng(seed)
        self._model = WorldModel(sizes, self._noise)
        self._optimizer = ModelOptimizer(self._model)
        widths = (sizes.features, sizes.deter, sizes.stoch, sizes.ensemble)
        self._replay = Replay(replay_ticks, widths, max_horizon, first_tick=-(-RIPE_STEPS // tick_steps))
        self._blend = BlendWeights()
        self._acting = FastRollout(sizes, max_horizon)
        self._acting.load(self._model)
        self.num_ticks = 0
        self._curve: tuple[FloatArray, FloatArray] | None = None
        self._num_learned = 0  # ticks whose losses have been learned from

    def tick(self, features: Vector, actions: Vector, losses: FloatArray, levels: FloatArray) -> None:
        """Take in n ticks: features (n, 64) after each, the actions (n, 3) that led there, losses and levels."""
        self._replay.append(features, actions, losses, levels, self._acting.tick(features, actions))
        self.num_ticks += len(losses)

    def latent(self) -> Vector:
        """State of the run after the newest tick, (D + S,) float32; zeros and uniform categoricals before the first."""
        return self._acting.latent()

    def forecast(self, actions: Vector) -> RelativeForecast:
        """Correct the trend's forecast of the loss H ticks from now, under the planned actions (H, 3)."""
        if self._curve is None:
            return NOTHING
        horizon = slice(len(actions) - 1, len(actions))
        at_horizon = anchors(self._replay.gaps(), self._curve[0][horizon], self._curve[1][horizon])
        judged = self._acting.imagine(actions)
        shifts = self._acting.anchored(at_horizon)[0] + self._blend.shift * judged.shift[-1]
        log_scale = self._blend.log_scale * float(judged.log_scale[-1].mean())
        return RelativeForecast(float(shifts.mean()), log_scale, float(shifts.std()))

    def resolve(self, moment: Moment, horizon: int, error: float) -> None:
        """Nothing to do: every loss is in the replay."""
        del moment, horizon, error

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of the world model's weights, by name."""
        return {name: one.clone() for name, one in self._model.state_dict().items()}

    def begin_from(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Go on from weights that were learned elsewhere.

        Raises:
            RuntimeError: names or shapes are not those of the model (torch's own message).
        """
        self._model.load_state_dict(weights)
        self._acting.load(self._model)

    def learn(self, means: FloatArray, scales: FloatArray) -> None:
        """Take note of the trend's curve and, when the last update is long enough ago, update on the replay."""
        self._curve = means, scales
        self._replay.close_block(*self._curve, self._bootstrap())
        least, most = self._update_interval
        if self.num_ticks - self._num_learned < min(most, max(least, _INTERVAL_FRAC * self.num_ticks)):
            return
        self._update()
        self._acting.load(self._model)
        self._num_learned = self.num_ticks

    def _update(self) -> None:
        """One optimizer step; the model is asked about the new losses before it learns from them."""
        windows = self._replay.sample(_BATCH_WINDOWS, _WINDOW_TICKS, self._draws, new_from=self._num_learned)
        if windows is None:
            return
        shape = (_WINDOW_TICKS, _BATCH_WINDOWS, self._sizes.num_categoricals)
        uniforms = torch.rand(shape, generator=self._noise, **PLACE)
        loss, outlook = self._model.loss(windows, uniforms)
        self._blend.judge(outlook.residuals, outlook.shifts, outlook.log_scales, windows.new)
        self._optimizer.step(loss)

    def _bootstrap(self) -> Vector:
        """Double-or-nothing weight (E,) for each head."""
        return 2 * self._draws.integers(0, 2, size=self._sizes.ensemble).astype(np.float32)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self._acting.load(self._model)


class BlendWeights(Stateful):
    """How much of the latent's opinion to believe, by what it was worth before its answers were new.

    A few dozen updates on one run overfit more easily than they inform. So every cycle the heads are first asked about
    losses they were not yet trained on (prequential, Dawid 1984), with their shift and log scale multiplied by each of
    a grid of factors, and the factors' weights follow their likelihood, as in a Bayesian mixture or the exponentially
    weighted forecaster (Cesa-Bianchi & Lugosi 2006, chapter 2). Before evidence the weights favour small factors;
    evidence fades, because a run changes.

    Attributes:
        shift: posterior mean factor on its shift.
        log_scale: the same for its log scale.
    """

    _state = ("_evidence",)

    def __init__(self) -> None:
        self._evidence = np.zeros((len(_GRID), len(_GRID)))
        self._weigh()

    def judge(self, residuals: NDArray[Any], shifts: NDArray[Any], log_scales: NDArray[Any], new: NDArray[Any]) -> None:
        """Take in one cycle's forecasts, made before their outcome was learned from.

        Args:
            residuals: (H, B) standardised errors less the anchored part of the forecast.
            shifts: (H, B) the latent's part, mean over heads.
            log_scales: (H, B) mean over heads.
            new: (H, B) 1 where the outcome has never been learned from, else 0.
        """
        total = new.sum()
        if total == 0:
            return
        means, logs = _GRID[:, None, None, None] * shifts, _GRID[:, None, None] * log_scales
        squares = np.minimum(((residuals - means) * np.exp(-logs)) ** 2, _CLIP)
        nll = ((0.5 * squares + logs) * new).sum((-2, -1)) / total
        self._evidence = _MEMORY * self._evidence - _OBSERVATIONS * nll
        self._evidence -= self._evidence.max()
        self._weigh()

    def _weigh(self) -> None:
        log_weights = self._evidence - _RELUCTANCE * (_GRID[:, None] + _GRID)
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        self.shift, self.log_scale = float(weights.sum(1) @ _GRID), float(weights.sum(0) @ _GRID)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self._weigh()
