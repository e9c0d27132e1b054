"""What a learned model of the training run must offer, and the scores that decide whether it may act.

A learned forecast is a shift and a log factor on the constant forecaster's own scale (`LossTrend`), so that predicting
zeros is exactly as good as the constant, and a model that knows nothing cannot win. Outcomes come back in the same
units.

Scores are prequential (Dawid 1984): a forecast is written down before its outcome and is never touched again; the
outcome then scores it by the negative log density of the loss that was seen, in nats. All forecasters are asked at the
same moments about the same horizon, so their means compare.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt.history import FloatArray
from hpt.numerics.running import corrected_gain
from hpt.numerics.stateful import Stateful

Vector = NDArray[np.float32]

CONSTANT = "constant"
"""Name of the constant forecaster in all scores."""
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_WORST_NLL = 100.0  # nats, an error of 14 sigmas: one absurd forecast may not decide a whole run


@dataclass(frozen=True, slots=True)
class RelativeForecast:
    """A learned forecast relative to the trend's (mean_H, scale_H).

    mean = level + mean_H + shift * scale_H, scale = scale_H * exp(log_scale).

    Attributes:
        shift: in units of scale_H.
        log_scale: total uncertainty, aleatoric and epistemic.
        epistemic: standard deviation, in units of scale_H, that comes from not knowing the model.
    """

    shift: float
    log_scale: float
    epistemic: float

    def applied(self, level: float, mean_change: float, scale: float) -> tuple[float, float]:
        """Mean and standard deviation of the loss, in its own unit, given the trend's forecast."""
        return level + mean_change + self.shift * scale, scale * math.exp(self.log_scale)


NOTHING = RelativeForecast(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Moment:
    """A remembered state at which a forecast was made: ticks seen so far, the 64 features."""

    tick: int
    features: Vector


class ForecastModel(Protocol):
    """A model learned online, tick by tick, that forecasts the loss and nothing else."""

    num_ticks: int

    def tick(self, features: Vector, actions: Vector, losses: FloatArray, levels: FloatArray) -> None:
        """Take in n ticks: features (n, 64) after each, the actions (n, 3) that led there, losses and levels."""
        ...

    def forecast(self, actions: Vector) -> RelativeForecast:
        """Forecast the loss H ticks from now under the planned actions (H, 3)."""
        ...

    def resolve(self, moment: Moment, horizon: int, error: float) -> None:
        """Learn what came of a forecast: (loss - level - mean_H) / scale_H by the trend's forecast back then."""
        ...

    def learn(self, means: FloatArray, scales: FloatArray) -> None:
        """Improve on what is stored; called once a cycle with the trend's curve (H,), (H,) at the ticks to come."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        ...


def gaussian_nll(error: float, log_scale: float) -> float:
    """Negative log density, in nats, of a Gaussian of scale e^log_scale at distance `error` from its mean."""
    return _HALF_LOG_TWO_PI + log_scale + 0.5 * (error * math.exp(-log_scale)) ** 2


class Scoreboard(Stateful):
    """Prequential scores of named forecasters, in nats per forecast, lower is better.

    The rolling score is a bias-corrected exponential average with decay `memory` per forecast.
    """

    _state = ("_tallies",)

    def __init__(self, memory: float) -> None:
        assert 0 <= memory < 1, f"memory is {memory}, it must lie in [0, 1)"
        self._memory = memory
        self._tallies: dict[str, tuple[int, float, float]] = {}  # count, sum, decayed mean

    def add(self, name: str, nll: float) -> None:
        """Take in one score; above 100 nats, or NaN, counts as 100."""
        bounded = nll if nll < _WORST_NLL else _WORST_NLL
        count, total, decayed = self._tallies.get(name, (0, 0.0, 0.0))
        decayed += (bounded - decayed) * corrected_gain(1 - self._memory, count + 1)
        self._tallies[name] = count + 1, total + bounded, decayed

    def rolling(self, name: str) -> float | None:
        """Decayed mean score, None before the first."""
        return self._tallies[name][2] if name in self._tallies else None

    def mean(self, name: str) -> float | None:
        """Plain mean score, None before the first."""
        count, total, _ = self._tallies.get(name, (0, 0.0, 0.0))
        return total / count if count else None

    def count(self, name: str) -> int:
        """Scores taken in."""
        return self._tallies.get(name, (0, 0.0, 0.0))[0]

    def leader(self, candidates: Sequence[str], baseline: str, margin: float) -> str:
        """The candidate of lowest rolling score, if that is below the baseline's by more than `margin` nats.

        Otherwise the baseline; also while it has no score, for then nobody has beaten it. Of equals the
        first leads.
        """
        limit = self.rolling(baseline)
        if limit is None:
            return baseline
        best, limit = baseline, limit - margin
        for name in candidates:
            score = self.rolling(name)
            if score is not None and score < limit:
                best, limit = name, score
        return best


@dataclass(frozen=True, slots=True)
class Question:
    """The loss `horizon` ticks after `moment`, as all forecasters were asked for it.

    Attributes:
        moment: when.
        mean: the constant forecaster's answer, loss units.
        scale: its standard deviation.
        answers: every forecaster's answer relative to that.
    """

    moment: Moment
    mean: float
    scale: float
    answers: dict[str, RelativeForecast]

    def error_of(self, loss: float) -> float:
        """Outcome in units of the constant forecaster: (loss - mean) / scale."""
        return (loss - self.mean) / self.scale

    def nll_of(self, name: str, loss: float) -> float:
        """Negative log density of `loss` under one forecaster, nats."""
        answer = self.answers[name]
        standardised = gaussian_nll(self.error_of(loss) - answer.shift, answer.log_scale)
        return standardised + math.log(self.scale)


class PrequentialScores(Stateful):
    """Keeps questions until their outcome and a scoreboard of the answers.

    Args:
        horizon: ticks between question and outcome, one for the whole run.
        memory: decay of the rolling score per outcome.

    Attributes:
        scores: what every forecaster earned.
        pending: questions without an outcome, oldest first.
        num_void: questions whose outcome never came.
    """

    _state = ("scores", "num_void")

    def __init__(self, horizon: int, memory: float) -> None:
        self.horizon = horizon
        self.scores = Scoreboard(memory)
        self.num_void = 0
        self.pending: list[Question] = []

    @property
    def next_due(self) -> float:
        """Tick at which the oldest question is answered; infinite if none waits."""
        return self.pending[0].moment.tick + self.horizon if self.pending else math.inf

    def ask(self, moment: Moment, mean: float, scale: float, answers: Mapping[str, RelativeForecast]) -> None:
        """Write down every forecaster's answer; `mean` and `scale` are the constant's."""
        self.pending.append(Question(moment, mean, scale, {**answers, CONSTANT: NOTHING}))

    def settle(self, tick: int, loss: float) -> list[tuple[Moment, float]]:
        """Score what falls due at this tick; returns the moments with their errors in units of the constant's scale."""
        due: list[Question] = []
        while self.next_due <= tick:
            due.append(self.pending.pop(0))
        for one in due:
            for name in one.answers:
                self.scores.add(name, one.nll_of(name, loss))
        return [(one.moment, one.error_of(loss)) for one in due]

    def void(self) -> None:
        """Forget what is pending: the loss of a path that was undone is nobody's outcome."""
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
        return {**super().state_dict(), "pending": [asdict(one) for one in self.pending]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self.pending = [
            Question(
                Moment(**one["moment"]),
                one["mean"],
                one["scale"],
                {name: RelativeForecast(**answer) for name, answer in one["answers"].items()},
            )
            for one in state["pending"]
        ]
