"""Is the run in trouble: seven signals from loss, forecast and gradient norm, each with a level.

Every value is judged against the past before it joins it. What is usual (`control/reference.py`) is renewed every
`_REFRESH_STEPS` steps, which keeps the check cheap.

    loss                one-sided score: only a rise above the recent level counts
    gradient_explosion  norm over its running median; critical at ten times the ratio of the warning
    gradient_vanishing  the same, from below
    non_finite          NaN or infinity in loss or gradient norm
    prediction_error    |loss - forecast| in units of the forecast's scale
    oscillation         too many turning points for independent noise, while the swings grow
    plateau             slope within two standard errors of zero; information, which raises no level

Oscillation and plateau are about a whole window, so they are reported once a renewal. Warnings that say the run itself
gets worse (loss, explosion, oscillation) become critical when `_ESCALATE_COUNT` of the last `_ESCALATE_STEPS` steps
carry one: going back is what cures them. A dead gradient or a poor forecast is not cured by going back.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from typing import Any

from hpt.config import DivergenceConfig
from hpt.control.reference import Reference, summarize

_MIN_HISTORY = 32  # steps of silence; fewer give a spread too uncertain for a z-score
_REFRESH_STEPS = 8
_OSCILLATION_SIGMAS = 3.0  # turning points above independent noise: 1 window in 700
_PLATEAU_SIGMAS = 2.0
_CRITICAL_EXPLOSION = 10.0  # times explosion_ratio
_ESCALATE_COUNT = 3
_ESCALATE_STEPS = 6  # not all of them: every other step of an oscillation is low


class Level(IntEnum):
    """How bad it is, in order."""

    NORMAL = 0
    CAUTION = 1
    WARNING = 2
    CRITICAL = 3


class Action(StrEnum):
    """What the trainer does about a level."""

    CONTINUE = "continue"
    SHRINK_HORIZON = "shrink_horizon"
    FORCE_FULL = "force_full"
    ROLL_BACK = "roll_back"


ACTIONS: dict[Level, Action] = {
    Level.NORMAL: Action.CONTINUE,
    Level.CAUTION: Action.SHRINK_HORIZON,
    Level.WARNING: Action.FORCE_FULL,
    Level.CRITICAL: Action.ROLL_BACK,
}
_GETS_WORSE = frozenset({"loss", "gradient_explosion", "oscillation"})
_INFORMATION = frozenset({"plateau"})


@dataclass(frozen=True, slots=True)
class Signal:
    """One test that fired: the value that was seen and the threshold it crossed."""

    name: str
    level: Level
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worst level among the signals (information aside), escalation included, and its action."""

    level: Level
    signals: tuple[Signal, ...]
    action: Action


_NORMAL = Verdict(Level.NORMAL, (), Action.CONTINUE)


class DivergenceMonitor:
    """Judges each full step; silent, except for non-finite numbers, until it has enough history."""

    def __init__(self, config: DivergenceConfig) -> None:
        self._config = config
        self._losses: deque[float] = deque(maxlen=config.history_steps)
        self._grad_norms: deque[float] = deque(maxlen=config.history_steps)
        self._min_history = min(_MIN_HISTORY, config.history_steps)
        self._step = 0
        self._warned: deque[bool] = deque(maxlen=_ESCALATE_STEPS)
        self._reference: Reference | None = None

    def check(
        self,
        loss: float,
        predicted_loss: float | None,
        predicted_scale: float | None,
        grad_norm: float | None,
    ) -> Verdict:
        """Judge one step and then remember it.

        Args:
            loss: loss of the step's batch.
            predicted_loss: forecast made for it beforehand, if any.
            predicted_scale: that forecast's standard deviation; needed with `predicted_loss`.
            grad_norm: global norm before clipping; None where there is none to judge, such as a step that a
                GradScaler skips on purpose.
        """
        signals = self._judge(loss, predicted_loss, predicted_scale, grad_norm)
        self._remember(loss, grad_norm)
        self._warned.append(any(one.level >= Level.WARNING and one.name in _GETS_WORSE for one in signals))
        return self._verdict(signals) if signals else _NORMAL

    def rolled_back(self, num_steps: int) -> None:
        """Forget the last `num_steps` observations: they belong to a future that was undone."""
        for window in (self._losses, self._grad_norms):
            for _ in range(min(num_steps, len(window))):
                window.pop()
        self._warned.clear()
        self._renew()

    def state_dict(self) -> dict[str, Any]:
        """Histories, counters, and the reference as it stood at its last renewal."""
        return {
            "losses": list(self._losses),
            "grad_norms": list(self._grad_norms),
            "step": self._step,
            "warned": list(self._warned),
            "reference": None if self._reference is None else asdict(self._reference),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        size = self._config.history_steps
        self._losses = deque((float(one) for one in state["losses"]), maxlen=size)
        self._grad_norms = deque((float(one) for one in state["grad_norms"]), maxlen=size)
        self._step = int(state["step"])
        self._warned = deque((bool(one) for one in state["warned"]), maxlen=_ESCALATE_STEPS)
        self._reference = None if state["reference"] is None else Reference(**state["reference"])

    def _judge(
        self, loss: float, predicted: float | None, scale: float | None, grad_norm: float | None
    ) -> list[Signal]:
        for value in (loss, grad_norm):
            if value is not None and not math.isfinite(value):
                return [Signal("non_finite", Level.CRITICAL, value, math.inf)]
        reference = self._reference
        if reference is None:
            return []
        signals = self._judge_loss(loss, reference)
        if grad_norm is not None and reference.grad_norm:
            signals += self._judge_gradient(grad_norm / reference.grad_norm)
        if predicted is not None and scale is not None:
            signals += self._judge_forecast(loss, predicted, scale)
        if reference.made_at == self._step:
            signals += _judge_window(reference)
        return signals

    def _judge_loss(self, loss: float, reference: Reference) -> list[Signal]:
        config = self._config
        levels = (config.caution_sigmas, config.warning_sigmas, config.critical_sigmas)
        return _graded("loss", reference.loss_score(loss), levels)

    def _judge_gradient(self, ratio: float) -> list[Signal]:
        high, low = self._config.explosion_ratio, self._config.vanishing_ratio
        if ratio < low:
            return [Signal("gradient_vanishing", Level.WARNING, ratio, low)]
        return _graded("gradient_explosion", ratio, (None, high, high * _CRITICAL_EXPLOSION))

    def _judge_forecast(self, loss: float, predicted: float, scale: float) -> list[Signal]:
        # a forecast that is itself no number is as wrong as one can be
        usable = math.isfinite(predicted) and math.isfinite(scale) and scale > 0.0
        error = abs(loss - predicted) / scale if usable else math.inf
        levels = (self._config.caution_sigmas, self._config.warning_sigmas, None)
        return _graded("prediction_error", error, levels)

    def _remember(self, loss: float, grad_norm: float | None) -> None:
        self._step += 1
        if math.isfinite(loss):
            self._losses.append(loss)
        if grad_norm is not None and math.isfinite(grad_norm):
            self._grad_norms.append(grad_norm)
        if self._step % _REFRESH_STEPS == 0:
            self._renew()

    def _renew(self) -> None:
        if len(self._losses) < self._min_history:
            self._reference = None
            return
        enough = len(self._grad_norms) >= self._min_history
        is_full = len(self._losses) == self._losses.maxlen
        norms = self._grad_norms if enough else None
        self._reference = summarize(self._losses, norms, self._step, self._reference, is_full=is_full)

    def _verdict(self, signals: list[Signal]) -> Verdict:
        level = max((one.level for one in signals if one.name not in _INFORMATION), default=Level.NORMAL)
        if sum(self._warned) >= _ESCALATE_COUNT:
            level = Level.CRITICAL
        if level is Level.CRITICAL:
            self._warned.clear()
        return Verdict(level, tuple(signals), ACTIONS[level])


def _judge_window(reference: Reference) -> list[Signal]:
    signals: list[Signal] = []
    if reference.oscillation > _OSCILLATION_SIGMAS:
        signals.append(Signal("oscillation", Level.WARNING, reference.oscillation, _OSCILLATION_SIGMAS))
    if reference.flatness is not None and reference.flatness <= _PLATEAU_SIGMAS:
        signals.append(Signal("plateau", Level.CAUTION, reference.flatness, _PLATEAU_SIGMAS))
    return signals


def _graded(name: str, value: float, thresholds: tuple[float | None, float, float | None]) -> list[Signal]:
    """One signal at the highest (caution, warning, critical) threshold that `value` exceeds, if any."""
    found: list[Signal] = []
    for rank, threshold in enumerate(thresholds, 1):
        if threshold is not None and value > threshold:
            found = [Signal(name, Level(rank), value, threshold)]
    return found
