"""Does looking after every seed raise false alarms? Series without any difference, simulated and drawn from real runs.

    simulated   20 000 series of 20 differences each: normal, heavy-tailed, skewed. A false alarm is an interval that
                excludes the truth at any look from 3 seeds to 20. Coverage is that of the interval at which one stops:
                when it is narrow enough, or all of it further from the truth than the width asked for
    real        the same with logarithms of ratios between two runs of one stored baseline, placed on its own curve as
                `hpt compare` places an arm; pairs are drawn with replacement, so only the shape is real

It takes a minute.

    python scripts/measure_stopping.py --result reports/evidence/stopping.json
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from stopping_rivals import LOOKED_AT, rules

from hpt.compare.alpha_spending import ALPHA, FIRST_LOOK, PLANNED_LOOKS, RESERVED_FRAC
from hpt.compare.placement import BaselineCurve
from hpt.jsonfiles import write_json
from hpt.machine import describe_machine, utc_now
from hpt.records import jsonable
from hpt.statistics import Floats, student_quantile

NUM_SERIES = 20_000
FEWEST_SEEDS = 5
"""Of a baseline from which pairs are drawn."""
WIDTHS = (4, 7, 10)
"""Wanted half-widths, as the seeds that have them in the mean where nobody looks before."""
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


def _normal(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return generator.standard_normal(shape)


def _heavy(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return generator.standard_t(3.0, shape) / math.sqrt(3.0)


def _lognormal(sigma: float) -> Draw:
    mean = math.exp(0.5 * sigma**2)
    sd = mean * math.sqrt(math.expm1(sigma**2))
    return lambda generator, shape: (np.exp(sigma * generator.standard_normal(shape)) - mean) / sd


DIFFERENCES: dict[str, tuple[str, Draw]] = {
    "normal": ("normal", _normal),
    "heavy": ("t with 3 degrees of freedom", _heavy),
    "skewed": ("lognormal, skewness 1.75", _lognormal(0.5)),
    "very-skewed": ("lognormal, skewness 6.18", _lognormal(1.0)),
}
"""Mean 0, standard deviation 1."""


def share(hits: Any) -> dict[str, float]:
    """Of series (S,) that are hit, with its Monte-Carlo standard error."""
    value = float(np.mean(hits))
    return {"value": value, "error": math.sqrt(value * (1.0 - value) / len(hits))}


def means_and_errors(series: Floats) -> tuple[Floats, Floats]:
    """Mean and standard error of (S, N) series at each look, (S, looks) each."""
    means, errors = (np.empty((len(series), len(LOOKED_AT))) for _ in range(2))
    for place, num in enumerate(LOOKED_AT):
        means[:, place] = series[:, :num].mean(axis=1)
        errors[:, place] = series[:, :num].std(axis=1, ddof=1) / math.sqrt(num)
    return means, errors


def false_alarms(series: Floats, factors: list[float]) -> dict[str, float]:
    """Series of truth 0 whose interval excludes it at some look."""
    means, errors = means_and_errors(series)
    return share((np.abs(means) > np.asarray(factors) * errors).any(axis=1))


def stopped(series: Floats, factors: list[float], width: float) -> dict[str, Any]:
    """Where series of truth 0 stop, and whether the interval there holds it."""
    means, errors = means_and_errors(series)
    halves = np.asarray(factors) * errors
    is_settled = (halves <= width) | (np.abs(means) - halves > width)
    places = np.where(is_settled.any(axis=1), is_settled.argmax(axis=1), len(LOOKED_AT) - 1)
    rows = np.arange(len(series))
    return {
        "coverage": share(np.abs(means[rows, places]) <= halves[rows, places]),
        "mean_seeds": float(np.mean(places + FIRST_LOOK)),
        "settled_frac": float(np.mean(is_settled.any(axis=1))),
    }


def simulated(num_series: int) -> Iterator[dict[str, Any]]:
    """Every distribution under every rule; equal series for all rules."""
    for place, (name, (what, draw)) in enumerate(DIFFERENCES.items()):
        series = draw(np.random.default_rng(place), (num_series, PLANNED_LOOKS))
        for rule, (_, factors) in rules().items():
            yield {
                "differences": name,
                "what": what,
                "rule": rule,
                "false_alarms": false_alarms(series, factors),
                "stops": [{"plain_seeds": num, **stopped(series, factors, plain_width(num))} for num in WIDTHS],
            }


def plain_width(num_seeds: int) -> float:
    """Half-width of the t interval of so many differences, in standard deviations."""
    return student_quantile(1.0 - ALPHA / 2, num_seeds - 1) / math.sqrt(num_seeds)


def seeds_for_width(factors: list[float], width: float) -> int | None:
    """Seeds after which an interval has it; None if the looks do not get there."""
    halves = ((num, factor / math.sqrt(num)) for num, factor in zip(LOOKED_AT, factors, strict=True))
    return next((num for num, half in halves if half <= width * (1.0 + 1e-9)), None)


def baselines(evidence: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """By workload the stored baseline with the most seeds at T, and the comparison it is from."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for file in sorted(evidence.glob("*/summary.json")):
        for name, workload in json.loads(file.read_text(encoding="utf-8")).get("workloads", {}).items():
            base = workload["baseline"]
            known = found.get(name)
            if base and (known is None or len(base["seeds"]) > len(known[1]["seeds"])):
                found[name] = file.parent.name, base | {"steps": workload["steps"]}
    return {name: one for name, one in found.items() if len(one[1]["seeds"]) >= FEWEST_SEEDS}


def same_ratios(base: dict[str, Any]) -> tuple[Floats, float]:
    """Logarithms of ratios of all ordered pairs of losses, and the share that lies outside the lengths measured.

    Few seeds have few pairs, and series of 20 drawn from 20 pairs repeat themselves. So losses of all lengths are
    taken, each as its distance from the mean of its length in standard deviations, times that at T.
    """
    usable = [one for one in base["lengths"] if np.all(np.isfinite(one["losses"]))]
    curve = BaselineCurve({one["steps"]: one["losses"] for one in usable})
    at_full = curve.loss_at(base["steps"])
    assert at_full is not None, "T is one of the lengths"
    losses = [np.asarray(one["losses"]) for one in usable]
    scores = np.concatenate([(one - one.mean()) / one.std(ddof=1) for one in losses])
    reaches = [curve.reach(at_full + base["seed_sd"] * (one - other)) for one, other in permutations(scores, 2)]
    logs = np.log([one.steps / base["steps"] for one in reaches])
    return logs, float(np.mean([one.side != "" for one in reaches]))


def real(evidence: Path, num_series: int) -> Iterator[dict[str, Any]]:
    """Every stored baseline with enough seeds."""
    for place, (workload, (comparison, base)) in enumerate(baselines(evidence).items()):
        logs, outside_frac = same_ratios(base)
        series = np.random.default_rng(100 + place).choice(logs, (num_series, PLANNED_LOOKS))
        yield {
            "workload": workload,
            "comparison": comparison,
            "num_seeds": len(base["seeds"]),
            "num_pairs": len(logs),
            "mean_log": float(np.mean(logs)),
            "sd_log": float(np.std(logs)),
            "outside_frac": outside_frac,
            "false_alarms": {name: false_alarms(series, factors) for name, (_, factors) in rules().items()},
        }


def document(evidence: Path, num_series: int) -> dict[str, Any]:
    """All of it, as plain values; `real` is null where no baseline has enough seeds."""
    return {
        "schema_version": 1,
        "kind": "stopping",
        "what": "false alarms of intervals that are looked at after every seed, where there is no difference",
        "alpha": ALPHA,
        "first_look": FIRST_LOOK,
        "planned_looks": PLANNED_LOOKS,
        "reserved_frac": RESERVED_FRAC,
        "num_series": num_series,
        "rules": {
            name: {
                "what": what,
                "factors": [None if math.isinf(one) else one for one in factors],
                "seeds_for_width": {str(num): seeds_for_width(factors, plain_width(num)) for num in WIDTHS},
            }
            for name, (what, factors) in rules().items()
        },
        "simulated": list(simulated(num_series)),
        "real": list(real(evidence, num_series)) or None,
        "machine": describe_machine(device="cpu", threads=1),
        "written_at": utc_now(),
    }


def main() -> None:
    """Measure and write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, required=True, help="JSON file")
    parser.add_argument("--evidence", type=Path, default=Path("reports/evidence"), help="folder of stored comparisons")
    parser.add_argument("--series", type=int, default=NUM_SERIES)
    arguments = parser.parse_args()
    found = document(arguments.evidence, arguments.series)
    write_json(arguments.result, jsonable(found))
    for one in found["simulated"]:
        print(f"{one['differences']}, {one['rule']}: {one['false_alarms']['value']:.4f}", file=sys.stderr)


if __name__ == "__main__":
    main()
