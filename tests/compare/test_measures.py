"""Measures of arms whose true ratio is known, on a baseline whose loss is linear in log(length)."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.known_results import OFFSETS, SEEDS, SLOPE, T, baseline, loss_of, make_result, worth

from hpt.compare.measures import measure
from hpt.compare.ratios import excess
from hpt.compare.roster import ARMS
from hpt.statistics import estimate

HYBRID = ARMS["hybrid"]


@settings(deadline=None)  # the first example imports scipy
@given(st.floats(0.72, 1.58))
def test_steps_ratio_is_the_length_stood_for(ratio: float) -> None:
    """An arm that ends where a baseline of ratio x T ends has this ratio in every seed, and the interval is a point."""
    found = measure(HYBRID, baseline(), worth(ratio)).steps_ratio
    assert found.by_seed == pytest.approx([ratio] * len(SEEDS))
    assert (found.value, found.low, found.high) == pytest.approx((ratio, ratio, ratio))


def test_work_ratio_charges_all_work() -> None:
    """Ten per cent more work, probes and forks for example, costs ten per cent of the ratio."""
    found = measure(HYBRID, baseline(), worth(1.32, work=1.1 * T))
    assert found.work_ratio.value == pytest.approx(1.2)
    assert found.backwards_saved == pytest.approx(1320 - 1100)
    assert found.backwards_saved_frac == pytest.approx(220 / 1320)


def test_pairing_removes_what_seeds_have_in_common() -> None:
    """Seeds that differ by much more than the arm does leave the interval a point."""
    assert measure(HYBRID, baseline(), worth(1.01)).steps_ratio.low == pytest.approx(1.01)


def test_interval_is_student_t_of_the_log_ratios() -> None:
    """With seed noise in the arm, the t interval is that of the logarithms by seed."""
    noise = [0.01, -0.02, 0.005, 0.0]
    results = [make_result(loss_of(1.2 * T, seed) + extra, T) for seed, extra in zip(SEEDS, noise, strict=True)]
    found = measure(HYBRID, baseline(), results).steps_ratio
    logs = [math.log(1.2) - extra / SLOPE for extra in noise]
    known = estimate(logs)
    assert known.t_low is not None
    assert found.to_document()["t_low"] == pytest.approx(math.exp(known.t_low))
    assert found.value == pytest.approx(math.exp(np.mean(logs)))


def test_loss_changes_at_equal_length_work_and_gradients() -> None:
    """At equal work a baseline of 1.1 T is the opponent, so less is gained than at equal length."""
    found = measure(HYBRID, baseline(), worth(1.3, work=1.1 * T))
    assert found.loss_change.value == pytest.approx(-SLOPE * math.log(1.3))
    for change in (found.loss_change_equal_work, found.loss_change_equal_gradients):
        assert change is not None
        assert change.value == pytest.approx(-SLOPE * math.log(1.3 / 1.1))


def test_beyond_the_longest_baseline_the_ratio_is_a_bound() -> None:
    """No extrapolation."""
    found = measure(HYBRID, baseline(), worth(2.5)).steps_ratio
    assert (found.value, found.side) == (pytest.approx(1.6), "above")


def test_a_diverged_run_counts_as_the_worst() -> None:
    """One seed without a loss: ratio 0, never left out."""
    results = [make_result(math.inf, 40), *worth(1.3)[1:]]
    found = measure(HYBRID, baseline(), results)
    assert found.work_ratio.value == 0.0
    assert found.work_ratio.high is None
    assert found.worst_seed["seed"] == SEEDS[0]
    assert found.num_diverged == 1
    assert found.loss_change.value == math.inf


def test_lengths_at_which_the_baseline_diverged_are_left_out() -> None:
    """The curve is made of the others; without T there is none."""
    whole = baseline()
    broken = {1300: (make_result(math.inf, 1300), *whole.at[1300][1:])}
    assert sorted(type(whole)(steps=T, seeds=SEEDS, at={**whole.at, **broken}).losses) == [700, 1000, 1600]
    assert not type(whole)(steps=1300, seeds=SEEDS, at={**whole.at, **broken}).is_usable


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, 0.6), ({"alone": False}, None), ({"cpu_s": 0.1}, None), ({"environment": {"cpu_model": "another"}}, None)],
    ids=["alone", "in company", "disturbed", "elsewhere"],
)
def test_wall_ratio_comes_only_from_undisturbed_cells(changes: dict[str, Any], expected: float | None) -> None:
    """An arm worth 1.2 T whose update takes twice as long: 0.6; nothing in company, disturbed or elsewhere."""
    values: dict[str, Any] = {"train_s": 20.0, "cpu_s": 20.0} | changes
    found = measure(HYBRID, baseline(), worth(1.2, **values)).wall_ratio
    assert (None if found is None else found.value) == (None if expected is None else pytest.approx(expected))


def test_relabelled_work_is_counted_as_claimed() -> None:
    """The planted arm trains 1.3 T and calls it T: its work and wall-clock ratios are 1.3, too."""
    found = measure(ARMS["planted"], baseline(), worth(1.3, work=1.3 * T))
    assert found.work_ratio.value == pytest.approx(1.3)
    assert found.wall_ratio is not None
    assert found.wall_ratio.value == pytest.approx(1.3)


def test_fewer_steps_gain_nothing_for_their_work() -> None:
    """Skipping a fifth of the steps is 0.8 at face value and exactly 1 for the work done."""
    found = measure(ARMS["fewer-steps"], baseline(), worth(0.8, work=0.8 * T))
    assert found.steps_ratio.value == pytest.approx(0.8)
    assert found.work_ratio.value == pytest.approx(1.0)


@pytest.mark.parametrize(("rise", "expected"), [(0.015, True), (0.03, False)])
def test_never_hurts_allows_one_per_cent_of_the_loss(rise: float, expected: bool) -> None:
    """The loss at T is about 1.62, so 0.016 is allowed on average."""
    results = [make_result(loss_of(T, seed) + rise, T) for seed in SEEDS]
    assert measure(HYBRID, baseline(), results).never_hurts is expected


def test_never_hurts_looks_at_the_worst_seed() -> None:
    """One seed above 1 % plus twice the spread of the seeds, the others better."""
    limit = 0.01 * 1.62 + 2 * float(np.std(list(OFFSETS.values()), ddof=1))
    results = [make_result(loss_of(T, seed) - 0.02, T) for seed in SEEDS]
    results[1] = make_result(loss_of(T, 1) + 1.1 * limit, T)
    assert measure(HYBRID, baseline(), results).never_hurts is False


def test_memory_is_that_of_the_arm_over_the_baseline() -> None:
    """Means over seeds; without a device there is no device ratio."""
    found = measure(HYBRID, baseline(), worth(1.0, peak_host_bytes=1500))
    assert (found.peak_host_ratio, found.peak_device_ratio) == (1.5, None)


def test_excess_is_the_ratio_of_ratios() -> None:
    """1.3 over 1.04 is 1.25, seed by seed."""
    one, other = (measure(HYBRID, baseline(), worth(ratio)).work_ratio for ratio in (1.3, 1.04))
    assert excess(one, other).by_seed == pytest.approx([1.25] * len(SEEDS))
