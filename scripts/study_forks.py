"""Which fork tells what a policy is worth: length, settling time and place against full runs with and without it.

Of the runs in the folders those of the group `pairs` count.

For each candidate (cycles with a jump, settling time, progress) and policy: over how many pairs of workload and
optimizer does the sign of the measured value agree with that of the full runs, as it is and after the correction that
the other pairs teach (offset and scale, leave one pair out); and what it costs, as a share of the run. What the
policies were worth is stored beside it, what the default and windows that end early were, and what the default saves in
runs that the prior has not seen.

    python scripts/study_forks.py --runs runs/policies --unseen runs/unseen --result reports/evidence/policies.json
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fit_prior import fit, is_pair
from measure_policies import LONGER
from policy_cells import BY_VALUE
from policy_study import NAMES, Setting, final_losses, load, per_loss, value_of

from hpt.jsonfiles import write_json
from hpt.jump.policy import NONE
from hpt.machine import describe_machine, utc_now

SETTLE_STEPS = (10, 20, 30, 60)
Row = tuple[str, float, float, float]  # pair, worth, measured, variance of its own error


def main() -> None:
    """Score every candidate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of measure_policies.py")
    parser.add_argument("--unseen", type=Path, nargs="*", default=[], help="the same, of other seeds and workloads")
    parser.add_argument("--result", type=Path, required=True)
    arguments = parser.parse_args()
    settings = [one for one in load(arguments.runs, LONGER) if is_pair(one)]
    if not any(setting.forks for setting in settings):
        sys.exit("--runs holds no forks beside full runs; run measure_policies.py")
    rows = [candidate for key, found in sorted(_candidates(settings).items()) for candidate in [_scored(key, found)]]
    write_json(
        arguments.result,
        {
            "schema_version": 1,
            "what": "signs of forks against full runs",
            "policies": list(NAMES),
            "worth": [_described(setting) for setting in settings],
            "candidates": rows,
            "unseen": [row for folder in arguments.unseen for row in unseen(folder)],
            "written_at": utc_now(),
            "environment": describe_machine(device="cpu", threads=1),
        },
    )
    for row in rows:
        signs = "  ".join(
            f"{name} {row['right'][name]}/{row['right_corrected'][name]} of {row['pairs']}" for name in NAMES
        )
        print(
            f"{row['num_jumps']} jumps, {row['settle_steps']:2d} steps, at {row['progress']:.2f}: {signs}; "
            f"{row['cost_frac']:.1%} of a run",
            file=sys.stderr,
        )


def unseen(folder: Path) -> list[dict[str, Any]]:
    """What the default saves of the final loss, by workload and optimizer, with it and no jumps each at its best rate.

    Rates count at which a seed was run both ways; runs that diverged do not.
    """
    rates: dict[tuple[str, str, int], set[float]] = defaultdict(set)
    best: dict[tuple[str, str, int], dict[int, tuple[float, float]]] = defaultdict(dict)
    for ((workload, optimizer, steps, rate), seed), row in final_losses(folder).items():
        without, chosen = row.get(NONE), row.get(BY_VALUE)
        if without is None or chosen is None:
            continue
        key = workload.rpartition(":")[2], optimizer, steps
        rates[key].add(rate)
        so_far = best[key].get(seed, (without, chosen))
        best[key][seed] = min(so_far[0], without), min(so_far[1], chosen)
    return [
        {
            "workload": workload,
            "optimizer": optimizer,
            "steps": steps,
            "rates": sorted(rates[workload, optimizer, steps]),
            "saved_by_seed": {str(seed): without - chosen for seed, (without, chosen) in sorted(seeds.items())},
        }
        for (workload, optimizer, steps), seeds in sorted(best.items())
    ]


def _described(setting: Setting) -> dict[str, Any]:
    return {
        "workload": setting.workload,
        "optimizer": setting.optimizer,
        "steps": setting.steps,
        "lr_factor": setting.lr_factor,
        "loss_per_e_fold": setting.gained,
        "rates": setting.rates,
        "worth_by_seed": {str(seed): row.tolist() for seed, row in setting.tuned_worth.items()},
        "early_by_seed": {str(seed): row.tolist() for seed, row in setting.early_worth.items()},
        "arms_by_seed": {str(seed): row for seed, row in setting.arms.items()},
    }


def _candidates(settings: Sequence[Setting]) -> dict[tuple[int, int, float], dict[str, list[Any]]]:
    """By candidate: rows by policy, and the cost of each fork under "cost"."""
    found: dict[tuple[int, int, float], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for setting in settings:
        for fork in setting.forks:
            if fork["seed"] not in setting.worth or not fork["fall"]:
                continue
            for settle in SETTLE_STEPS:
                key = fork["num_jumps"], settle, fork["place"]
                steps = fork["num_jumps"] * fork["cycle_steps"] + settle
                found[key]["cost"].append(steps / setting.steps)
                for name, row in _rows(setting, fork, steps, settle):
                    found[key][name].append(row)
    return found


def _rows(setting: Setting, fork: dict[str, Any], steps: int, settle: int) -> Iterator[tuple[str, Row]]:
    factor, pair = per_loss(setting, fork), f"{setting.workload} {setting.optimizer}"
    for place, name in enumerate(NAMES):
        value = value_of(fork, name, settle)
        if len(value.gains) == steps and not value.is_broken:
            worth = float(setting.worth[fork["seed"]][place])
            yield name, (pair, worth, value.value * factor, (value.value_se * factor) ** 2)


def _scored(key: tuple[int, int, float], found: dict[str, list[Any]]) -> dict[str, Any]:
    num_jumps, settle, progress = key
    right, corrected, correlation = dict[str, int](), dict[str, int](), dict[str, float]()
    for name in NAMES:
        rows: list[Row] = found[name]
        right[name] = sum((worth > 0) == (measured > 0) for _, worth, measured, _ in rows)
        corrected[name] = sum((worth > 0) == (_read(rows, row) > 0) for row in rows for worth in [row[1]])
        pairs = np.array([row[1:3] for row in rows]).T
        correlation[name] = float(np.corrcoef(pairs)[0, 1]) if len(rows) > 2 else float("nan")
    return {
        "num_jumps": num_jumps,
        "settle_steps": settle,
        "progress": progress,
        "pairs": len(found[NAMES[0]]),
        "right": right,
        "right_corrected": corrected,
        "correlation": correlation,
        "cost_frac": float(np.mean(found["cost"])),
    }


def _read(rows: Sequence[Row], row: Row) -> float:
    """Worth by the correction that the other pairs teach."""
    others = [one[1:] for one in rows if one[0] != row[0]]
    if len(others) < 3:
        return row[2]
    offset, scale, _ = fit(others)
    return (row[2] - offset) / scale


if __name__ == "__main__":
    main()
