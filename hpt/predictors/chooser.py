"""A base preset watched over by a learned model of the run: it may choose the arm, forecast the loss, and doubt.

    every step    the model takes in features, action and loss; what was forecast H steps ago is scored, then learned
    every cycle   the model replays; a proposal is the base preset's arm, or the model's once it has earned that
    every verdict the confidence is recalibrated, measured values are scored, then learned

Three forecasters answer every question side by side: the model, ridge regression (the fallback that is always there)
and the constant. Whoever leads by the rolling prequential score speaks (Dawid 1984); nothing else decides that. So a
model that has learned nothing changes nothing, and the base preset acts alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hpt.config import HybridConfig
from hpt.learned.calibration import Calibrator, Reliability
from hpt.learned.facts import CycleFacts, JumpOutcome, StepFacts
from hpt.learned.features import FeatureEncoder
from hpt.learned.forecast import ForecastModel, LossTrend, Moment, Vector
from hpt.predictors.arm_bandit import ArmBandit
from hpt.predictors.arms import NONE, ArmSet
from hpt.predictors.cadence import Cadence
from hpt.predictors.flight import Flight, spoken
from hpt.predictors.nesterov import Nesterov
from hpt.predictors.prequential import CONSTANT, NOTHING, Prequential
from hpt.predictors.protocol import LossForecast, Proposal, Silent
from hpt.predictors.verdicts import PRIOR_SUCCESS
from hpt.predictors.worth import Worth

FALLBACK = "ridge"
MAX_FORECAST_STEPS = 300  # a window of replay must hold the whole horizon
UNDECIDED_ERRORS = 2.0  # standard errors within which a value has no sign

ModelFactory = Callable[[int, int], Mapping[str, ForecastModel]]
"""(number of arms, longest horizon) -> models by name, the fallback among them."""


def nominal_horizon(base: Nesterov, config: HybridConfig) -> int:
    """Full steps the base preset's jump stands for in the middle of its window, as far as is forecast."""
    (first_a, first_g), (last_a, last_g) = base.preset.start, base.preset.end
    mu = base.preset.scale
    gain = 0.5 * (first_g[mu] - first_a + last_g[mu] - last_a)
    return min(config.max_horizon, MAX_FORECAST_STEPS, max(1, round(gain * config.cycle_steps)))


def is_undecided(outcome: JumpOutcome) -> bool:
    """Whether a fork's value lies within twice its standard error of zero: no verdict on the jump either way."""
    if outcome.value is None or outcome.value_se is None:
        return False
    return abs(outcome.value) <= UNDECIDED_ERRORS * outcome.value_se


class LearnedChooser(Silent):
    """Predictor that learns online which arm to play around a base preset.

    Args:
        name: of the predictor and its model in all scores.
        config: settings.
        num_groups: parameter groups of the optimizer.
        make_models: builds the model called `name` and the fallback.

    Attributes:
        window: first and last progress at which jumps are wanted.
        horizon: full steps ahead at which forecasts are scored, one for the whole run.
    """

    def __init__(self, name: str, config: HybridConfig, num_groups: int, make_models: ModelFactory) -> None:
        self.name = name
        self.base = Nesterov(config)
        self.window = self.base.window
        self.arms = ArmSet(self.base, config.trajectory.scales)
        self.scales = self.arms.scales
        self.horizon = nominal_horizon(self.base, config)
        self._config = config.learner
        learner = config.learner
        self._stride = max(learner.forecast_interval_steps, config.cycle_steps // learner.forecasts_per_cycle)
        self.models = dict(make_models(len(self.arms.arms), self.horizon))
        assert {name, FALLBACK} <= set(self.models), f"models are {list(self.models)}"
        self.trend = LossTrend(max(self.horizon, config.cycle_steps))
        self.encoder = FeatureEncoder(num_groups, self.scales, config.cycle_steps)
        memory = config.learner.gate_memory
        self.prequential = Prequential(self.horizon, memory)
        self.worth = Worth(self.arms.base_index, memory, config.learner.gate_margin_nats)
        self.calibrator = Calibrator(PRIOR_SUCCESS)
        self.reliability = Reliability()
        self._bandit = ArmBandit(self.arms.names[:-1], self.arms.base_index) if config.tuning.bandit else None
        self._cadence = Cadence(config.cycle_steps, config.predict.max_jump_ratio)
        self._features: Vector | None = None
        self._last_step: int | None = None
        self._flight: Flight | None = None
        self._played: dict[str, int] = {}
        self._confidence: float | None = None

    def observe(self, facts: StepFacts) -> None:
        """Take in one full step: score what was forecast for it, learn from that, and ask for the next forecast."""
        if self._last_step is not None and facts.step != self._last_step + 1:
            self.prequential.void()
        self._last_step = facts.step
        action = self._cadence.observe(facts)
        self.trend.observe(facts.loss)
        self.encoder.observe_step(facts)
        self._features = self.encoder.vector()
        for model in self.models.values():
            model.tick(self._features, action, facts.loss, self.trend.level)
        self._confidence = None
        self._settle(facts.loss)
        self._ask()

    @property
    def _tick(self) -> int:
        return self.trend.num_observed

    def _settle(self, loss: float) -> None:
        for moment, error in self.prequential.settle(self._tick, loss):
            if self._config.enabled:
                for model in self.models.values():
                    model.resolve(moment, self.horizon, error)

    def _ask(self) -> None:
        if self._tick % self._stride or self._tick < self._config.min_observations:
            return
        actions = self._cadence.plan(self.horizon, jumping=True)
        corrections = {name: model.forecast(actions) for name, model in self.models.items()}
        self.prequential.ask(self._moment(), self.trend, corrections)

    def _moment(self) -> Moment:
        assert self._features is not None, "no step was observed yet"
        return Moment(self._tick, self._features)

    def end_cycle(self, facts: CycleFacts) -> None:
        """Take in the cycle's inner products and replay."""
        self.encoder.observe_cycle(facts)
        if self._config.enabled:
            for model in self.models.values():
                model.learn(self.trend)
        self._confidence = None

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """The base preset's jump, or the arm that the model has earned the right to choose; None for "none"."""
        base = self.base.propose(facts, max_horizon)
        if base is None or self._features is None:
            return None
        values = {name: model.values() for name, model in self.models.items()}
        choice = self.worth.choose(values) if self._bandit is None else self._bandit.choose(facts)
        if choice.arm is None:
            self._count(NONE)
            return None
        proposal = self.arms.proposal(choice.arm, self.name, facts, max_horizon)
        self._count(proposal.arm)
        self._cadence.announce(proposal, facts)
        self._flight = Flight(
            step=facts.step,
            moment=self._moment(),
            noise=self.trend.noise,
            raw=self.models[self.name].success(),
            confidence=self.confidence(),
            values=spoken(values),
        )
        return replace(
            proposal,
            confidence=self._flight.confidence,
            value=None if choice.mean is None else choice.mean * self.trend.noise,
            value_lower=None if choice.lower is None else choice.lower * self.trend.noise,
        )

    def _count(self, arm: str) -> None:
        self._played[arm] = self._played.get(arm, 0) + 1

    def confidence(self) -> float:
        """Calibrated probability that a jump made now is kept and good; computed once a step."""
        if self._confidence is None:
            self._confidence = self.calibrator.calibrated(self.models[self.name].success())
        return self._confidence

    def judge(self, outcome: JumpOutcome) -> None:
        """Learn what became of a proposal; a value is scored before it is learned."""
        self.encoder.observe_jump(outcome)
        self._cadence.judge(outcome)
        flight, self._flight = self._flight, None
        self._confidence = None
        if flight is None or flight.step != outcome.step:
            return
        if not is_undecided(outcome):
            self._learn_verdict(flight, good=outcome.good)
        if outcome.value is not None:
            self._learn_value(flight, outcome.arm, outcome.value)

    def _learn_verdict(self, flight: Flight, *, good: bool) -> None:
        self.reliability.add(flight.confidence, good)
        self.calibrator.observe(flight.raw, good)
        if self._config.enabled:
            for model in self.models.values():
                model.resolve_verdict(flight.moment, good)

    def _learn_value(self, flight: Flight, arm: str, value: float) -> None:
        index = self.arms.index_of(arm)
        if index is None:
            return
        learned = self.worth.score(flight.said_of(index), value / flight.noise)
        if self._bandit is not None:
            self._bandit.observe(index, learned)
        if self._config.enabled:
            for model in self.models.values():
                model.resolve_value(flight.moment, index, learned)

    def leader(self) -> str:
        """Who forecasts: the model, the fallback or the constant."""
        return self.prequential.scores.leader(tuple(self.models), CONSTANT, self._config.gate_margin_nats)

    def forecast(self, num_steps: int) -> LossForecast | None:
        """Loss expected `num_steps` full steps ahead without a jump: the leader's, or the trend's beyond its reach."""
        if self._tick == 0:
            return None
        change, scale = self.trend.at(min(num_steps, self.trend.max_horizon))
        correction, leader = NOTHING, self.leader()
        if leader != CONSTANT and num_steps <= self.horizon:
            correction = self.models[leader].forecast(self._cadence.plan(num_steps, jumping=False))
        return LossForecast(*correction.applied(self.trend.level, change, scale))

    def features(self) -> Vector | None:
        """The 64 features after the last full step."""
        return self._features

    def summary(self) -> dict[str, Any]:
        """Scores of all forecasters, who leads, what jumps were worth, and how well calibrated the confidence was."""
        return {
            "scores": self.prequential.summary((*self.models, CONSTANT)),
            "leader": self.leader(),
            "horizon": self.horizon,
            "forecasts_void": self.prequential.num_void,
            "values": self.worth.summary(tuple(self.models)),
            "confidence": self.reliability.summary(),
            "arms_played": dict(self._played),
        }

    def _stateful(self) -> dict[str, Any]:
        """Parts with a state_dict, by name."""
        bandit = {} if self._bandit is None else {"bandit": self._bandit}
        return bandit | {
            "trend": self.trend,
            "encoder": self.encoder,
            "prequential": self.prequential,
            "worth": self.worth,
            "calibrator": self.calibrator,
            "reliability": self.reliability,
            "cadence": self._cadence,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit, pending forecasts and the open proposal included."""
        return {
            "parts": {name: part.state_dict() for name, part in self._stateful().items()},
            "models": {name: model.state_dict() for name, model in self.models.items()},
            "features": None if self._features is None else self._features.copy(),
            "last_step": self._last_step,
            "flight": None if self._flight is None else self._flight.state_dict(),
            "played": dict(self._played),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        for name, part in self._stateful().items():
            part.load_state_dict(state["parts"][name])
        for name, model in self.models.items():
            model.load_state_dict(state["models"][name])
        features, flight, last_step = state["features"], state["flight"], state["last_step"]
        self._features = None if features is None else np.array(features, dtype=np.float32)
        self._last_step = None if last_step is None else int(last_step)
        self._flight = None if flight is None else Flight.from_state(flight)
        self._played = {str(arm): int(count) for arm, count in state["played"].items()}
        self._confidence = None
