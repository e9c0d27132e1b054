"""How the time of a group grows with the work: a straight line through its scenarios, by least squares.

A group whose scenarios do different amounts of one unit of work has a cost per unit that no single scenario shows: the
slope. What a call costs besides is the intercept.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpt.bench.summary import Summary

_LEAST_SIZES = 3


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

    def to_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def scalings(rows: Sequence[Summary]) -> list[Scaling]:
    """The line of every group with at least three sizes of one unit."""
    groups: dict[tuple[str, str], list[Summary]] = {}
    for row in rows:
        groups.setdefault((row.name.partition("/")[0], row.unit), []).append(row)
    return [
        _fit(group, unit, members)
        for (group, unit), members in groups.items()
        if len({row.num_units for row in members}) >= _LEAST_SIZES
    ]


def _fit(group: str, unit: str, rows: Sequence[Summary]) -> Scaling:
    sizes, times = np.array([row.num_units for row in rows], dtype=float), np.array([row.median_s for row in rows])
    design = np.stack((sizes, np.ones(len(sizes))), axis=1)
    (slope, intercept), *_ = np.linalg.lstsq(design, times)
    rest = times - design @ (slope, intercept)
    spread = float(((times - times.mean()) ** 2).sum())
    explained = 1 - float((rest**2).sum()) / spread if spread > 0 else 1.0
    return Scaling(group, unit, float(slope), float(intercept), explained, len(rows))
