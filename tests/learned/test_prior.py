"""The shipped prior: whole, in the order of what is known, wider the less is; and forks read as they were fitted."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpt.jump.policy import NUM_POLICIES, POLICIES
from hpt.learned import prior
from hpt.learned.prior import ANY, PATH, ForkReading, fork_reading, prior_of
from hpt.optimizers.traits import FAMILIES, OTHER, PLAIN, TEXT, RunTraits

SHIPPED: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
STRUCTURES = ("text", "normalised", "plain")
KINDS = [f"{family}-{structure}" for family in (*FAMILIES, OTHER) for structure in STRUCTURES]
PLANTED = ("adam-text", "adam", "muon-plain", ANY)


def test_it_is_of_the_policies_that_there_are() -> None:
    """Names in order; a prior of others is not read."""
    assert SHIPPED["policies"] == list(POLICIES)
    assert SHIPPED["schema_version"] == 1


@pytest.mark.parametrize("name", SHIPPED["entries"])
def test_every_entry_is_a_distribution_with_its_runs(name: str) -> None:
    """A known name, finite numbers by policy, a covariance that is symmetric and positive definite, runs by name."""
    entry = SHIPPED["entries"][name]
    mean, covariance = np.array(entry["mean"]), np.array(entry["covariance"])
    assert name in {ANY, *FAMILIES, OTHER, *KINDS}
    assert mean.shape == (NUM_POLICIES,)
    assert np.isfinite(mean).all()
    np.testing.assert_array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0.0
    assert all(isinstance(run, str) and run for run in entry["runs"])
    assert len(set(entry["runs"])) == len(entry["runs"])
    assert entry["runs"], "an entry without runs is nobody's measurement"


def test_the_less_is_known_the_wider_the_belief() -> None:
    """Policy by policy a family's is at least as wide as its kinds', and that of any run as every family's."""
    widths = {name: np.diag(np.array(entry["covariance"])) for name, entry in SHIPPED["entries"].items()}
    for name, width in widths.items():
        wider = name.partition("-")[0] if "-" in name else ANY
        assert (widths[wider] >= width).all(), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_begins_with_the_most_specific_entry_there_is(kind: str) -> None:
    """Its kind's, else its family's, else that of all; as it is stored."""
    family, _, structure = kind.partition("-")
    found, entries = prior_of(RunTraits(family, structure)), SHIPPED["entries"]
    expected = kind if kind in entries else family if family in entries else ANY
    assert found.name == expected
    assert found.belief.mean.tolist() == entries[expected]["mean"]
    assert found.belief.covariance.tolist() == entries[expected]["covariance"]
    assert found.num_runs == len(entries[expected]["runs"])


@pytest.mark.parametrize(
    ("traits", "expected"),
    [
        (RunTraits("adam", TEXT), "adam-text"),
        (RunTraits("adam", PLAIN), "adam"),
        (RunTraits("muon", PLAIN), "muon-plain"),
        (RunTraits("muon", TEXT), ANY),
        (RunTraits(OTHER, TEXT), ANY),
    ],
)
def test_order_of_what_is_looked_up(monkeypatch: pytest.MonkeyPatch, traits: RunTraits, expected: str) -> None:
    """With entries for some kinds and one family: kind before family before any."""
    size = NUM_POLICIES
    entries = {name: {"mean": [0.0] * size, "covariance": np.eye(size).tolist(), "runs": [name]} for name in PLANTED}
    monkeypatch.setattr(prior, "_document", lambda: {"entries": entries})
    assert prior_of(traits).name == expected


def test_a_belief_of_a_run_is_its_own() -> None:
    """Revising one run's belief leaves what the next one begins with."""
    first = prior_of(RunTraits(OTHER, PLAIN)).belief
    first.mean[:] = 9.0
    assert prior_of(RunTraits(OTHER, PLAIN)).belief.mean.tolist() == SHIPPED["entries"][ANY]["mean"]


def reading(offset: Sequence[float], scale: Sequence[float], variance: Sequence[float]) -> ForkReading:
    return ForkReading(3, 60, np.array(offset), np.array(scale), np.array(variance))


@given(
    theta=st.floats(-1.0, 1.0),
    offset=st.floats(-1.0, 1.0),
    scale=st.floats(0.1, 5.0),
    per_loss=st.floats(1.0, 1000.0),
)
def test_reading_a_fork_undoes_how_worth_shows_in_it(
    theta: float, offset: float, scale: float, per_loss: float
) -> None:
    """A fork that measures z = offset + scale theta without error is read as theta, with the fitted error."""
    fitted = reading([0.0, offset], [1.0, scale], [1.0, 0.3])
    worth, variance = fitted.worth(1, (offset + scale * theta) / per_loss, 0.0, per_loss)
    assert worth == pytest.approx(theta, rel=1e-9, abs=1e-9)
    assert variance == pytest.approx(0.3 / scale**2)
    assert variance == pytest.approx(fitted.expected_variance(1))


def test_a_forks_own_error_adds_to_the_fitted_one() -> None:
    """Var(theta) = (0.3 + (0.001 x 200)^2) / 2^2."""
    _, variance = reading([0.1], [2.0], [0.3]).worth(0, 0.005, 0.001, 200.0)
    assert variance == pytest.approx((0.3 + 0.2**2) / 4.0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_the_errors_of_worth_are_as_large_as_they_are_said_to_be(seed: int) -> None:
    """Drawn as z = offset + scale theta + error, 4000 readings miss theta by the stated variance, within 10 %."""
    rng = np.random.default_rng(seed)
    theta: NDArray[np.float64] = rng.normal(size=4000)
    value = (0.2 + 2.5 * theta + np.sqrt(0.4) * rng.normal(size=4000)) / 150.0 + 0.002 * rng.normal(size=4000)
    fitted = reading([0.2], [2.5], [0.4])
    read = np.array([fitted.worth(0, one, 0.002, 150.0)[0] for one in value])
    expected = (0.4 + 0.3**2) / 2.5**2
    assert float(np.mean((read - theta) ** 2)) == pytest.approx(expected, rel=0.1)


def test_the_shipped_reading_can_be_used() -> None:
    """A number a policy; scales above 0, for worth goes up with what forks measure; variances above 0."""
    shipped = fork_reading()
    for numbers in (shipped.offset, shipped.scale, shipped.variance):
        assert numbers.shape == (NUM_POLICIES,)
        assert np.isfinite(numbers).all()
    assert (shipped.scale > 0.0).all()
    assert (shipped.variance > 0.0).all()
    assert shipped.num_jumps >= 1
    assert shipped.settle_steps >= 4
