"""Scores of beliefs about the worth of policies, against values known beforehand."""

import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from hpt.learned.belief import Belief

VALUE_SCORES = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "value_scores.py"))
Scores, documents, nll = (VALUE_SCORES[name] for name in ("Scores", "documents", "nll"))
WORTHS = [np.array([0.10, -0.20]), np.array([-0.10, 0.20]), np.array([-0.10, -0.10])]
"""Of two policies in three runs: each is best in one, and none in the third."""
NAMES = ("half", "full")
SURE = 1e-6 * np.eye(2)


def scored(*beliefs: Belief, cost: float = 0.0) -> Any:
    scores = Scores()
    for belief, worth in zip(beliefs, WORTHS, strict=True):
        scores.add(belief, cost, worth)
    return scores


def always(mean: list[float]) -> Any:
    return scored(*[Belief(np.array(mean), SURE)] * 3)


def test_density_is_that_of_a_normal_distribution() -> None:
    """Scipy's, with the least variance added, over the policies."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 3))
    belief = Belief(rng.normal(size=3), root @ root.T)
    worth = rng.normal(size=3)
    expected = multivariate_normal(belief.mean, belief.covariance + VALUE_SCORES["LEAST_VARIANCE"] * np.eye(3)).logpdf(
        worth
    )
    assert nll(belief, worth) == pytest.approx(-expected / 3)


def test_who_knows_the_worth_recovers_the_whole_gap_and_the_best_fixed_policy_none() -> None:
    """The fixed one is none here, worth 0: half is worth -.033 on average, full the same."""
    models = documents(
        {"prior": always([0.0, 0.1]), "oracle": scored(*[Belief(w, SURE) for w in WORTHS])}, WORTHS, NAMES
    )
    assert (models["best_fixed"], models["fixed_worth"]) == ("none", 0.0)
    assert models["best_worth"] == pytest.approx(0.1)
    assert models["models"]["oracle"]["gap_recovered"] == pytest.approx(1.0)
    assert models["models"]["prior"]["worth"] == pytest.approx(-0.1 / 3)
    assert documents({"prior": always([-1.0, -1.0])}, WORTHS, NAMES)["models"]["prior"]["gap_recovered"] == 0.0


def test_what_measuring_took_is_taken_off() -> None:
    """Five hundredths of each run, of a worth of a tenth on average."""
    knows = scored(*[Belief(w, SURE) for w in WORTHS], cost=0.05)
    found = documents({"prior": knows}, WORTHS, NAMES)["models"]["prior"]
    assert found["worth"] == pytest.approx(0.1 - 0.05)
    assert found["gap_recovered"] == pytest.approx(0.5)


def test_density_is_held_against_the_priors_run_by_run() -> None:
    """The mean of the paired differences, with its standard error."""
    vague, bad = scored(*[Belief(np.zeros(2), np.eye(2))] * 3), always([0.0, 0.0])
    found = documents({"prior": vague, "other": bad}, WORTHS, NAMES)["models"]
    differences = np.array(bad.nlls) - np.array(vague.nlls)
    assert found["prior"]["nll_over_prior"] == {"value": 0.0, "error": 0.0}
    assert found["other"]["nll_over_prior"]["value"] == pytest.approx(differences.mean())
    assert found["other"]["nll_over_prior"]["error"] == pytest.approx(differences.std(ddof=1) / math.sqrt(3))


def test_a_model_that_tells_no_spread_is_judged_by_its_choices_alone() -> None:
    """A bandit's means: no density, no probability."""
    found = documents(
        {"prior": always([0.0, 0.0]), "bandit": scored(*[Belief(w, np.zeros((2, 2))) for w in WORTHS])}, WORTHS, NAMES
    )
    bandit = found["models"]["bandit"]
    assert (bandit["nll"], bandit["nll_over_prior"], bandit["reliability"]) == (None, None, None)
    assert bandit["gap_recovered"] == pytest.approx(1.0)


def test_the_brier_score_of_who_is_sure_and_right_is_zero() -> None:
    """Six probabilities, of two policies in three runs."""
    found = documents({"prior": scored(*[Belief(w, SURE) for w in WORTHS])}, WORTHS, NAMES)["models"]["prior"]
    assert found["reliability"]["count"] == 6
    assert found["reliability"]["brier"] == pytest.approx(0.0, abs=1e-9)
    assert found["reliability"]["sample_rate_brier"] == pytest.approx(2 / 6 * 4 / 6)
