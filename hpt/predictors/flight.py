"""A proposal whose outcome is not known yet, with everything that was said when it was made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpt.learned.facts import FloatArray
from hpt.learned.forecast import Moment
from hpt.predictors.prequential import moment_of, moment_state


@dataclass(frozen=True, slots=True)
class Flight:
    """What an outcome will be held against.

    Attributes:
        step: net updates at the proposal.
        moment: state then.
        noise: unit of values then, in the loss's own unit.
        raw: the model's probability of a good outcome.
        confidence: the same, calibrated, as proposed.
        values: (mean, sd) of every arm's value by model, in units of `noise`.
    """

    step: int
    moment: Moment
    noise: float
    raw: float
    confidence: float
    values: dict[str, list[tuple[float, float]]]

    def said_of(self, arm: int) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of one arm's value by model."""
        return {name: values[arm] for name, values in self.values.items()}

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "step": self.step,
            "moment": moment_state(self.moment),
            "noise": self.noise,
            "raw": self.raw,
            "confidence": self.confidence,
            "values": {name: [list(pair) for pair in pairs] for name, pairs in self.values.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Flight":
        """Inverse of `state_dict`."""
        values = {
            str(name): [(float(mean), float(sd)) for mean, sd in pairs] for name, pairs in state["values"].items()
        }
        return cls(
            step=int(state["step"]),
            moment=moment_of(state["moment"]),
            noise=float(state["noise"]),
            raw=float(state["raw"]),
            confidence=float(state["confidence"]),
            values=values,
        )


def spoken(values: Mapping[str, tuple[FloatArray, FloatArray]]) -> dict[str, list[tuple[float, float]]]:
    """Means and standard deviations by model, as pairs by arm."""
    return {name: list(zip(means.tolist(), sds.tolist(), strict=True)) for name, (means, sds) in values.items()}
