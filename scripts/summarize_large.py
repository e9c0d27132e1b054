"""Losses and worth of policies on models for a GPU, from what `measure_policies.py --group large` stored.

The worth of a loss is the number of updates that the same optimizer without jumps would have needed for it, over those
that it had: exp((loss without - loss with) / fall), with the fall of the loss per e-fold of updates between a run and
one 1.4 times as long, mean over the seeds that have both.

    python scripts/summarize_large.py --runs runs/policies/large --result reports/evidence/large.json

Runs of an earlier summary, whose files may be gone, are counted in with `--before EARLIER.json`, but for those of the
default trainer, which belong to the code that chose.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from measure_policies import LONGER, TRIAL_SEED
from policy_cells import BY_VALUE

from hpt.jsonfiles import write_json
from hpt.jump.policy import NONE
from hpt.machine import utc_now
from hpt.records import jsonable

Run = dict[str, Any]
Setting = tuple[str, str, int, float]


def setting_of(run: Run) -> Setting:
    """Workload, optimizer, updates and rate; a longer run belongs to that of its seeds' other runs."""
    cell = run["cell"]
    return cell["workload"], cell["optimizer"], cell["steps"], cell["lr_factor"]


def runs_in(summary: Mapping[str, Any]) -> list[Run]:
    """The runs of fixed policies that a summary was made of, with what it tells of them."""

    def run(row: Mapping[str, Any], policy: str, seed: str, loss: float | None, **other: Any) -> Run:
        cell = {name: row[name] for name in ("workload", "optimizer", "steps")}
        cell |= {"seed": int(seed), "policy": policy, "autocast": summary["autocast"][row["workload"]]}
        return {"cell": cell | other, "final_loss": loss, "machine": summary["machine"]}

    found: list[Run] = []
    for row in summary["rows"]:
        rate = {"lr_factor": row["lr_factor"]}
        for one in row["policies"]:
            if one["policy"] == BY_VALUE:
                continue
            runs = [run(row, one["policy"], seed, loss, **rate) for seed, loss in one["losses"].items()]
            found += [one_run | {"counters": {"jumps_accepted": one["jumps"]}} for one_run in runs]
        longer = [run(row, NONE, *pair, **rate, steps=row["longer_steps"]) for pair in row["longer_losses"].items()]
        found += [one_run | {"counters": {"jumps_accepted": 0}} for one_run in longer]
    for trials in summary["trials"]:
        for rate, loss in trials["losses"].items():
            found.append(run(trials, NONE, str(TRIAL_SEED), loss, lr_factor=float(rate)))
    return [one_run | {"measured": summary["finished_at"]} for one_run in found]


def rows_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each setting that was run with and without jumps."""
    losses: dict[Setting, dict[str, dict[int, float | None]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        losses[setting_of(run)][run["cell"]["policy"]][run["cell"]["seed"]] = run["final_loss"]
    jumps = {(*setting_of(one), one["cell"]["policy"]): one["counters"]["jumps_accepted"] for one in runs}
    return [
        _row(setting, by_policy, losses, jumps)
        for setting, by_policy in sorted(losses.items())
        if len(by_policy) > 1 and by_policy.get(NONE)
    ]


def _row(setting: Setting, by_policy: Any, losses: Any, jumps: Any) -> dict[str, Any]:
    workload, optimizer, steps, rate = setting
    without = by_policy[NONE]
    longer = losses.get((workload, optimizer, round(LONGER * steps), rate), {}).get(NONE, {})
    falls = [(without[seed] - loss) / math.log(LONGER) for seed, loss in longer.items() if without.get(seed)]
    fall = fmean(falls) if falls else None
    found = [
        {
            "policy": policy,
            "losses": {str(seed): loss for seed, loss in sorted(by_seed.items())},
            "jumps": jumps[*setting, policy],
            "steps_ratio": {
                str(seed): math.exp((without[seed] - loss) / fall)
                for seed, loss in sorted(by_seed.items())
                if fall and loss is not None and without.get(seed)
            },
        }
        for policy, by_seed in sorted(by_policy.items(), key=lambda one: (one[0] != NONE, one[0] == BY_VALUE, one[0]))
    ]
    return {
        "workload": workload,
        "optimizer": optimizer,
        "steps": steps,
        "lr_factor": rate,
        "longer_steps": round(LONGER * steps),
        "longer_losses": {str(seed): loss for seed, loss in sorted(longer.items())},
        "loss_per_e_fold": fall,
        "policies": found,
    }


def _rate_of(trial: tuple[str, float | None]) -> float:
    return float(trial[0])


def trials_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Rates that were tried, with the loss of each."""
    tried: dict[tuple[str, str, int], dict[str, float | None]] = defaultdict(dict)
    for run in runs:
        workload, optimizer, steps, rate = setting_of(run)
        tried[workload, optimizer, steps][f"{rate:g}"] = run["final_loss"]
    return [
        {
            "workload": workload,
            "optimizer": optimizer,
            "steps": steps,
            "losses": dict(sorted(losses.items(), key=_rate_of)),
        }
        for (workload, optimizer, steps), losses in sorted(tried.items())
    ]


def main() -> None:
    """Read, summarize, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--before", type=Path, help="an earlier summary; of a run that both have, the file counts")
    parser.add_argument("--result", type=Path, required=True)
    chosen = parser.parse_args()
    runs = [] if chosen.before is None else runs_in(json.loads(chosen.before.read_text(encoding="utf-8")))
    runs += [json.loads(file.read_text(encoding="utf-8")) for file in sorted(chosen.runs.glob("*.json"))]
    trials = [one for one in runs if one["cell"]["seed"] >= TRIAL_SEED]
    others = [one for one in runs if one["cell"]["seed"] < TRIAL_SEED]
    rows = rows_of(others)
    document: dict[str, Any] = {
        "schema_version": 1,
        "kind": "large",
        "what": "runs of models for a GPU, with and without jumps",
        "finished_at": max((one["measured"] for one in runs), default=utc_now()),
        "machine": max(others, key=lambda run: run["measured"])["machine"],
        "autocast": {one["cell"]["workload"]: one["cell"]["autocast"] for one in others},
        "rows": rows,
        "trials": trials_of(trials),
    }
    write_json(chosen.result, jsonable(document))
    for row in rows:
        for one in row["policies"]:
            ratios = " ".join(f"{ratio:.3f}" for ratio in one["steps_ratio"].values())
            losses = " ".join("diverged" if loss is None else f"{loss:.4f}" for loss in one["losses"].values())
            print(row["workload"], row["optimizer"], one["policy"], losses, "worth", ratios or "not known")


if __name__ == "__main__":
    main()
