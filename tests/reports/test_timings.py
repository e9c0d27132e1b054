"""Statistics of stored timings against other ways to compute them."""

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_reports.evidence import gather
from hpt_reports.timings import SCENARIOS, by_preset, horizon_line, line_through, median_interval, steady_share

POSITIVE = st.floats(1e-9, 1e3)


@given(slope=st.floats(1e-7, 1e-3), intercept=st.floats(0, 1e-2))
def test_a_straight_line_is_found_exactly(slope: float, intercept: float) -> None:
    """Seven sizes on a line give it back, with all the variance explained."""
    sizes = [1.0, 5.0, 10.0, 15.0, 25.0, 50.0, 75.0]
    line = line_through(sizes, [intercept + slope * size for size in sizes])
    assert line is not None
    assert math.isclose(line.slope_s, slope, rel_tol=1e-6)
    assert math.isclose(line.intercept_s, intercept, rel_tol=1e-6, abs_tol=1e-9)
    assert line.r_squared > 1 - 1e-9


def test_two_sizes_make_no_line() -> None:
    """A slope through two points has no fit to speak of."""
    assert line_through([1.0, 5.0], [1.0, 2.0]) is None


@given(processes=st.lists(st.lists(POSITIVE, min_size=1, max_size=5), min_size=2, max_size=5))
def test_an_interval_lies_within_the_values(processes: list[list[float]]) -> None:
    """Whatever the processes' sizes, and the same every time."""
    found = median_interval(processes)
    assert found is not None
    every = [value for one in processes for value in one]
    assert min(every) <= found[0] <= found[1] <= max(every)
    assert median_interval(processes) == found


def test_a_single_process_has_no_interval() -> None:
    """Its uncertainty cannot be told from its own values."""
    assert median_interval([[1.0, 2.0, 3.0]]) is None


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Eight processes of ten values: the true median lies inside in most of two hundred draws (95 % nominal)."""
    draw = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        centres = draw.normal(10.0, 0.2, 8)
        found = median_interval([draw.normal(one, 0.1, 10).tolist() for one in centres])
        assert found is not None
        hits += found[0] <= 10.0 <= found[1]
    assert hits >= 170  # a percentile bootstrap of eight groups is a little narrow: 92 % here


def test_rows_agree_with_the_standard_library(stored: Path) -> None:
    """Median, mean and spread of every scenario."""
    timings = by_preset(gather(stored))["default"]
    for name in SCENARIOS:
        values = timings.values.loc[timings.values["scenario"] == name, "value_s"].tolist()
        row = timings.rows.loc[name]
        assert row["median_s"] == pytest.approx(statistics.median(values))
        assert row["mean_s"] == pytest.approx(statistics.fmean(values))
        assert row["cv_frac"] == pytest.approx(statistics.stdev(values) / statistics.fmean(values))
    below, total = steady_share(timings)
    assert total == len(SCENARIOS)
    assert below == sum(timings.rows.loc[list(SCENARIOS), "cv_frac"] < 0.05)


def test_more_units_cost_more(stored: Path) -> None:
    """The stored sums grow with their units, so the line rises."""
    line = horizon_line(by_preset(gather(stored))["reference"])
    assert line is not None
    assert line.slope_s > 0
