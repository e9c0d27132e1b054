"""What the values of a scenario come to: location, spread, cost of a unit of work, and whether to believe it.

The four marks of an unstable result are those of `pyperf check`: standard deviation of a tenth of the mean, a value
half the mean away from it, less than a millisecond timed at once, and too few processes for one percent at 95 %.

A group whose scenarios do different amounts of one unit of work has a cost per unit that no single scenario shows: the
slope of a straight line through them, by least squares. What a call costs besides is the intercept.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpt.bench.measurement import Measurement
from hpt.bench.worker import PER_UNIT

LOW_VARIANCE_FRAC = 0.05
"""Coefficient of variation that the original claims to stay below."""
_NOISY_FRAC = 0.10
_FAR_FRAC = 0.50
_LEAST_RAW_S = 1e-3
_WANTED_FRAC = 0.01
_Z_95 = 1.96
_LEAST_SIZES = 3

ADVICE: Mapping[str, str] = {
    "noisy": "close other programs, pin the workers (--affinity 1), tune the system (python -m pyperf system tune)",
    "outliers": "single values far off: something else ran; repeat, pin the workers (--affinity 1), or tune the system",
    "too short": "less than a millisecond was timed at once; --rigorous times longer intervals",
    "too few": "more processes are needed for one percent at 95 %; --rigorous has them",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """A row of the table; times in seconds.

    Attributes:
        name: GROUP/NAME.
        unit: of work.
        num_units: units of work in one value.
        unit_cost_s: median over them.
        cv_frac: standard deviation over mean, all values of all processes.
        marks: what makes it unstable; empty if nothing does.
        per_unit: what one unit consists of.
    """

    name: str
    unit: str
    num_units: int
    median_s: float
    mean_s: float
    std_s: float
    p5_s: float
    p95_s: float
    num_values: int
    num_processes: int
    cv_frac: float
    unit_cost_s: float
    warm_up_s: float
    marks: tuple[str, ...]
    per_unit: Mapping[str, float]

    def to_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"marks": list(self.marks), "is_stable": not self.marks}


def summarise(measurement: Measurement) -> BenchRow:
    """The row of one scenario."""
    values = np.array(measurement.values)
    mean, std = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    num_units = int(measurement.metadata.get("hpt_num_units", 1))
    low, middle, high = (float(one) for one in np.percentile(values, (5, 50, 95)))
    prefixed = {name: value for name, value in measurement.metadata.items() if name.startswith(PER_UNIT)}
    return BenchRow(
        name=measurement.name,
        unit=str(measurement.metadata.get("hpt_unit", "call")),
        num_units=num_units,
        median_s=middle,
        mean_s=mean,
        std_s=std,
        p5_s=low,
        p95_s=high,
        num_values=len(values),
        num_processes=len(measurement.processes),
        cv_frac=std / mean,
        unit_cost_s=middle / num_units,
        warm_up_s=measurement.warm_up_s,
        marks=_marks(measurement, values, std / mean),
        per_unit={name.removeprefix(PER_UNIT): float(value) for name, value in prefixed.items()},
    )


def _marks(measurement: Measurement, values: np.ndarray, cv_frac: float) -> tuple[str, ...]:
    mean = values.mean()
    needed = math.ceil((_Z_95 * cv_frac / _WANTED_FRAC) ** 2 * len(measurement.processes) / len(values))
    found = {
        "noisy": cv_frac >= _NOISY_FRAC,
        "outliers": bool(max(values.max() / mean - 1, 1 - values.min() / mean) >= _FAR_FRAC),
        "too short": measurement.shortest_raw_s < _LEAST_RAW_S,
        "too few": cv_frac < _NOISY_FRAC and needed > len(measurement.processes),
    }
    return tuple(mark for mark, is_so in found.items() if is_so)


def low_variance(rows: Sequence[BenchRow]) -> dict[str, Any]:
    """How many scenarios vary by less than the 5 % that the original claims of all."""
    steady = [row.name for row in rows if row.cv_frac < LOW_VARIANCE_FRAC]
    return {
        "limit_frac": LOW_VARIANCE_FRAC,
        "num_below": len(steady),
        "num_scenarios": len(rows),
        "below_frac": len(steady) / len(rows) if rows else None,
        "above": [row.name for row in rows if row.name not in steady],
    }


def to_csv(rows: Sequence[BenchRow]) -> str:
    """One line a scenario, times in seconds."""
    text = io.StringIO()
    columns = [name for name in BenchRow.__slots__ if name != "per_unit"]
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({**asdict(row), "marks": "; ".join(row.marks)})
    return text.getvalue()


@dataclass(frozen=True, slots=True)
class Scaling:
    """time = intercept + slope x units.

    Attributes:
        group: name of the group.
        unit: of work.
        slope_s: seconds per unit.
        intercept_s: seconds of a call without work.
        r_squared: share of the medians' variance that the line explains.
        num_sizes: scenarios it goes through.
    """

    group: str
    unit: str
    slope_s: float
    intercept_s: float
    r_squared: float
    num_sizes: int


def scalings(rows: Sequence[BenchRow]) -> list[Scaling]:
    """The line of every group with at least three sizes of one unit."""
    groups: dict[tuple[str, str], list[BenchRow]] = {}
    for row in rows:
        groups.setdefault((row.name.partition("/")[0], row.unit), []).append(row)
    return [
        _fit(group, unit, members)
        for (group, unit), members in groups.items()
        if len({row.num_units for row in members}) >= _LEAST_SIZES
    ]


def _fit(group: str, unit: str, rows: Sequence[BenchRow]) -> Scaling:
    sizes, times = np.array([row.num_units for row in rows], dtype=float), np.array([row.median_s for row in rows])
    slope, intercept = np.polyfit(sizes, times, 1)
    explained = float(np.corrcoef(sizes, times)[0, 1] ** 2) if times.std() > 0 else 1.0
    return Scaling(group, unit, float(slope), float(intercept), explained, len(rows))
