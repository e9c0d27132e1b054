"""The predictor that decides by value: a base preset, the policy that is worth most, and a learned model of the loss.

    every cycle   the loss forecasters learn (`loss_forecasts`); the chooser says which policy is played now, or that a
                  fork would pay (`chooser`); the proposal is the preset's delta as that policy has it
    every fork    the chooser learns what the policies were worth, and says which branch goes on

With a policy in the settings that one is played and nothing is chosen.
"""

from collections.abc import Mapping
from typing import Any

from hpt.config import HybridConfig
from hpt.history import StepStats
from hpt.jump.delta import WeightDelta
from hpt.jump.policy import NONE, POLICIES
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.forecast_model import ForecastModel, Vector
from hpt.learned.loss_trend import LossForecast, LossTrend, TrendPath
from hpt.learned.ridge import RidgeForecast
from hpt.learned.value_models import build_value_model
from hpt.numerics.stateful import Stateful
from hpt.optimizers.traits import RunTraits
from hpt.predictors.chooser import PolicyChooser
from hpt.predictors.loss_forecasts import MAX_FORECAST_STEPS, LossForecasts, horizon_ticks, tick_steps_of
from hpt.predictors.nesterov import Nesterov, base_of_kind, proposal_of
from hpt.predictors.protocol import ForkOutcome, ForkRequest, Proposal
from hpt.records import DecisionRecord

FALLBACK = "ridge"


class PolicySelector(Stateful):
    """Plays the policy that is worth most.

    Args:
        name: of the predictor and its forecaster in all scores.
        config: settings.
        traits: of the run.
        models: loss forecasters by name, that one and the fallback among them.
        jump_cost: of one jump, in full steps.

    Attributes:
        base: the preset.
        forecasts: of the loss.
        chooser: of the policy; None where the settings name one.
    """

    _state = ("forecasts", "_played")

    def __init__(
        self,
        name: str,
        config: HybridConfig,
        traits: RunTraits,
        models: Mapping[str, ForecastModel],
        jump_cost: float = 0.0,
    ) -> None:
        assert {name, FALLBACK} <= set(models), f"models are {list(models)}"
        self.name = name
        self.base = base_of_kind(config, traits)
        self.scale, self.window = self.base.scale, self.base.window
        self.forecasts = LossForecasts(config, models, nominal_horizon(self.base, config))
        self.far: int | None = self.forecasts.far
        model = build_value_model(config.value.model if config.learner.enabled else "prior", traits)
        self.chooser = None if config.predict.policy else PolicyChooser(config, model, self.window, jump_cost)
        self._fixed = config.predict.policy or NONE
        self._played: dict[str, int] = {}
        self._confidence: float | None = None

    def observe(self, steps: StepStats, path: TrendPath) -> None:
        """Take in full steps."""
        if not len(steps):
            return
        self._confidence = None
        ticks = self.forecasts.observe(steps, path)
        if self.chooser is not None:
            self.chooser.observe(steps, *ticks)

    def end_cycle(self, stats: CycleStats, trend: LossTrend) -> None:
        """Take in a finished cycle."""
        self._confidence = None
        self.forecasts.end_cycle(stats, trend)

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | ForkRequest | None:
        """The jump of the policy that is worth most, a fork, or None where nothing is worth a jump."""
        if self.base.propose(stats, trend, max_horizon) is None or self.forecasts.features is None:
            return None
        policy = self._fixed if self.chooser is None else self.chooser.choose(stats, self.forecasts.raw_features)
        if isinstance(policy, ForkRequest):
            return policy
        self._played[policy] = self._played.get(policy, 0) + 1
        if policy == NONE:
            return None
        delta = self.policy_delta(policy, stats)
        proposal = proposal_of(self.name, delta, stats.num_steps, max_horizon, policy, self.confidence())
        self.forecasts.announce(proposal.delta, stats)
        return proposal

    def confidence(self) -> float | None:
        """Calibrated probability that the best policy is worth something, computed once a step; None if it is fixed."""
        if self._confidence is None and self.chooser is not None:
            self._confidence = self.chooser.confidence(self.forecasts.raw_features)
        return self._confidence

    def policy_delta(self, policy: str, stats: CycleStats) -> WeightDelta:
        """What the policy makes of the preset."""
        return POLICIES[policy].delta(self.base.delta(stats))

    def settle(self, outcome: ForkOutcome) -> str:
        """Learn what a fork measured; the policy whose branch goes on."""
        self._confidence = None
        return NONE if self.chooser is None else self.chooser.settle(outcome, self.forecasts.raw_features)

    def decision(self) -> DecisionRecord | None:
        """The newest decision of the chooser."""
        return None if self.chooser is None or not self.chooser.decisions else self.chooser.decisions[-1]

    def judge(self, outcome: JumpOutcome) -> None:
        """Take note of what became of a jump."""
        self.forecasts.judge(outcome)

    def forecast(self, trend: LossTrend, num_steps: int) -> LossForecast | None:
        """Loss expected `num_steps` full steps ahead without a jump."""
        return self.forecasts.forecast(trend, num_steps)

    def features(self) -> Vector | None:
        """The 64 features after the last full step."""
        return self.forecasts.features

    def summary(self) -> dict[str, Any]:
        """Scores of the loss forecasters; what the policies were believed and measured to be worth; what was played."""
        values = {} if self.chooser is None else self.chooser.summary()
        confidence = values.pop("confidence", None)
        return {
            **self.forecasts.summary(),
            "values": values or None,
            "confidence": confidence,
            "policies_played": dict(self._played),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        chooser = None if self.chooser is None else self.chooser.state_dict()
        return {**super().state_dict(), "chooser": chooser}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self._confidence = None
        if self.chooser is not None:
            self.chooser.load_state_dict(state["chooser"])


def nominal_horizon(base: Nesterov, config: HybridConfig) -> int:
    """Full steps the base preset's jump stands for in the middle of its window, as far as is forecast."""
    (first_a, first_g), (last_a, last_g) = base.preset.start, base.preset.end
    gain = 0.5 * (first_g - first_a + last_g - last_a)
    return min(config.max_horizon, MAX_FORECAST_STEPS, max(1, round(gain * config.cycle_steps)))


def build(name: str, config: HybridConfig, traits: RunTraits, jump_cost: float = 0.0) -> PolicySelector:
    """The selector whose loss is forecast by the model called `name`: rssm, mlp, linear or ridge."""
    horizon = horizon_ticks(config, nominal_horizon(Nesterov(config), config))
    models: dict[str, ForecastModel] = {FALLBACK: RidgeForecast(horizon)}
    if name == "rssm":  # torch is imported where it is needed: it takes a second
        from hpt.learned.learner import DynamicsLearner  # noqa: PLC0415

        rssm = DynamicsLearner(
            config.learner.dims, max_horizon=horizon, seed=config.seed, tick_steps=tick_steps_of(config)
        )
        models = {name: rssm, **models}
    elif name != FALLBACK:
        from hpt.learned.mlp import LinearForecast, MlpForecast  # noqa: PLC0415

        other = LinearForecast(horizon) if name == "linear" else MlpForecast(horizon, config.seed)
        models = {name: other, **models}
    return PolicySelector(name, config, traits, models, jump_cost)
