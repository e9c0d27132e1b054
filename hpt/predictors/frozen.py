"""Control: a jump that takes place and moves nothing.

It proposes when the `ramp` preset would and for the same horizon, with coefficient zero. The call, the
probe and the counted horizon are spent, the weights stay. An arm that does not beat this one gains
nothing by its weight change, and a "speed-up" that this one shows comes from counting skipped steps as
progress.
"""

from dataclasses import replace

from hpt.config import HybridConfig
from hpt.learned.facts import CycleFacts
from hpt.predictors.nesterov import Nesterov
from hpt.predictors.protocol import Proposal, Silent


class Frozen(Silent):
    """Proposes zero times the last displacement.

    Args:
        config: settings, as for `ramp`.

    Attributes:
        window: first and last progress at which the trainer should let it act.
    """

    name = "frozen"

    def __init__(self, config: HybridConfig) -> None:
        self._ramp = Nesterov(config, preset="ramp")
        self.window = self._ramp.window

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """Propose to stay, for the horizon of `ramp`."""
        proposal = self._ramp.propose(facts, max_horizon)
        if proposal is None:
            return None
        return replace(proposal, predictor=self.name, coefficients={"d": 0.0}, arm=self.name)
