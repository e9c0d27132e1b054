"""Jumps without losses: the policy that the prior says is worth most, no forks, no forecasts, no features.

What the default decides where it does not fork (`hpt.predictors.selector`), without anything that is learned from
losses. It is what `hpt.attach` can do in a loop that hands over no loss.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.config import HybridConfig
from hpt.jump.policy import NONE, POLICIES
from hpt.jump.stats import CycleStats
from hpt.learned.loss_trend import LossTrend
from hpt.learned.value_models import PriorValues
from hpt.optimizers.traits import RunTraits
from hpt.predictors.chooser import PolicyChooser
from hpt.predictors.nesterov import base_of_kind, proposal_of
from hpt.predictors.protocol import BasePredictor, ForkRequest, Proposal
from hpt.records import DecisionRecord

NO_FEATURES = np.zeros(64)


class PriorPolicy(BasePredictor):
    """Plays that policy, or the one that the settings name.

    Args:
        config: settings.
        traits: of the run.
        jump_cost: of one jump, in full steps.
    """

    name = "prior"

    def __init__(self, config: HybridConfig, traits: RunTraits, jump_cost: float = 0.0) -> None:
        self._base = base_of_kind(config, traits)
        self.scale, self.window = self._base.scale, self._base.window
        self._fixed = config.predict.policy
        self._chooser = PolicyChooser(config, PriorValues(traits), self.window, jump_cost)

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | None:
        """The preset's jump as the policy has it, once three cycles are finished; None where no policy is worth it."""
        if self._base.propose(stats, trend, max_horizon) is None:
            return None
        policy = self._fixed or self._chooser.choose(stats, NO_FEATURES)
        assert not isinstance(policy, ForkRequest), "a fork needs a loss curve, and none was shown"
        if policy == NONE:
            return None
        delta = POLICIES[policy].delta(self._base.delta(stats))
        confidence = None if self._fixed else self._chooser.confidence(NO_FEATURES)
        return proposal_of(self.name, delta, stats.num_steps, max_horizon, policy, confidence)

    def decision(self) -> DecisionRecord | None:
        """The newest decision, None where the settings name the policy."""
        return self._chooser.decisions[-1] if self._chooser.decisions else None

    def summary(self) -> Mapping[str, Any]:
        """What the prior says, and what was decided."""
        return {"values": None if self._fixed else self._chooser.summary()}

    def state_dict(self) -> dict[str, Any]:
        """The decisions."""
        return self._chooser.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._chooser.load_state_dict(state)
