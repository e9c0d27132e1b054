"""Which arm to play, by a bandit that is paid in measured value: the loss a jump saved against its no-jump twin.

Off by default (`tuning.bandit`): a run has a handful of forks and a bandit needs more to beat the base preset.
"""

from collections.abc import Mapping
from typing import Any

from hpt.control.bandit import LinUCB
from hpt.learned.facts import CycleFacts
from hpt.predictors.worth import Choice

CONTEXT_SIZE = 2


class ArmBandit:
    """LinUCB over the arms of a chooser; the context is (1, how far the run is).

    "No jump" is worth exactly nothing, so it needs no model: it wins when no arm's upper bound is above zero.

    Args:
        names: arms, without "none".
        base_arm: played until the first value was measured.
    """

    def __init__(self, names: tuple[str, ...], base_arm: int) -> None:
        self._bandit = LinUCB(names, CONTEXT_SIZE)
        self._base_arm = base_arm
        self._context: list[float] | None = None

    def choose(self, facts: CycleFacts) -> Choice:
        """The arm with the highest upper bound; its mean is in units of the trend's noise."""
        self._context = [1.0, 1.0 - facts.lr_frac if facts.progress is None else facts.progress]
        if sum(self._bandit.plays) == 0:
            return Choice(self._base_arm, None, None)
        choice = self._bandit.choose(self._context)
        best = choice.scores[choice.arm] > 0.0
        return Choice(choice.arm if best else None, choice.means[choice.arm], choice.means[choice.arm])

    def observe(self, arm: int, value: float) -> None:
        """Reward the arm played last with its measured value, in units of the trend's noise."""
        if self._context is not None:
            self._bandit.observe(self._context, arm, value)

    def state_dict(self) -> dict[str, Any]:
        """The bandit and the context of the proposal in flight."""
        return {"bandit": self._bandit.state_dict(), "context": self._context}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._bandit.load_state_dict(state["bandit"])
        self._context = None if state["context"] is None else [float(one) for one in state["context"]]
