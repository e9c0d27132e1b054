"""Timings of `hpt bench` as tables: one row a value, then one row a scenario, then a line through a group's sizes."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from hpt.bench.bootstrap import Processes, resampled_medians
from hpt.bench.comparison import BenchComparison, compare
from hpt.bench.measurement import measurement_of
from hpt_reports.evidence import Evidence, Source
from hpt_reports.kinds import TIMING

CONTROL = "control"
RESAMPLES = 1000
LOW_VARIANCE_FRAC = 0.05
"""Coefficient of variation that the original states of all its benchmarks."""
_FENCE_IQR = 1.5
SCENARIOS = (
    *(f"rssm_prediction/horizon_{steps}" for steps in (1, 5, 10, 15, 25, 50, 75)),
    "state_encoding/compute_features",
    "weight_delta/clone",
    "weight_delta/scale",
    "weight_delta/apply",
    "rssm_training/observe_gradient",
    "confidence/cached",
    "confidence/uncached",
    "state_history/record_step",
    "state_history/record_step_full_history",
)
"""The sixteen, in reading order."""


@dataclass(frozen=True, slots=True)
class FittedLine:
    """time = intercept + slope x units, by least squares through the medians.

    Attributes:
        slope_s: seconds per unit.
        intercept_s: seconds of a call without work.
        r_squared: share of the medians' variance that the line explains.
    """

    slope_s: float
    intercept_s: float
    r_squared: float


@dataclass(frozen=True, slots=True)
class Timings:
    """One run of the benchmarks.

    Attributes:
        source: where it is stored.
        preset: sizes of the model.
        values: scenario, process, value_s: one row a value.
        rows: one row a scenario, indexed by name; times in seconds.
    """

    source: Source
    preset: str
    values: pd.DataFrame
    rows: pd.DataFrame

    def median_s(self, name: str) -> float | None:
        """Median of a scenario; None if it was not measured."""
        return float(self.rows.loc[name, "median_s"]) if name in self.rows.index else None

    def unit_s(self, name: str) -> tuple[float, float | None, float | None] | None:
        """Seconds of one unit of work and their 95 % interval, which several processes give; None if not measured."""
        if name not in self.rows.index:
            return None
        row = self.rows.loc[name]
        value, low, high = (
            None if pd.isna(row[end]) else float(row[end]) / float(row["num_units"])
            for end in ("median_s", "low_s", "high_s")
        )
        return None if value is None else (value, low, high)


def by_preset(evidence: Evidence) -> dict[str, Timings]:
    """The newest run of each preset, `default` first."""
    found: dict[str, Timings] = {}
    for source in evidence.of(TIMING):
        preset = str(source.document["facts"].get("hpt_preset", "default"))
        if preset not in found:
            found[preset] = read(source, preset)
    return dict(sorted(found.items()))


@cache
def read(source: Source, preset: str) -> Timings:
    """The values of one stored run."""
    records: list[dict[str, Any]] = []
    facts: dict[str, dict[str, Any]] = {}
    for benchmark in source.document["suite"].get_benchmarks():
        name = benchmark.get_name()
        metadata = benchmark.get_metadata()
        facts[name] = {
            "unit": str(metadata.get("hpt_unit", "call")),
            "num_units": int(metadata.get("hpt_num_units", 1)),
            "macs": metadata.get("hpt_per_unit_multiply-add"),
            "updates": metadata.get("hpt_per_unit_update"),
        }
        with_values = [run for run in benchmark.get_runs() if run.values]
        records += [
            {"scenario": name, "process": process, "value_s": float(value)}
            for process, run in enumerate(with_values)
            for value in run.values
        ]
    values = pd.DataFrame(records, columns=["scenario", "process", "value_s"])
    rows = [_row(str(name), group) | facts[str(name)] for name, group in values.groupby("scenario", sort=False)]
    return Timings(source, preset, values, pd.DataFrame(rows).set_index("scenario"))


def _row(name: str, group: pd.DataFrame) -> dict[str, Any]:
    value = group["value_s"].to_numpy(dtype=float)
    processes = [part["value_s"].tolist() for _, part in group.groupby("process", sort=True)]
    low, q1, middle, q3, high = (float(one) for one in np.percentile(value, (5, 25, 50, 75, 95)))
    fence = _FENCE_IQR * (q3 - q1)
    ends = median_interval(processes)
    return {
        "scenario": name,
        "median_s": middle,
        "low_s": None if ends is None else ends[0],
        "high_s": None if ends is None else ends[1],
        "mean_s": float(value.mean()),
        "std_s": float(value.std(ddof=1)) if len(value) > 1 else math.nan,
        "p5_s": low,
        "p95_s": high,
        "cv_frac": float(value.std(ddof=1) / value.mean()) if len(value) > 1 else math.nan,
        "num_values": len(value),
        "num_processes": len(processes),
        "num_outliers": int(((value < q1 - fence) | (value > q3 + fence)).sum()),
    }


def median_interval(processes: Processes) -> tuple[float, float] | None:
    """95 % interval of the median: bootstrap over processes, then over the values within; None below two processes."""
    if len(processes) < 2:
        return None
    medians = resampled_medians(processes, RESAMPLES, np.random.default_rng(0))
    low, high = np.percentile(medians, (2.5, 97.5))
    return float(low), float(high)


def line_through(sizes: Sequence[float], times_s: Sequence[float]) -> FittedLine | None:
    """Least squares; None below three sizes."""
    if len(set(sizes)) < 3:
        return None
    slope, intercept = statistics.linear_regression(sizes, times_s)
    return FittedLine(slope, intercept, statistics.correlation(sizes, times_s) ** 2)


def horizon_line(timings: Timings) -> FittedLine | None:
    """The cost of one more predicted step."""
    rows = timings.rows[timings.rows.index.str.startswith("rssm_prediction/")]
    return line_through(rows["num_units"].astype(float).tolist(), rows["median_s"].astype(float).tolist())


def steady_share(timings: Timings) -> tuple[int, int]:
    """Scenarios whose coefficient of variation is below 5 %, and all of them."""
    spreads: dict[str, float] = timings.rows["cv_frac"].to_dict()
    spreads.pop(CONTROL, None)
    return sum(spread < LOW_VARIANCE_FRAC for spread in spreads.values()), len(spreads)


def before(evidence: Evidence, newest: Source) -> Source | None:
    """The run before the newest one of the same preset; None if there is none."""
    preset = newest.document["facts"].get("hpt_preset")
    others = [one for one in evidence.of(TIMING) if one.document["facts"].get("hpt_preset") == preset]
    return next((one for one in others if one is not newest), None)


@cache
def compared(old: Source, new: Source) -> BenchComparison:
    """Two runs as `hpt bench compare` judges them.

    Raises:
        NothingMeasured: they have nothing in common, or were made on another machine or with other settings.
    """
    sides = (
        {one.get_name(): measurement_of(one) for one in side.document["suite"].get_benchmarks()} for side in (old, new)
    )
    return compare(*sides)
