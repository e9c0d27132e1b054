"""Forks of a run over every policy at chosen places, with the state of the run as its features saw it there."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpt.config import HybridConfig
from hpt.history import StepStats
from hpt.jump.delta import WeightDelta
from hpt.jump.policy import NONE, POLICIES
from hpt.jump.stats import CycleStats
from hpt.learned.actions import ActionPlanner, tick_ends
from hpt.learned.features import FeatureEncoder
from hpt.learned.loss_trend import LossTrend, TrendPath
from hpt.predictors.loss_forecasts import tick_steps_of
from hpt.predictors.nesterov import Nesterov, proposal_of
from hpt.predictors.protocol import BasePredictor, ForkOutcome, ForkRequest, Proposal

SETTLE_STEPS = 60
PLACES = ((0.12, 3), (0.22, 6), (0.38, 3), (0.5, 6), (0.68, 3))
"""Progress, and cycles with a jump, of each fork."""


@dataclass
class Recorded:
    """What a run showed.

    Attributes:
        features: (n, 64) of the ticks.
        actions: (n, 3) that led to them.
        losses: of each full step.
        cycles: of each cycle, the norms of displacement, trend and weights.
        forks: dictionaries: step, progress, place (progress wanted), num_jumps, tick, raw features, gains by policy.
    """

    features: list[Any] = field(default_factory=list[Any])
    actions: list[Any] = field(default_factory=list[Any])
    losses: list[float] = field(default_factory=list[float])
    cycles: list[tuple[float, float, float]] = field(default_factory=list[tuple[float, float, float]])
    forks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


class ForkStudy(BasePredictor):
    """Plays one policy, and forks over all at the places given.

    Args:
        config: of the run.
        base: policy that is played and goes on after each fork; `NONE`: no jumps.
    """

    name = "study"

    def __init__(self, config: HybridConfig, base: str) -> None:
        self.recorded = Recorded()
        self._nesterov = Nesterov(config)
        self._base = base
        self._places = list(PLACES)
        self._encoder = FeatureEncoder(config.cycle_steps)
        self._tick_steps = tick_steps_of(config)
        self._planner = ActionPlanner(config.cycle_steps, self._tick_steps, config.predict.max_jump_ratio)

    def observe(self, steps: StepStats, path: TrendPath) -> None:
        """Remember features, actions and losses."""
        ends, lengths = tick_ends(len(steps), self._tick_steps)
        self.recorded.features.extend(self._encoder.observe_steps(steps)[ends].copy())
        self.recorded.actions.extend(self._planner.observe(steps.steps_since_jump[ends], lengths))
        self.recorded.losses.extend(steps.loss.tolist())

    def end_cycle(self, stats: CycleStats, trend: LossTrend) -> None:
        """Remember what the cycle tells."""
        self._encoder.observe_cycle(stats)
        trend_norm, weight_norm = np.sqrt(stats.gram[:, 1, 1].sum()), np.linalg.norm(stats.weight_norms)
        self.recorded.cycles.append((stats.displacement_norm, float(trend_norm), float(weight_norm)))

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | ForkRequest | None:
        """A fork where one is due, else the base policy's jump."""
        if self._nesterov.propose(stats, trend, max_horizon) is None:
            return None
        if self._places and stats.progress is not None and stats.progress >= self._places[0][0]:
            self._raw = self._encoder.raw()
            self._place, num_jumps = self._places.pop(0)
            return ForkRequest(tuple(POLICIES), num_jumps, SETTLE_STEPS)
        if self._base == NONE:
            return None
        delta = self.policy_delta(self._base, stats)
        self._planner.announce(delta, stats)
        return proposal_of(self.name, delta, stats.num_steps, max_horizon, self._base)

    def policy_delta(self, policy: str, stats: CycleStats) -> WeightDelta:
        """As the trainer would jump."""
        return POLICIES[policy].delta(self._nesterov.delta(stats))

    def settle(self, outcome: ForkOutcome) -> str:
        """Remember what the fork gave; the base policy goes on."""
        gains = {policy: list(np.round(value.gains, 6)) for policy, value in outcome.values.items()}
        self.recorded.forks.append(
            {
                "step": outcome.step,
                "progress": outcome.stats.progress,
                "place": self._place,
                "num_jumps": next(iter(outcome.values.values())).num_jumps,
                "tick": len(self.recorded.features),
                "lr_frac": outcome.stats.lr_frac,
                "raw": self._raw.tolist(),
                "gains": gains,
            }
        )
        return self._base
