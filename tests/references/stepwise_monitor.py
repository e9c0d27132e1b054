"""The divergence monitor asked about one step at a time, with the history that the trainer would keep."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hpt.control.divergence import DivergenceMonitor, JudgedSteps, Level, Signal
from hpt.history import PAST_STEPS


@dataclass(frozen=True)
class Said:
    """What the monitor says of one step."""

    level: Level
    signals: tuple[Signal, ...] = ()


class StepwiseMonitor:
    """Judges steps one by one; each stands at once."""

    def __init__(self) -> None:
        self.inner = DivergenceMonitor()
        self.losses, self.grad_norms = np.zeros(0), np.zeros(0)

    def check(
        self, loss: float, forecast: float | None = None, scale: float | None = None, grad_norm: float | None = 1.0
    ) -> Said:
        """Judge one step and remember it; None where there is no forecast or norm."""
        numbers = [np.nan if one is None else one for one in (loss, grad_norm, forecast, scale)]
        steps = JudgedSteps(*(np.array([one]) for one in numbers))
        alarms = self.inner.judge(self.losses, self.grad_norms, steps)
        self.losses = _extended(self.losses, loss)
        self.grad_norms = _extended(self.grad_norms, numbers[1])
        return Said(alarms[0].level, alarms[0].signals) if alarms else Said(Level.NORMAL)

    def twin(self, state: dict[str, Any]) -> "StepwiseMonitor":
        """Another with this one's history and the given state."""
        other = StepwiseMonitor()
        other.inner.load_state_dict(state)
        other.losses, other.grad_norms = self.losses.copy(), self.grad_norms.copy()
        return other


def _extended(past: np.ndarray, number: float) -> np.ndarray:
    return np.append(past, number)[-PAST_STEPS:] if np.isfinite(number) else past
