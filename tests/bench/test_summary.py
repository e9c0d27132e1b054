"""The numbers of the table against Python's own statistics, the marks of noise, and the fitted line."""

import csv
import dataclasses
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from references.timings import measured

from hpt.bench.summary import BenchRow, low_variance, scalings, summarise, to_csv

times = st.floats(1e-9, 10.0)


@given(st.lists(st.lists(times, min_size=2, max_size=4), min_size=2, max_size=5))
def test_the_numbers_are_those_of_the_statistics_module(processes: list[list[float]]) -> None:
    """All values of all processes together."""
    values = [value for process in processes for value in process]
    row = summarise(measured("g/a", processes, num_units=4))
    assert row.median_s == pytest.approx(statistics.median(values))
    assert row.mean_s == pytest.approx(statistics.mean(values))
    assert row.std_s == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-12)
    assert row.unit_cost_s == pytest.approx(statistics.median(values) / 4)
    assert (row.num_values, row.num_processes) == (len(values), len(processes))
    inclusive = statistics.quantiles(values, n=20, method="inclusive")
    assert (row.p5_s, row.p95_s) == pytest.approx((inclusive[0], inclusive[-1]))


STEADY = [[1.0, 1.001, 0.999]] * 6
MARKS = {
    "steady": (STEADY, 0.1, ()),
    "spread": ([[1.0, 1.2], [0.8, 1.0]], 0.1, ("noisy",)),
    "one far value": ([[1.0] * 40, [1.0] * 39 + [1.6]], 0.1, ("outliers", "too few")),
    "short intervals": (STEADY, 9e-4, ("too short",)),
    "few processes": ([[1.0, 1.0], [1.04, 1.04]], 0.1, ("too few",)),
}


@pytest.mark.parametrize(("processes", "raw_s", "marks"), MARKS.values(), ids=MARKS)
def test_unstable_results_are_marked(processes: list[list[float]], raw_s: float, marks: tuple[str, ...]) -> None:
    """Each rule alone, as far as it comes alone."""
    measurement = dataclasses.replace(measured("g/a", processes), shortest_raw_s=raw_s)
    assert summarise(measurement).marks == marks


def test_the_share_of_low_variance_is_counted() -> None:
    """Below 5 %, the limit excluded; nothing measured is no share."""
    rows = [summarise(measured(f"g/{name}", [[1.0, 1.0 + off]])) for name, off in (("a", 0.01), ("b", 0.2))]
    found = low_variance(rows)
    assert (found["num_below"], found["num_scenarios"], found["below_frac"], found["above"]) == (1, 2, 0.5, ["g/b"])
    assert low_variance([])["below_frac"] is None


def test_the_table_as_csv_has_the_same_numbers() -> None:
    """A line a scenario, lists in one cell."""
    row = summarise(measured("g/a", [[1.0, 2.0], [1.5, 1.2]]))
    (read,) = csv.DictReader(to_csv([row]).splitlines())
    assert float(read["median_s"]) == row.median_s
    assert read["marks"] == "; ".join(row.marks)


def rows_on(intercept: float, slope: float, sizes: tuple[int, ...], unit: str = "step") -> list[BenchRow]:
    return [
        summarise(measured(f"g/{size}", [[intercept + slope * size]] * 2, num_units=size, unit=unit)) for size in sizes
    ]


@given(st.floats(1e-6, 1e-3), st.floats(1e-7, 1e-3))
def test_a_line_is_found(intercept: float, slope: float) -> None:
    """Exact on exact data."""
    (found,) = scalings(rows_on(intercept, slope, (1, 5, 10, 75)))
    assert (found.group, found.unit, found.num_sizes) == ("g", "step", 4)
    assert found.slope_s == pytest.approx(slope, rel=1e-6)
    assert found.intercept_s == pytest.approx(intercept, rel=1e-6, abs=1e-9 * slope)
    assert found.r_squared == pytest.approx(1)


def test_a_bent_line_is_explained_less() -> None:
    """R squared by hand: times 1, 4, 9 over 1, 2, 3 have slope 4 and leave 2/3 of 98/3."""
    rows = [summarise(measured(f"g/{n}", [[float(n * n)]] * 2, num_units=n)) for n in (1, 2, 3)]
    (found,) = scalings(rows)
    assert found.slope_s == pytest.approx(4)
    assert found.r_squared == pytest.approx(1 - 2 / 98)


def test_groups_of_one_size_have_no_line() -> None:
    """Nor do groups with fewer than three sizes, or of different units."""
    assert scalings(rows_on(1, 1, (2, 2, 2))) == []
    assert scalings(rows_on(1, 1, (1, 2))) == []
    assert scalings(rows_on(1, 1, (1, 2)) + rows_on(1, 1, (3,), unit="call")) == []
