"""The forecast model: an RSSM of the training run, learned online from this run alone.

Every full step is one tick: it goes into the replay and advances the acting latent by the posterior. Once a cycle the
model takes a few optimizer steps on replayed windows, each observed for a while and then imagined to the full horizon
under the actions that were really taken, and the acting path gets the new weights. Forecasts are corrections of the
constant forecaster's; an untrained model corrects nothing.

All randomness (initial weights, windows, samples, bootstrap weights) comes from generators made from one seed, and all
state can be saved, so a run continues bit for bit. The model lives on the CPU wherever the trained one does: its
products are too small for a device to help.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hpt.config import LearnerConfig
from hpt.errors import ConfigError
from hpt.learned.facts import FloatArray
from hpt.learned.forecast import Correction, Moment, Vector
from hpt.learned.labels import LabelStore
from hpt.learned.loss_trend import LossTrend
from hpt.learned.replay import FIRST_TICK, Replay, anchors
from hpt.learned.rollout import FastRollout
from hpt.learned.rssm import SIZES
from hpt.learned.trust import Trust
from hpt.learned.world_model import ModelOptimizer, WorldModel

_PRIOR_VARIANCE = 1.0
"""Of an arm's value before it was measured, in squares of the trend's noise; n measurements leave 1 / (n + 1)."""


class DynamicsLearner:
    """RSSM behind the `ForecastModel` protocol.

    Args:
        config: sizes, replay and optimizer settings; `enabled=False` ticks but never learns.
        num_arms: arms whose value is asked for, "no jump" included.
        max_horizon: furthest forecast, full steps.
        seed: of all its randomness.

    Attributes:
        num_ticks: full steps seen.

    Raises:
        ConfigError: the replay is too short to hold one window.
    """

    def __init__(self, config: LearnerConfig, *, num_arms: int, max_horizon: int, seed: int) -> None:
        least = config.window_steps + max_horizon + FIRST_TICK
        if config.replay_steps < least:
            raise ConfigError(
                f"learner.replay_steps is {config.replay_steps}, below the {least} steps of one window "
                f"(learner.window_steps + horizon + {FIRST_TICK}); raise it"
            )
        self._config, self._num_arms, self._max_horizon = config, num_arms, max_horizon
        self._sizes = sizes = SIZES[config.dims]
        self._noise = torch.Generator().manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        self._draws = np.random.default_rng(seed)
        self._model = WorldModel(sizes, num_arms, self._noise)
        self._optimizer = ModelOptimizer(self._model, config.learning_rate, config.max_grad_norm)
        self._replay = Replay(
            config.replay_steps, (sizes.features, sizes.deter, sizes.stoch, sizes.ensemble), max_horizon
        )
        self._values = LabelStore(sizes.deter, sizes.stoch, sizes.ensemble)
        self._verdicts = LabelStore(sizes.deter, sizes.stoch, sizes.ensemble)
        self._trust = Trust()
        self._acting = FastRollout(sizes, num_arms, max_horizon)
        self._acting.load(self._model)
        self.num_ticks = 0
        self._curve: tuple[FloatArray, FloatArray] | None = None
        self._num_learned = 0  # ticks whose losses have been learned from
        self._success: float | None = None

    def tick(self, features: Vector, action: Vector, loss: float, level: float) -> None:
        """Take in one full step: features (64,) after it, the action (3,) that led to it, its loss and the level."""
        self._replay.append(features, action, loss, level)
        self._acting.tick(features, action)
        self._replay.put_latent(*self._acting.latent())
        self.num_ticks = self._replay.num_ticks
        self._success = None

    def forecast(self, actions: Vector) -> Correction:
        """Correct the trend's forecast of the loss H steps from now, under the planned actions (H, 3)."""
        if self._curve is None:
            return Correction(0.0, 0.0, 0.0)
        horizon = slice(len(actions) - 1, len(actions))
        at_horizon = anchors(self._replay.gaps(), self._curve[0][horizon], self._curve[1][horizon])
        judged = self._acting.imagine(actions)
        shifts = self._acting.anchored(at_horizon)[0] + self._trust.shift * judged.shift[-1]
        log_scale = self._trust.log_scale * float(judged.log_scale[-1].mean())
        return Correction(float(shifts.mean()), log_scale, float(shifts.std()))

    def resolve(self, moment: Moment, horizon: int, error: float) -> None:
        """Nothing to do: every loss is in the replay."""
        del moment, horizon, error

    def values(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (A,) of each arm's value now, in units of the trend's noise."""
        values = self._acting.judge().values[0].astype(np.float64)
        prior = _PRIOR_VARIANCE / (self._values.counts(self._num_arms) + 1)
        return values.mean(axis=0), np.sqrt(values.var(axis=0) + prior)

    def resolve_value(self, moment: Moment, arm: int, value: float) -> None:
        """Learn an arm's measured value; a moment older than the replay is past learning from."""
        self._label(self._values, moment, arm, value)

    def success(self) -> float:
        """Raw probability in (0, 1) that a jump made now turns out good; computed once a tick."""
        if self._success is None:
            bad = self._acting.judge().bad_logit[0]
            self._success = sum(1 / (1 + math.exp(logit)) for logit in bad.tolist()) / len(bad)
        return self._success

    def resolve_verdict(self, moment: Moment, good: bool) -> None:  # noqa: FBT001 -- the label itself
        """Learn whether a jump turned out good; a moment older than the replay is past learning from."""
        self._label(self._verdicts, moment, 0, float(not good))

    def _label(self, store: LabelStore, moment: Moment, arm: int, target: float) -> None:
        latent = self._replay.latent(moment.tick - 1)
        if latent is not None:
            store.add(latent, self._bootstrap(), arm, target)

    def learn(self, trend: LossTrend) -> None:
        """Take note of the trend's curve and, when the last updates are long enough ago, update on the replay.

        Called once a cycle; a cycle shorter than `update_interval_steps` shares its updates with the next.
        """
        self._curve = trend.curve(self._max_horizon)
        self._replay.close_block(*self._curve, self._bootstrap())
        if self.num_ticks - self._num_learned < self._config.update_interval_steps:
            return
        if self._config.enabled:
            for number in range(self._config.updates_per_cycle):
                self._update(is_first=number == 0)
            self._acting.load(self._model)
            self._success = None
        self._num_learned = self.num_ticks

    def _update(self, *, is_first: bool) -> None:
        """One optimizer step; the first of a cycle is asked about the new losses before it learns from them."""
        config = self._config
        windows = self._replay.sample(
            config.batch_windows,
            config.window_steps,
            self._draws,
            new_from=self._num_learned if is_first else None,
        )
        if windows is None:
            return
        shape = (config.window_steps, config.batch_windows, self._sizes.num_categoricals)
        uniforms = torch.rand(shape, generator=self._noise)
        loss, outlook = self._model.loss(windows, uniforms, config.free_nats)
        self._trust.judge(outlook.residuals, outlook.shifts, outlook.log_scales, windows.new)
        for store, cost in ((self._values, self._model.value_loss), (self._verdicts, self._model.verdict_loss)):
            labelled = store.batch()
            if labelled is not None:
                loss = loss + cost(labelled)
        self._optimizer.step(loss)

    def _bootstrap(self) -> Vector:
        """Double-or-nothing weight (E,) for each head."""
        return 2 * self._draws.integers(0, 2, size=self._sizes.ensemble).astype(np.float32)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {
            "model": {name: value.clone() for name, value in self._model.state_dict().items()},
            **{name: getattr(self, f"_{name}").state_dict() for name in _PARTS},
            "noise": self._noise.get_state(),
            "draws": self._draws.bit_generator.state,
            "curve": None if self._curve is None else np.stack(self._curve),
            "num_learned": self._num_learned,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._model.load_state_dict(state["model"])
        for name in _PARTS:
            getattr(self, f"_{name}").load_state_dict(state[name])
        self.num_ticks = self._replay.num_ticks
        self._acting.load(self._model)
        self._noise.set_state(state["noise"])
        self._draws.bit_generator.state = state["draws"]
        curve = state["curve"]
        self._curve = None if curve is None else (np.array(curve[0]), np.array(curve[1]))
        self._num_learned = int(state["num_learned"])
        self._success = None


_PARTS = ("optimizer", "replay", "values", "verdicts", "trust", "acting")
