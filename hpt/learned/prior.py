"""What jumps were worth in stored runs: the belief that a run begins with, and how to read its forks.

`prior.json` is written by `scripts/fit_prior.py` from runs made by `scripts/measure_policies.py`; it names the runs
behind every entry. A run of a kind that was measured begins with that kind's mean; one whose optimizer was measured on
other models, with its family's; any other with the mean of all, each with the spread of what was measured. Where jumps
were measured to pay only if they end early, the kind's entry says when, and its worths are those of jumps that do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hpt.history import FloatArray
from hpt.jump.policy import POLICIES
from hpt.learned.belief import Belief
from hpt.optimizers.traits import RunTraits

PATH = Path(__file__).with_name("prior.json")
ANY = "any"


@dataclass(frozen=True, slots=True)
class ForkReading:
    """How what forks measure goes with what a policy turns out to be worth: z = offset + scale theta + error.

    z is the value measured, as loss saved a jump, times the jumps of a whole window, over the loss's fall per e-fold.

    Attributes:
        num_jumps: cycles with a jump in the forks that this was fitted to.
        settle_steps: steps after them.
        offset: (A,) by policy.
        scale: (A,).
        variance: (A,) of the error.
    """

    num_jumps: int
    settle_steps: int
    offset: FloatArray
    scale: FloatArray
    variance: FloatArray

    def worth(self, place: int, value: float, value_se: float, per_loss: float) -> tuple[float, float]:
        """Measured theta of a policy, and the variance of its error.

        Args:
            place: of the policy.
            value: loss saved a jump.
            value_se: its standard error.
            per_loss: jumps of a window over the loss's fall per e-fold.
        """
        measured = (value * per_loss - self.offset[place]) / self.scale[place]
        return measured, (self.variance[place] + (value_se * per_loss) ** 2) / self.scale[place] ** 2

    def expected_variance(self, place: int) -> float:
        """Of the error of theta, before the fork is made."""
        return float(self.variance[place] / self.scale[place] ** 2)


@dataclass(frozen=True, slots=True)
class Prior:
    """One entry.

    Attributes:
        name: of the kind, the family, or `ANY`.
        belief: about the policies' worth.
        num_runs: settings behind it.
        window_end_frac: progress at which its jumps ended; None: where the preset's do.
    """

    name: str
    belief: Belief
    num_runs: int
    window_end_frac: float | None = None


def prior_of(traits: RunTraits) -> Prior:
    """The most specific entry there is for a run."""
    entries = _document()["entries"]
    name = next(one for one in (traits.kind, traits.family, ANY) if one in entries)
    entry = entries[name]
    belief = Belief(np.array(entry["mean"]), np.array(entry["covariance"]))
    return Prior(name, belief, len(entry["runs"]), entry.get("window_end_frac"))


def fork_reading() -> ForkReading:
    """How forks are made and read."""
    return reading_of(_document()["forks"])


def reading_of(forks: Mapping[str, Any]) -> ForkReading:
    """As it is stored."""
    arrays = {name: np.array(forks[name]) for name in ("offset", "scale", "variance")}
    return ForkReading(num_jumps=int(forks["num_jumps"]), settle_steps=int(forks["settle_steps"]), **arrays)


@cache
def _document() -> dict[str, Any]:
    document = json.loads(PATH.read_text(encoding="utf-8"))
    assert document["policies"] == list(POLICIES), "prior.json is of other policies; run scripts/fit_prior.py"
    return document
