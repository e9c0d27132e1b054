"""A base preset watched over by a learned model of the run: it may choose the arm, forecast the loss, and doubt.

    every cycle   its steps become features, the models take them in; what was forecast for one of them is scored, then
                  learned, then the next forecast is asked for; the models replay; a proposal is the base preset's arm,
                  or the model's once it has earned that
    every verdict the confidence is recalibrated, measured values are scored, then learned

Three forecasters answer every question side by side: the model, ridge regression (the fallback that is always there)
and the constant. Whoever leads by the rolling prequential score speaks (Dawid 1984); nothing else decides that. So a
model that has learned nothing changes nothing, and the base preset acts alone.

The arms are the preset at three multiples of its gain, and "none".
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hpt.config import HybridConfig
from hpt.history import StepStats
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.actions import ActionPlanner, tick_ends
from hpt.learned.confidence import Calibrator, Reliability
from hpt.learned.features import FeatureEncoder
from hpt.learned.forecast_model import CONSTANT, NOTHING, ForecastModel, Moment, PrequentialScores, Vector
from hpt.learned.loss_trend import LossForecast, LossTrend, TrendPath
from hpt.learned.outcomes import PRIOR_SUCCESS
from hpt.learned.ridge import RidgeForecast
from hpt.numerics.stateful import Stateful
from hpt.predictors.nesterov import Nesterov, proposal_of
from hpt.predictors.protocol import Proposal
from hpt.predictors.value_scores import ArmBandit, ValueScores

GAIN_MULTIPLIERS = (0.5, 1.0, 1.5)
NONE = "none"
FALLBACK = "ridge"
MAX_FORECAST_STEPS = 300
"""A window of replay must hold the whole horizon."""
TICKS_PER_CYCLE = 15
"""A tick is so many full steps that a cycle has about this many; of each the models see the last step.

A tick costs some 0.05 ms and a forecast looks over two cycles. Seeing every step bought nothing: against the constant,
nats a forecast, three seeds, every step and every fourth: mlp at K = 60 -.008 and -.015, synthetic moods at K = 60
-.095 and -.124; every second: byte-gpt-b16 at K = 30 -.029 and -.030.
"""
FORECAST_INTERVAL_STEPS = 15
"""One forecast is scored a cycle, unless cycles are so short that they would say the same twice."""
MIN_OBSERVATIONS = 30
"""Full steps before the first forecast: until then averages hold next to nothing."""
SCORE_MEMORY = 0.97
"""Decay of the rolling scores that decide who acts, per forecast: the last 33, a sixth of what a run resolves."""
MARGIN_NATS = 0.02
"""Lead over the constant needed to act."""
UNDECIDED_ERRORS = 2.0
"""Standard errors within which a value has no sign."""

ModelFactory = Callable[[int, int], Mapping[str, ForecastModel]]
"""(number of arms, longest horizon in ticks) -> models by name, the fallback among them."""


@dataclass(frozen=True, slots=True)
class PendingProposal:
    """A proposal whose outcome is not known yet, with everything that was said when it was made.

    Attributes:
        step: net updates at the proposal.
        moment: state then.
        noise: unit of values then, in the loss's own unit.
        raw: the model's probability of a good outcome.
        confidence: the same, calibrated, as proposed.
        values: (mean, sd) of every arm's value by model, in units of `noise`.
    """

    step: int
    moment: Moment
    noise: float
    raw: float
    confidence: float
    values: dict[str, list[tuple[float, float]]]

    def said_of(self, arm: int) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of one arm's value by model."""
        return {name: values[arm] for name, values in self.values.items()}


class LearnedSelector(Stateful):
    """Predictor that learns online which arm to play around a base preset.

    Args:
        name: of the predictor and its model in all scores.
        config: settings.
        make_models: builds the model called `name` and the fallback.

    Attributes:
        models: by name.
        arms: names, "none" left out.
        scores: of loss forecasts.
        values: of value forecasts.
        calibrator, reliability: of the confidence.
    """

    _state = (
        *("models", "_encoder", "scores", "values", "calibrator", "reliability", "_planner", "_bandit"),
        *("_tick", "_features", "_last_step", "_played"),
    )

    def __init__(self, name: str, config: HybridConfig, make_models: ModelFactory) -> None:
        self.name = name
        self.base = Nesterov(config)
        self.scale, self.window = self.base.scale, self.base.window
        self._tick_steps = tick_steps = tick_steps_of(config)
        self._horizon = max(1, nominal_horizon(self.base, config) // tick_steps)  # ticks
        self.far: int | None = self._horizon * tick_steps
        self.arms = tuple(f"{self.scale:g}x{times:g}" for times in GAIN_MULTIPLIERS)
        self.models = dict(make_models(len(self.arms), self._horizon))
        assert {name, FALLBACK} <= set(self.models), f"models are {list(self.models)}"
        base_arm = GAIN_MULTIPLIERS.index(1.0)
        self.scores = PrequentialScores(self._horizon, SCORE_MEMORY)
        self.values = ValueScores(base_arm, SCORE_MEMORY, MARGIN_NATS)
        self.calibrator = Calibrator(PRIOR_SUCCESS)
        self.reliability = Reliability()
        self._learns = config.learner.enabled
        self._ticks_per_forecast = -(-max(FORECAST_INTERVAL_STEPS, config.cycle_steps) // tick_steps)
        self._encoder = FeatureEncoder(config.cycle_steps)
        self._bandit = ArmBandit(self.arms, base_arm) if config.learner.bandit else None
        self._planner = ActionPlanner(config.cycle_steps, tick_steps, config.predict.max_jump_ratio)
        self._tick = 0
        self._features: Vector | None = None
        self._last_step: int | None = None
        self._pending: PendingProposal | None = None
        self._played: dict[str, int] = {}
        self._confidence: float | None = None

    def observe(self, steps: StepStats, path: TrendPath) -> None:
        """Take in full steps: score what was forecast for them, learn from that, and ask for the next forecasts."""
        if not len(steps):
            return
        if self._last_step is not None and steps.step[0] != self._last_step + 1:
            self.scores.void()
        self._last_step = int(steps.step[-1])
        ends, lengths = tick_ends(len(steps), self._tick_steps)
        features = self._encoder.observe_steps(steps)[ends]
        actions = self._planner.observe(steps.steps_since_jump[ends], lengths)
        losses, levels = steps.loss[ends], path.level[ends]
        first, done = self._tick, 0
        while done < len(ends):
            stop = int(min(len(ends), self._next_ask() - first, self.scores.next_due - first))
            rows = slice(done, stop)
            for model in self.models.values():
                model.tick(features[rows], actions[rows], losses[rows], levels[rows])
            self._tick, self._features, done = first + stop, features[stop - 1].copy(), stop
            self._settle(float(losses[stop - 1]))
            if self._asks_at(self._tick):
                end = ends[stop - 1]
                plan = self._planner.plan(int(steps.steps_since_jump[end]), self._horizon, jumping=True)
                answers = {name: model.forecast(plan) for name, model in self.models.items()}
                self.scores.ask(self._moment(), float(path.far_mean[end]), float(path.far_scale[end]), answers)
        self._confidence = None

    def _settle(self, loss: float) -> None:
        for moment, error in self.scores.settle(self._tick, loss):
            if self._learns:
                for model in self.models.values():
                    model.resolve(moment, self._horizon, error)

    def _asks_at(self, tick: int) -> bool:
        return tick % self._ticks_per_forecast == 0 and tick * self._tick_steps >= MIN_OBSERVATIONS

    def _next_ask(self) -> int:
        """First tick after the present one with a question."""
        following = max(self._tick + 1, -(-MIN_OBSERVATIONS // self._tick_steps))
        return -(-following // self._ticks_per_forecast) * self._ticks_per_forecast

    def _moment(self) -> Moment:
        assert self._features is not None, "no step was observed yet"
        return Moment(self._tick, self._features)

    def end_cycle(self, stats: CycleStats, trend: LossTrend) -> None:
        """Take in the cycle's inner products and replay."""
        self._encoder.observe_cycle(stats)
        if self._learns:
            curve = trend.curve(self._horizon, self._tick_steps)
            for model in self.models.values():
                model.learn(*curve)
        self._confidence = None

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | None:
        """The base preset's jump, or the arm that the model has earned the right to choose; None for "none"."""
        if self.base.propose(stats, trend, max_horizon) is None or self._features is None:
            return None
        values = {name: model.values() for name, model in self.models.items()}
        choice = self.values.choose(values) if self._bandit is None else self._bandit.choose(stats)
        if choice.arm is None:
            self._count(NONE)
            return None
        delta = self.base.delta(stats)
        delta = replace(delta, gain=delta.gain * GAIN_MULTIPLIERS[choice.arm])
        proposal = proposal_of(self.name, delta, stats.num_steps, max_horizon, self.arms[choice.arm])
        self._count(proposal.arm)
        self._planner.announce(proposal.delta, stats)
        self._pending = PendingProposal(
            step=stats.step,
            moment=self._moment(),
            noise=trend.noise,
            raw=self.models[self.name].success(),
            confidence=self.confidence(),
            values={
                name: list(zip(means.tolist(), sds.tolist(), strict=True)) for name, (means, sds) in values.items()
            },
        )
        return replace(
            proposal,
            confidence=self._pending.confidence,
            value=None if choice.mean is None else choice.mean * trend.noise,
            value_lower=None if choice.lower is None else choice.lower * trend.noise,
        )

    def _count(self, arm: str) -> None:
        self._played[arm] = self._played.get(arm, 0) + 1

    def confidence(self) -> float:
        """Calibrated probability that a jump made now is kept and good; computed once after new steps."""
        if self._confidence is None:
            self._confidence = self.calibrator.calibrated(self.models[self.name].success())
        return self._confidence

    def judge(self, outcome: JumpOutcome) -> None:
        """Learn what became of a proposal; a value is scored before it is learned."""
        self._encoder.observe_jump(outcome)
        self._planner.judge(outcome)
        pending, self._pending = self._pending, None
        self._confidence = None
        if pending is None or pending.step != outcome.step:
            return
        if not is_undecided(outcome):
            self._learn_verdict(pending, good=outcome.good)
        if outcome.value is not None and outcome.arm in self.arms:
            self._learn_value(pending, self.arms.index(outcome.arm), outcome.value)

    def _learn_verdict(self, pending: PendingProposal, *, good: bool) -> None:
        self.reliability.add(pending.confidence, good)
        self.calibrator.observe(pending.raw, good)
        if self._learns:
            for model in self.models.values():
                model.resolve_verdict(pending.moment, good)

    def _learn_value(self, pending: PendingProposal, arm: int, value: float) -> None:
        learned = self.values.score(pending.said_of(arm), value / pending.noise)
        if self._bandit is not None:
            self._bandit.observe(arm, learned)
        if self._learns:
            for model in self.models.values():
                model.resolve_value(pending.moment, arm, learned)

    def leader(self) -> str:
        """Who forecasts: the model, the fallback or the constant."""
        return self.scores.scores.leader(tuple(self.models), CONSTANT, MARGIN_NATS)

    def forecast(self, trend: LossTrend, num_steps: int) -> LossForecast | None:
        """Loss expected `num_steps` full steps ahead without a jump: the leader's, or the trend's beyond its reach."""
        if trend.num_observed == 0:
            return None
        change, scale = trend.at(min(num_steps, trend.max_horizon))
        answer, leader = NOTHING, self.leader()
        num_ticks = max(1, round(num_steps / self._tick_steps))
        if leader != CONSTANT and num_ticks <= self._horizon:
            plan = self._planner.plan(self._planner.since, num_ticks, jumping=False)
            answer = self.models[leader].forecast(plan)
        return LossForecast(*answer.applied(trend.level, change, scale))

    def features(self) -> Vector | None:
        """The 64 features after the last full step."""
        return self._features

    def summary(self) -> dict[str, Any]:
        """Scores of all forecasters, who leads, what jumps were worth, and how well calibrated the confidence was."""
        return {
            "scores": self.scores.summary((*self.models, CONSTANT)),
            "leader": self.leader(),
            "horizon": self.far,
            "forecasts_void": self.scores.num_void,
            "values": self.values.summary(tuple(self.models)),
            "confidence": self.reliability.summary(),
            "arms_played": dict(self._played),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit, pending forecasts and the open proposal included."""
        return {**super().state_dict(), "pending": None if self._pending is None else asdict(self._pending)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        pending: dict[str, Any] | None = state["pending"]
        self._pending, self._confidence = None, None
        if pending is not None:
            fields: dict[str, Any] = {**pending, "moment": Moment(**pending["moment"])}
            self._pending = PendingProposal(**fields)


def tick_steps_of(config: HybridConfig) -> int:
    """Full steps in a tick of the models."""
    return max(1, round(config.cycle_steps / TICKS_PER_CYCLE))


def nominal_horizon(base: Nesterov, config: HybridConfig) -> int:
    """Full steps the base preset's jump stands for in the middle of its window, as far as is forecast."""
    (first_a, first_g), (last_a, last_g) = base.preset.start, base.preset.end
    gain = 0.5 * (first_g - first_a + last_g - last_a)
    return min(config.max_horizon, MAX_FORECAST_STEPS, max(1, round(gain * config.cycle_steps)))


def is_undecided(outcome: JumpOutcome) -> bool:
    """Whether a fork's value lies within twice its standard error of zero: no verdict on the jump either way."""
    if outcome.value is None or outcome.value_se is None:
        return False
    return abs(outcome.value) <= UNDECIDED_ERRORS * outcome.value_se


def build(name: str, config: HybridConfig) -> LearnedSelector:
    """The base preset watched over by the model called `name`: rssm, mlp, linear or ridge."""

    def models(num_arms: int, max_horizon: int) -> dict[str, ForecastModel]:
        fallback: dict[str, ForecastModel] = {FALLBACK: RidgeForecast(num_arms, max_horizon)}
        if name == FALLBACK:
            return fallback
        if name == "rssm":  # torch is imported where it is needed: it takes a second
            from hpt.learned.learner import DynamicsLearner as Learner  # noqa: PLC0415

            dims, tick_steps, seed = config.learner.dims, tick_steps_of(config), config.seed
            rssm = Learner(dims, num_arms=num_arms, max_horizon=max_horizon, seed=seed, tick_steps=tick_steps)
            return {name: rssm, **fallback}
        from hpt.learned.mlp import LinearForecast, MlpForecast  # noqa: PLC0415

        if name == "linear":
            return {name: LinearForecast(num_arms, max_horizon), **fallback}
        return {name: MlpForecast(num_arms, max_horizon, config.seed), **fallback}

    return LearnedSelector(name, config, models)
