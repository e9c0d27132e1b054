"""Forecasts of the run's loss by learned models, scored as they go.

    every cycle   its steps become features, the models take them in; what was forecast for one of them is scored, then
                  learned, then the next forecast is asked for; the models replay

Three forecasters answer every question side by side: the model, ridge regression (the fallback that is always there)
and the constant. Whoever leads by the rolling prequential score speaks (Dawid 1984); nothing else decides that, so a
model that has learned nothing changes nothing.
"""

from collections.abc import Mapping
from typing import Any

from hpt.config import HybridConfig
from hpt.history import FloatArray, StepStats
from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.actions import ActionPlanner, tick_ends
from hpt.learned.features import FeatureEncoder
from hpt.learned.forecast_model import CONSTANT, NOTHING, ForecastModel, Moment, PrequentialScores, Vector
from hpt.learned.loss_trend import LossForecast, LossTrend, TrendPath
from hpt.numerics.stateful import Stateful

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


class LossForecasts(Stateful):
    """Asks, scores and teaches the models.

    Args:
        config: settings.
        models: by name, in the order in which they lead where they are equal.
        far: full steps ahead at which forecasts are scored.

    Attributes:
        models: by name.
        scores: of their forecasts.
        far: see above, in whole ticks.
    """

    _state = ("models", "_encoder", "scores", "_planner", "_tick", "_features", "_last_step")

    def __init__(self, config: HybridConfig, models: Mapping[str, ForecastModel], far: int) -> None:
        self._tick_steps = tick_steps = tick_steps_of(config)
        self._horizon = horizon_ticks(config, far)
        self.far = self._horizon * tick_steps
        self.models = dict(models)
        self.scores = PrequentialScores(self._horizon, SCORE_MEMORY)
        self._learns = config.learner.enabled
        self._ticks_per_forecast = -(-max(FORECAST_INTERVAL_STEPS, config.cycle_steps) // tick_steps)
        self._encoder = FeatureEncoder(config.cycle_steps)
        self._planner = ActionPlanner(config.cycle_steps, tick_steps, config.predict.max_jump_ratio)
        self._tick = 0
        self._features: Vector | None = None
        self._last_step: int | None = None

    @property
    def features(self) -> Vector | None:
        """The 64 features after the last full step, on the run's own scale; None before the first."""
        return self._features

    @property
    def raw_features(self) -> FloatArray:
        """The same in units of their own, (64,)."""
        return self._encoder.raw()

    def observe(self, steps: StepStats, path: TrendPath) -> tuple[Vector, Vector]:
        """Take in full steps, at least one: score what was forecast for them, learn from that, ask for more.

        Returns:
            Features (n, 64) of the ticks, and the actions (n, 3) that led to them.
        """
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
            newest = features[stop - 1].copy()
            self._tick, self._features, done = first + stop, newest, stop
            self._settle(float(losses[stop - 1]))
            if self._asks_at(self._tick):
                end = ends[stop - 1]
                plan = self._planner.plan(int(steps.steps_since_jump[end]), self._horizon, jumping=True)
                answers = {name: model.forecast(plan) for name, model in self.models.items()}
                moment = Moment(self._tick, newest)
                self.scores.ask(moment, float(path.far_mean[end]), float(path.far_scale[end]), answers)
        return features, actions

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

    def end_cycle(self, stats: CycleStats, trend: LossTrend) -> None:
        """Take in the cycle's inner products and replay."""
        self._encoder.observe_cycle(stats)
        if self._learns:
            curve = trend.curve(self._horizon, self._tick_steps)
            for model in self.models.values():
                model.learn(*curve)

    def announce(self, delta: WeightDelta, stats: CycleStats) -> None:
        """Take note of a proposed jump."""
        self._planner.announce(delta, stats)

    def judge(self, outcome: JumpOutcome) -> None:
        """Take note of what became of it."""
        self._encoder.observe_jump(outcome)
        self._planner.judge(outcome)

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

    def summary(self) -> dict[str, Any]:
        """Scores of all forecasters, and who leads."""
        return {
            "scores": self.scores.summary((*self.models, CONSTANT)),
            "leader": self.leader(),
            "horizon": self.far,
            "forecasts_void": self.scores.num_void,
        }


def tick_steps_of(config: HybridConfig) -> int:
    """Full steps in a tick of the models."""
    return max(1, round(config.cycle_steps / TICKS_PER_CYCLE))


def horizon_ticks(config: HybridConfig, far: int) -> int:
    """Ticks in a forecast over `far` full steps."""
    return max(1, far // tick_steps_of(config))
