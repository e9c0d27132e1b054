"""Is the run in trouble: six signals from loss, forecast and gradient norm, each with a level.

The steps of a cycle are judged together, each against the past before it. What is usual (`control/loss_statistics.py`)
is renewed every `REFRESH_STEPS` steps, which keeps the judgement cheap.

    loss                one-sided score: only a rise above the recent level counts
    gradient_explosion  norm over its running median
    gradient_vanishing  the same, from below
    non_finite          NaN or infinity in loss or gradient norm
    prediction_error    |loss - forecast| in units of the forecast's scale
    oscillation         too many turning points for independent noise, while the swings grow

An oscillation is about a whole window, so it is reported once a renewal. No single step is critical, since broken
weights stay broken and a bad batch passes. Critical are `_ESCALATE_COUNT` high losses in `_ESCALATE_STEPS` steps, and
even that is a question and no answer: are the weights broken, or did the data change? Whoever asks it
(`hpt.trainer.paired_test`) calls `explain` when it was the data. For `EXPLAINED_STEPS` steps no loss up to half as high
again raises the question, so that data with hard stretches are not asked about each time.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from hpt.control.loss_statistics import LossStatistics, summarize
from hpt.history import PAST_STEPS, FloatArray

REFRESH_STEPS = 8
CAUTION_SIGMAS, WARNING_SIGMAS = 4.0, 8.0  # robust z-scores of the loss
EXPLOSION_RATIO = 20.0  # gradient norm over its running median
VANISHING_RATIO = 1e-4
_MIN_HISTORY = 32  # steps of silence; fewer give a spread too uncertain for a z-score
_OSCILLATION_SIGMAS = 3.0  # turning points above independent noise: 1 window in 700
_ESCALATE_COUNT = 3
_ESCALATE_STEPS = 6  # not all of them: every other step of an oscillation is low
EXPLAINED_STEPS = 200  # two forward passes in so many steps cost a third of a per cent
_EXPLAINED_EXCESS = 1.5  # times the rise that was explained


class Level(IntEnum):
    """How bad it is, in order."""

    NORMAL = 0
    CAUTION = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Signal:
    """One test that fired: the value that was seen and the threshold it crossed."""

    name: str
    level: Level
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class StepAlarm:
    """Signals of one step: its place among the steps judged, and the worst level, escalation included."""

    place: int
    level: Level
    signals: tuple[Signal, ...]


@dataclass(frozen=True, slots=True)
class JudgedSteps:
    """What is judged: losses and gradient norms (n,), and the forecast (n,) made for each loss before it, NaN if none.

    A norm that is NaN is not judged: there was none.
    """

    loss: FloatArray
    grad_norm: FloatArray
    forecast_mean: FloatArray
    forecast_scale: FloatArray


class DivergenceMonitor:
    """Judges full steps in order; silent, except for non-finite numbers, until there is enough history.

    `judge` is shown the steps of a cycle that is over. Where losses are read at every step, `watch` is shown each as it
    is made, against what was usual at the last judgement, so that broken weights need not wait for the cycle's end.
    """

    def __init__(self) -> None:
        self._num_judged = 0
        self._warned: deque[bool] = deque(maxlen=_ESCALATE_STEPS)
        self._watched: deque[bool] = deque(maxlen=_ESCALATE_STEPS)
        self._explained = -math.inf
        self._explained_until = 0  # in steps judged
        self._usual: LossStatistics | None = None
        self._before: tuple[int, LossStatistics | None] = (0, None)

    def judge(self, past_losses: FloatArray, past_grad_norms: FloatArray, steps: JudgedSteps) -> list[StepAlarm]:
        """Alarms of the steps that have any, in order.

        Args:
            past_losses: finite losses of the steps before these, oldest first; the last PAST_STEPS count.
            past_grad_norms: the same of gradient norms.
            steps: n steps in a row.
        """
        self._before = (self._num_judged, self._usual)
        losses = np.concatenate((past_losses, steps.loss))
        norms = np.concatenate((past_grad_norms, steps.grad_norm))
        first_loss, first_norm = len(past_losses), len(past_grad_norms)
        alarms: list[StepAlarm] = []
        place = 0
        while place < len(steps.loss):
            stop = min(len(steps.loss), place + REFRESH_STEPS - self._num_judged % REFRESH_STEPS)
            if self._is_quiet(steps, slice(place, stop)):
                self._warned.extend([False] * (stop - place))
                self._num_judged += stop - place
            else:
                alarms += self._judge_one_by_one(steps, range(place, stop))
            place = stop
            if self._num_judged % REFRESH_STEPS == 0:
                self._renew(losses[: first_loss + place], norms[: first_norm + place])
        return alarms

    def _is_quiet(self, steps: JudgedSteps, block: slice) -> bool:
        """No test can fire in these steps; told for all of them at once, because that is the rule."""
        usual, loss, norm = self._usual, steps.loss[block], steps.grad_norm[block]
        if usual is None:
            return bool(np.isfinite(loss).all() and not np.isinf(norm).any())
        if usual.made_at == self._num_judged and _judge_window(usual):
            return False
        error = np.abs(loss - steps.forecast_mean[block]) <= CAUTION_SIGMAS * steps.forecast_scale[block]
        fine = (loss - usual.level <= CAUTION_SIGMAS * usual.scale) & error
        if usual.grad_norm:
            fine &= (norm <= EXPLOSION_RATIO * usual.grad_norm) & (norm >= VANISHING_RATIO * usual.grad_norm)
        return bool(fine.all() and np.isfinite(loss).all() and np.isfinite(norm).all())

    def _judge_one_by_one(self, steps: JudgedSteps, places: range) -> list[StepAlarm]:
        alarms: list[StepAlarm] = []
        for place in places:
            signals = self._signals(steps, place)
            self._warned.append(self.is_unusual(float(steps.loss[place])))
            if signals:
                alarms.append(StepAlarm(place, self._level(signals), tuple(signals)))
            self._num_judged += 1
        return alarms

    def rolled_back(self, past_losses: FloatArray, past_grad_norms: FloatArray) -> None:
        """The steps judged last belong to a future that was undone; what is usual is what it was before them."""
        self._num_judged, self._usual = self._before
        self._forget_doubts()
        self._renew(past_losses, past_grad_norms)

    @property
    def usual(self) -> LossStatistics | None:
        """What is usual by now; None before there is enough history."""
        return self._usual

    @property
    def in_doubt(self) -> bool:
        """One of the last steps judged was high, so that the question might have come with the next."""
        return any(list(self._warned)[-(_ESCALATE_COUNT - 1) :])

    @property
    def explains(self) -> bool:
        """The data were found to be at fault not long ago."""
        return self._num_judged < self._explained_until

    def is_unusual(self, loss: float) -> bool:
        """Far above the usual level, and not explained by the data."""
        usual = self._usual
        if usual is None or not usual.loss_score(loss) > WARNING_SIGMAS:
            return False
        return loss > self._explained or not self.explains

    def watch(self, *, is_unusual: bool) -> bool:
        """One more step was made, of a loss that is unusual or is not; True when the question is due."""
        self._watched.append(is_unusual)
        return is_unusual and sum(self._watched) >= _ESCALATE_COUNT

    def explain(self, loss: float, num_unjudged: int) -> None:
        """Losses up to this one were the data's fault; the last `num_unjudged` steps were not judged yet."""
        self._forget_doubts()
        if self._usual is not None:
            level = self._usual.level
            self._explained = level + _EXPLAINED_EXCESS * (loss - level)
            self._explained_until = self._num_judged + num_unjudged + EXPLAINED_STEPS

    def _forget_doubts(self) -> None:
        self._warned.clear()
        self._watched.clear()

    def state_dict(self) -> dict[str, Any]:
        """Counters, and the statistics as they stood at their last renewal."""
        return {
            "num_judged": self._num_judged,
            "warned": list(self._warned),
            "watched": list(self._watched),
            "explained": self._explained,
            "explained_until": self._explained_until,
            "usual": None if self._usual is None else asdict(self._usual),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._num_judged = int(state["num_judged"])
        self._warned = deque((bool(one) for one in state["warned"]), maxlen=_ESCALATE_STEPS)
        self._watched = deque((bool(one) for one in state["watched"]), maxlen=_ESCALATE_STEPS)
        self._explained = float(state["explained"])
        self._explained_until = int(state["explained_until"])
        self._usual = None if state["usual"] is None else LossStatistics(**state["usual"])
        self._before = (self._num_judged, self._usual)

    def _signals(self, steps: JudgedSteps, place: int) -> list[Signal]:
        loss, norm = float(steps.loss[place]), float(steps.grad_norm[place])
        if not math.isfinite(loss) or math.isinf(norm):
            return [Signal("non_finite", Level.CRITICAL, norm if math.isfinite(loss) else loss, math.inf)]
        usual = self._usual
        if usual is None:
            return []
        signals = _graded("loss", usual.loss_score(loss), CAUTION_SIGMAS, WARNING_SIGMAS)
        if usual.grad_norm and not math.isnan(norm):
            signals += _judge_gradient(norm / usual.grad_norm)
        signals += _judge_forecast(loss, float(steps.forecast_mean[place]), float(steps.forecast_scale[place]))
        if usual.made_at == self._num_judged:
            signals += _judge_window(usual)
        return signals

    def _renew(self, losses: FloatArray, grad_norms: FloatArray) -> None:
        losses = losses[np.isfinite(losses)][-PAST_STEPS:]
        grad_norms = grad_norms[np.isfinite(grad_norms)][-PAST_STEPS:]
        if len(losses) < _MIN_HISTORY:
            self._usual = None
            return
        norms = grad_norms if len(grad_norms) >= _MIN_HISTORY else None
        self._usual = summarize(losses, norms, self._num_judged, self._usual, is_full=len(losses) == PAST_STEPS)

    def _level(self, signals: list[Signal]) -> Level:
        level = max(one.level for one in signals)
        if sum(self._warned) >= _ESCALATE_COUNT:
            level = Level.CRITICAL
        if level is Level.CRITICAL:
            self._warned.clear()
        return level


def _judge_gradient(ratio: float) -> list[Signal]:
    if ratio < VANISHING_RATIO:
        return [Signal("gradient_vanishing", Level.WARNING, ratio, VANISHING_RATIO)]
    return _graded("gradient_explosion", ratio, None, EXPLOSION_RATIO)


def _judge_forecast(loss: float, mean: float, scale: float) -> list[Signal]:
    if math.isnan(mean) and math.isnan(scale):  # nobody forecast this step
        return []
    # a forecast that is itself no number is as wrong as one can be
    usable = math.isfinite(mean) and math.isfinite(scale) and scale > 0.0
    error = abs(loss - mean) / scale if usable else math.inf
    return _graded("prediction_error", error, CAUTION_SIGMAS, WARNING_SIGMAS)


def _judge_window(usual: LossStatistics) -> list[Signal]:
    return _graded("oscillation", usual.oscillation, None, _OSCILLATION_SIGMAS)


def _graded(name: str, value: float, caution: float | None, warning: float) -> list[Signal]:
    """One signal at the higher threshold that `value` exceeds, if any."""
    if value > warning:
        return [Signal(name, Level.WARNING, value, warning)]
    if caution is not None and value > caution:
        return [Signal(name, Level.CAUTION, value, caution)]
    return []
