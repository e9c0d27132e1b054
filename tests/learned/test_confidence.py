"""Calibration finds the honest probability, and the reliability score tells honest from dishonest."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.learned.confidence import Calibrator, Reliability


def sigmoid(number: float) -> float:
    return 1 / (1 + math.exp(-number))


def cost(calibrator: Calibrator, pairs: list[tuple[float, bool]], prior_rate: float) -> float:
    """What the fit minimises, read off the calibrated probabilities at two points."""
    at = [calibrator.calibrated(0.5), calibrator.calibrated(sigmoid(1.0))]
    intercept = math.log(at[0] / (1 - at[0]))
    slope = math.log(at[1] / (1 - at[1])) - intercept
    return penalised(intercept, slope, pairs, prior_rate)


def penalised(intercept: float, slope: float, pairs: list[tuple[float, bool]], prior_rate: float) -> float:
    total = intercept**2 / (2 * 2.0**2) + (slope - 1) ** 2 / (2 * 0.5**2)
    imagined = [(logit, prior_rate, 4 / 3) for logit in (-2.0, 0.0, 2.0)]
    seen = [(math.log(raw / (1 - raw)), float(outcome), 1.0) for raw, outcome in pairs]
    for logit, outcome, weight in imagined + seen:
        probability = sigmoid(intercept + slope * logit)
        total -= weight * (outcome * math.log(probability) + (1 - outcome) * math.log(1 - probability))
    return total


@settings(max_examples=15, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.floats(0.01, 0.99), st.booleans()), max_size=25),
    prior_rate=st.floats(0.1, 0.9),
)
def test_the_fit_is_the_optimum(pairs: list[tuple[float, bool]], prior_rate: float) -> None:
    """No intercept and non-negative slope on a fine grid has a lower penalised cost than the fitted ones."""
    calibrator = Calibrator(prior_rate)
    for raw, outcome in pairs:
        calibrator.observe(raw, outcome)
    best = min(
        penalised(intercept, slope, pairs, prior_rate)
        for intercept in np.linspace(-4, 4, 41)
        for slope in np.linspace(0, 3, 31)
    )
    assert cost(calibrator, pairs, prior_rate) <= best + 1e-9


def test_before_any_outcome_it_lies_between_raw_and_base_rate() -> None:
    """With a base rate of 0.9 nothing known, a raw 0.5 is lifted, but not all the way."""
    assert 0.5 < Calibrator(0.9).calibrated(0.5) < 0.9
    assert Calibrator(0.5).calibrated(0.5) == pytest.approx(0.5)


def test_distorted_probabilities_are_undone() -> None:
    """Where the true log odds are 0.8 x the raw ones - 1, 256 outcomes bring the error below a third of what it was."""
    generator = np.random.default_rng(0)
    calibrator, raws = Calibrator(0.5), generator.uniform(0.05, 0.95, 256)
    truths = [sigmoid(0.8 * math.log(raw / (1 - raw)) - 1) for raw in raws]
    for raw, truth in zip(raws.tolist(), truths, strict=True):
        calibrator.observe(raw, bool(generator.random() < truth))
    left = np.mean([abs(calibrator.calibrated(raw) - truth) for raw, truth in zip(raws, truths, strict=True)])
    assert left < np.mean(np.abs(raws - truths)) / 3


def test_a_misleading_raw_probability_is_ignored() -> None:
    """When success goes with low raw values, the calibrated value stops depending on raw and becomes the base rate."""
    calibrator = Calibrator(0.5)
    for _ in range(60):
        calibrator.observe(0.9, outcome=False)
        calibrator.observe(0.1, outcome=True)
    assert calibrator.calibrated(0.9) == calibrator.calibrated(0.1) == pytest.approx(0.5, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(pairs=st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), max_size=20))
def test_order_is_kept_and_certainty_avoided(pairs: list[tuple[float, bool]]) -> None:
    """Whatever was seen, a higher raw value never gets a lower probability, and none is 0 or 1."""
    calibrator = Calibrator(0.7)
    for raw, outcome in pairs:
        calibrator.observe(raw, outcome)
    values = [calibrator.calibrated(raw) for raw in (0.0, 0.2, 0.5, 0.9, 1.0)]
    assert values == sorted(values)
    assert values[0] > 0
    assert values[-1] < 1


def test_calibrator_state_continues_bit_for_bit() -> None:
    """Through JSON and back half-way, later probabilities are the same bits; the oldest outcomes are forgotten."""
    generator = np.random.default_rng(1)
    pairs = [(float(raw), bool(generator.random() < raw)) for raw in generator.uniform(size=300)]
    whole, first, second = Calibrator(0.9), Calibrator(0.9), Calibrator(0.9)
    for raw, outcome in pairs[:270]:
        first.observe(raw, outcome)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for raw, outcome in pairs[270:]:
        second.observe(raw, outcome)
    for raw, outcome in pairs[300 - 256 :]:
        whole.observe(raw, outcome)
    assert whole.calibrated(0.3) == second.calibrated(0.3)


def filled(pairs: list[tuple[float, bool]]) -> Reliability:
    reliability = Reliability()
    for probability, outcome in pairs:
        reliability.add(probability, outcome)
    return reliability


def test_brier_scores_by_hand() -> None:
    """Probabilities .8 .6 .3 with outcomes 1 0 1: (.04 + .36 + .49)/3; base rates before 1/2 2/3 2/4; rate 2/3."""
    reliability = filled([(0.8, True), (0.6, False), (0.3, True)])
    assert reliability.brier == pytest.approx((0.04 + 0.36 + 0.49) / 3)
    assert reliability.base_rate_brier == pytest.approx((0.25 + 4 / 9 + 0.25) / 3)
    assert reliability.sample_rate_brier == pytest.approx(2 / 3 * 1 / 3)


def test_an_empty_score_is_unknown() -> None:
    """Without outcomes every score is None and no skill is claimed."""
    empty = Reliability().summary()
    assert empty["brier"] is empty["base_rate_brier"] is empty["sample_rate_brier"] is None
    assert empty["skill"] == "no skill"


@pytest.mark.parametrize(
    ("informed", "count", "verdict"), [(True, 400, "skill"), (False, 400, "no skill"), (True, 19, "no skill")]
)
def test_skill_needs_information_and_evidence(informed: bool, count: int, verdict: str) -> None:
    """Knowing each outcome's odds is skill; always saying the true base rate, or fewer than 20 outcomes, is not."""
    generator = np.random.default_rng(2)
    truths = generator.choice([0.1, 0.9], count)
    pairs = [(float(truth) if informed else 0.5, bool(generator.random() < truth)) for truth in truths]
    assert filled(pairs).skill == verdict


def test_table_counts_every_probability_once() -> None:
    """Ten bins: edges fall into the bin above, 1 into the last; means and frequencies are those of the bin."""
    table = filled([(0.0, False), (0.1, True), (0.15, False), (1.0, True)]).table()
    assert [row["count"] for row in table] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert table[1]["mean_probability"] == pytest.approx(0.125)
    assert table[1]["frequency"] == 0.5
    assert table[2]["frequency"] is None


def test_reliability_state_continues_bit_for_bit() -> None:
    """Through JSON and back half-way, the summary is the same."""
    generator = np.random.default_rng(3)
    pairs = [(float(raw), bool(generator.random() < raw)) for raw in generator.uniform(size=60)]
    second = Reliability()
    second.load_state_dict(json.loads(json.dumps(filled(pairs[:25]).state_dict())))
    for probability, outcome in pairs[25:]:
        second.add(probability, outcome)
    assert second.summary() == filled(pairs).summary()
