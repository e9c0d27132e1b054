"""Measurements with known contents, without timing anything."""

from collections.abc import Sequence

import numpy as np

from hpt.bench.measurement import Measurement

FACTS = {
    "hpt_schema": 1,
    "hpt_cpu_model": "one",
    "hpt_num_cores": 2,
    "hpt_threads": 1,
    "hpt_preset": "default",
    "hpt_unit": "call",
    "hpt_num_units": 1,
}


def measured(
    name: str,
    processes: Sequence[Sequence[float]],
    controls: Sequence[float | None] | None = None,
    **facts: str | int,
) -> Measurement:
    return Measurement(
        name=name,
        processes=tuple(tuple(map(float, process)) for process in processes),
        controls=(1.0,) * len(processes) if controls is None else tuple(controls),
        shortest_raw_s=0.1,
        warm_up_s=0.1,
        metadata={**FACTS, **{f"hpt_{key}": value for key, value in facts.items()}},
    )


def drawn(
    draw: np.random.Generator, ratio: float = 1.0, k: int = 6, n: int = 5, between: float = 0.01, within: float = 0.01
) -> list[list[float]]:
    """Log-normal times of k processes with n values each, about `ratio`."""
    logs = between * draw.standard_normal((k, 1)) + within * draw.standard_normal((k, n))
    return (ratio * np.exp(logs)).tolist()
