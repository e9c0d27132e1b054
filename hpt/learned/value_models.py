"""Models of what the policies are worth to a run, before its own forks: by its kind, or by its features as well."""

from typing import Any, Protocol

from hpt.history import FloatArray
from hpt.jump.policy import POLICIES
from hpt.learned.belief import Belief
from hpt.learned.prior import prior_of
from hpt.optimizers.traits import RunTraits


class ValueModel(Protocol):
    """Says what is believed about a run in a given state.

    Attributes:
        name: in settings and scores.
        basis: what the belief rests on, in a few words.
    """

    name: str
    basis: str

    def belief(self, features: FloatArray) -> Belief:
        """Worth of every policy; `features` (64,) are those of `FeatureEncoder.raw`."""
        ...

    def describe(self) -> dict[str, Any]:
        """What the belief rests on, for run.json."""
        ...


class PriorValues:
    """The prior of the run's kind, whatever its state.

    Args:
        traits: of the run.
    """

    name = "prior"

    def __init__(self, traits: RunTraits) -> None:
        self._traits = traits
        self._prior = prior = prior_of(traits)
        self.basis = f"{traits.kind}, prior of {prior.num_runs} runs" + (
            f" of {prior.name}" * (prior.name != traits.kind)
        )

    def belief(self, features: FloatArray) -> Belief:
        """The same at any time."""
        del features
        return self._prior.belief

    def describe(self) -> dict[str, Any]:
        """Kind, entry of the prior, runs behind it, mean and standard deviation by policy."""
        belief = self._prior.belief
        return {
            "kind": self._traits.kind,
            "entry": self._prior.name,
            "num_runs": self._prior.num_runs,
            "means": dict(zip(POLICIES, map(float, belief.mean), strict=True)),
            "sds": {name: belief.sd(place) for place, name in enumerate(POLICIES)},
        }


def build_value_model(name: str, traits: RunTraits) -> ValueModel:
    """The model that the settings name."""
    assert name == PriorValues.name, f"there is no value model {name}"
    return PriorValues(traits)
