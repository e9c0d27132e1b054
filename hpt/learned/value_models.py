"""Models of what the policies are worth to a run, before its own forks.

    prior   the prior of the run's kind, whatever its state
    ridge   that, corrected linearly by the run's 64 features in units of their own
    rssm    that, corrected linearly by the latent of a frozen RSSM over the run's ticks (`run_encoder`)

The two corrections are Bayesian linear regressions fitted on stored runs by `scripts/fit_values.py`, on what the prior
of the kind leaves over; which model speaks by default was decided by their scores on runs that were held out.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from hpt.errors import PrerequisiteError
from hpt.history import FloatArray
from hpt.jump.policy import POLICIES
from hpt.learned.belief import Belief
from hpt.learned.forecast_model import Vector
from hpt.learned.prior import Prior, prior_of
from hpt.learned.run_encoder import RunEncoder
from hpt.numerics.stateful import Stateful
from hpt.optimizers.traits import RunTraits

PATH = Path(__file__).with_name("values.safetensors")
PSEUDO_RUNS = 8.0  # until that many are fitted on, what a correction leaves over is mostly what the prior does
INPUT_CLIP = 4.0  # standard deviations over the stored runs: beyond, a run is unlike them


class ValueModel(Protocol):
    """Says what is believed about a run in a given state.

    Attributes:
        name: in settings and scores.
        basis: what the belief rests on, in a few words.
    """

    name: str
    basis: str

    def tick(self, features: Vector, actions: Vector) -> None:
        """Take in n ticks: features (n, 64) on the run's own scale, the actions (n, 3) that led there."""
        ...

    def belief(self, raw: FloatArray) -> Belief:
        """Worth of every policy; `raw` (64,) are the features in units of their own."""
        ...

    def describe(self) -> dict[str, Any]:
        """What the belief rests on, for run.json."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        ...

    def load_state_dict(self, state: Any) -> None:
        """Inverse of `state_dict`."""
        ...


class PriorValues(Stateful):
    """The prior of the run's kind.

    Args:
        traits: of the run.
        prior: another than the shipped one's entry.
    """

    name = "prior"

    def __init__(self, traits: RunTraits, prior: Prior | None = None) -> None:
        self._traits = traits
        self.prior = prior_of(traits) if prior is None else prior
        other = "" if self.prior.name == traits.kind else f" of {self.prior.name}"
        end = self.prior.window_end_frac
        early = "" if end is None else f", whose jumps ended at {end:.0%}"
        self.basis = f"{traits.kind}, prior of {self.prior.num_runs} runs{other}{early}"

    def tick(self, features: Vector, actions: Vector) -> None:
        """The state of the run does not matter."""
        del features, actions

    def belief(self, raw: FloatArray) -> Belief:
        """The same at any time."""
        del raw
        return self.prior.belief

    def describe(self) -> dict[str, Any]:
        """Kind, entry of the prior, runs behind it, end of their window, mean and standard deviation by policy."""
        belief = self.prior.belief
        return {
            "kind": self._traits.kind,
            "entry": self.prior.name,
            "num_runs": self.prior.num_runs,
            "window_end_frac": self.prior.window_end_frac,
            "means": dict(zip(POLICIES, map(float, belief.mean), strict=True)),
            "sds": {name: belief.sd(place) for place, name in enumerate(POLICIES)},
        }


@dataclass(frozen=True, slots=True)
class Correction:
    """Linear regression of what the prior leaves over, as a distribution.

    Attributes:
        centre, scale: (n,) mean and standard deviation of the inputs over the stored runs.
        weights: (n + 1, A), the intercept first.
        inverse: (n + 1, n + 1), of the penalised information of the inputs.
        left: (A, A) covariance of what the regression leaves over.
    """

    centre: FloatArray
    scale: FloatArray
    weights: FloatArray
    inverse: FloatArray
    left: FloatArray

    def design(self, inputs: FloatArray) -> FloatArray:
        """(..., n + 1) of inputs (..., n)."""
        standard = np.clip((inputs - self.centre) / self.scale, -INPUT_CLIP, INPUT_CLIP)
        return np.concatenate((np.ones((*standard.shape[:-1], 1)), standard), axis=-1)

    def corrected(self, mean: FloatArray, inputs: FloatArray) -> Belief:
        """Belief about a run of these inputs (n,), given its kind's mean (A,)."""
        row = self.design(inputs)
        return Belief(mean + row @ self.weights, self.left * (1.0 + float(row @ self.inverse @ row)))


def fit_correction(inputs: FloatArray, residuals: FloatArray, penalty: float, spread: FloatArray) -> Correction:
    """Ridge regression of residuals (N, A) on inputs (N, n).

    Args:
        inputs: of stored runs; what does not vary is left out by its scale.
        residuals: worth less the prior's mean.
        penalty: prior precision of the weights, in runs; that of the intercept is 1.
        spread: (A, A) the prior's covariance, which counts as PSEUDO_RUNS of what is left over.
    """
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
    size, num_policies = inputs.shape[1] + 1, residuals.shape[1]
    blank = Correction(
        centre, np.where(scale > 0.0, scale, np.inf), np.zeros((size, num_policies)), np.eye(size), np.eye(num_policies)
    )
    design = blank.design(inputs)
    information = design.T @ design + np.diag([1.0] + [penalty] * (size - 1))
    inverse = np.linalg.inv(information).astype(np.float64, copy=False)
    weights = inverse @ design.T @ residuals
    left = residuals - design @ weights
    spare = max(0.0, len(inputs) - float(np.trace(design @ inverse @ design.T)))
    covariance = (PSEUDO_RUNS * spread + left.T @ left) / (PSEUDO_RUNS + spare)
    return Correction(blank.centre, blank.scale, weights, inverse, covariance)


class RidgeValues(PriorValues):
    """The prior, corrected by the features."""

    name = "ridge"

    def __init__(self, traits: RunTraits, prior: Prior | None = None, correction: Correction | None = None) -> None:
        super().__init__(traits, prior)
        self._correction = load_correction(self.name) if correction is None else correction
        self.basis += ", corrected by features"

    def belief(self, raw: FloatArray) -> Belief:
        """By the present features."""
        return self._correction.corrected(self.prior.belief.mean, raw)


class RSSMValues(PriorValues):
    """The prior, corrected by the latent of an RSSM that was trained on stored runs."""

    name = "rssm"
    _state = ("_encoder",)

    def __init__(
        self,
        traits: RunTraits,
        prior: Prior | None = None,
        correction: Correction | None = None,
        weights: dict[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__(traits, prior)
        self._correction = load_correction(self.name) if correction is None else correction
        self._encoder = RunEncoder(load_world_model() if weights is None else weights)
        self.basis += ", corrected by the latent"

    def tick(self, features: Vector, actions: Vector) -> None:
        """Filter them."""
        self._encoder.tick(features, actions)

    def belief(self, raw: FloatArray) -> Belief:
        """By the present latent."""
        del raw
        return self._correction.corrected(self.prior.belief.mean, self._encoder.latent().astype(np.float64))


MODELS: dict[str, type[PriorValues]] = {one.name: one for one in (PriorValues, RidgeValues, RSSMValues)}


def build_value_model(name: str, traits: RunTraits) -> ValueModel:
    """The model that the settings name.

    Raises:
        PrerequisiteError: it is learned, and its weights are not shipped.
    """
    return MODELS[name](traits)


def load_correction(name: str) -> Correction:
    """The shipped correction of a model.

    Raises:
        PrerequisiteError: there is none.
    """
    stored = _stored()
    fields = ("centre", "scale", "weights", "inverse", "left")
    return Correction(**{field: stored[f"{name}.{field}"].double().numpy() for field in fields})


def load_world_model() -> dict[str, torch.Tensor]:
    """Weights of the shipped RSSM, by name."""
    return {key.removeprefix("world."): one for key, one in _stored().items() if key.startswith("world.")}


def _stored() -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file  # noqa: PLC0415 (only learned models read it)

    if not PATH.exists():
        raise PrerequisiteError(
            f"value.model names a learned model, whose weights {PATH.name} are not shipped; use value.model = 'prior'"
        )
    return load_file(PATH)
