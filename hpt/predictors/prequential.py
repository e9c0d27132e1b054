"""Forecasts awaiting their outcome, and the score each forecaster earns when it comes.

Prequential scoring (Dawid 1984): a forecast is written down before its outcome and is never touched again; the outcome
then scores it by the negative log density of the loss that was seen, in nats. All forecasters are asked at the same
moments about the same horizon, so their means compare. A step that does not follow the one before it (a rollback) voids
what is pending: the loss of a path that was undone is nobody's outcome.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpt.learned.forecast import Correction, LossTrend, Moment, Scoreboard, gaussian_nll

CONSTANT = "constant"
NOTHING = Correction(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Pending:
    """One question asked of all forecasters at `moment`: the loss `horizon` ticks later."""

    moment: Moment
    mean: float
    scale: float
    corrections: dict[str, Correction]

    def error_of(self, loss: float) -> float:
        """Outcome in units of the constant forecaster: (loss - mean) / scale."""
        return (loss - self.mean) / self.scale

    def nll_of(self, name: str, loss: float) -> float:
        """Negative log density of `loss` under one forecaster, nats."""
        correction = self.corrections[name]
        standardised = gaussian_nll(self.error_of(loss) - correction.shift, correction.log_scale)
        return standardised + math.log(self.scale)


class Prequential:
    """Keeps questions until their outcome and a scoreboard of the answers.

    Args:
        horizon: ticks between question and outcome, one for the whole run.
        memory: decay of the rolling score per outcome.

    Attributes:
        scores: what every forecaster earned.
        pending: questions without an outcome, oldest first.
        num_void: questions whose outcome never came.
    """

    def __init__(self, horizon: int, memory: float) -> None:
        self.horizon = horizon
        self.scores = Scoreboard(memory)
        self.num_void = 0
        self.pending: list[Pending] = []

    def ask(self, moment: Moment, trend: LossTrend, corrections: Mapping[str, Correction]) -> None:
        """Write down every forecaster's answer; the constant's is added."""
        change, scale = trend.at(self.horizon)
        answers = {**corrections, CONSTANT: NOTHING}
        self.pending.append(Pending(moment, trend.level + change, scale, answers))

    def settle(self, tick: int, loss: float) -> list[tuple[Moment, float]]:
        """Score what falls due at this tick; returns the moments with their errors in units of the constant's scale."""
        due: list[Pending] = []
        while self.pending and self.pending[0].moment.tick + self.horizon <= tick:
            due.append(self.pending.pop(0))
        for one in due:
            for name in one.corrections:
                self.scores.add(name, one.nll_of(name, loss))
        return [(one.moment, one.error_of(loss)) for one in due]

    def void(self) -> None:
        """Forget what is pending: its path was undone."""
        self.num_void += len(self.pending)
        self.pending = []

    def summary(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Mean and rolling negative log-likelihood of the loss at the horizon, nats; None before the first outcome."""
        return {
            name: {
                "nll_mean": self.scores.mean(name),
                "nll_rolling": self.scores.rolling(name),
                "count": self.scores.count(name),
            }
            for name in names
        }

    def state_dict(self) -> dict[str, Any]:
        """Scores and pending questions."""
        return {
            "scores": self.scores.state_dict(),
            "num_void": self.num_void,
            "pending": [_plain(one) for one in self.pending],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.scores.load_state_dict(state["scores"])
        self.num_void = int(state["num_void"])
        self.pending = [_pending_of(one) for one in state["pending"]]


def moment_state(moment: Moment) -> dict[str, Any]:
    """A moment as plain values."""
    return {"tick": moment.tick, "features": moment.features.copy()}


def moment_of(state: Mapping[str, Any]) -> Moment:
    """Inverse of `moment_state`."""
    return Moment(int(state["tick"]), np.array(state["features"], dtype=np.float32))


def _plain(one: Pending) -> dict[str, Any]:
    answers = {name: [answer.shift, answer.log_scale, answer.epistemic] for name, answer in one.corrections.items()}
    return {
        "moment": moment_state(one.moment),
        "mean": one.mean,
        "scale": one.scale,
        "corrections": answers,
    }


def _pending_of(state: Mapping[str, Any]) -> Pending:
    answers = {name: Correction(*(float(x) for x in answer)) for name, answer in state["corrections"].items()}
    return Pending(moment_of(state["moment"]), float(state["mean"]), float(state["scale"]), answers)
