"""Does prediction help, and does the RSSM predict? Paired runs of `hpt train`, one process each, summed up in one file.

Arms: `default` (rssm around the base preset), `plain` (--predictor none, same learning rate), `unlearned` (the same
RSSM with its learner switched off, the control) and `first-jump` (no jump before a third of the run, and the first one
forked: what a single jump is worth, which the forks of `default` do not say, because there the branch without the jump
lives on the jumps before it). A run that is already done in --runs is not run again.

    python scripts/measure_prediction.py --steps 3000 --jobs 2 --out reports/evidence/prediction.json
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from hpt.machine import utc_now

SETTINGS = {
    "unlearned": "[learner]\nenabled = false\n",
    "first-jump": "[predict]\nwindow_start_frac = 0.333\n[fork]\nbudget_frac = 0.05\nat_fracs = [0.3333]\n",
}


def command(arm: str, seed: int, arguments: argparse.Namespace, out: Path) -> list[str]:
    """`hpt train` for one cell."""
    base = [sys.executable, "-m", "hpt", "train", "--workload", arguments.workload, "--seed", str(seed)]
    base += ["--steps", str(arguments.steps), "--threads", str(arguments.threads), "--out", str(out)]
    if arm == "plain":
        base += ["--predictor", "none"]
    if arm in SETTINGS:
        config = arguments.runs / f"{arm}.toml"
        config.write_text(SETTINGS[arm], encoding="utf-8")
        base += ["--config", str(config)]
    return base


def run_cell(arm: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one cell if it is not done, and read what it left."""
    out = arguments.runs / f"{arguments.workload}-{arguments.steps}-{arm}-s{seed}"
    if not _is_done(out):
        resume = [sys.executable, "-m", "hpt", "train", "--resume", str(out)]
        fresh = not (out / "run.json").exists()
        order = command(arm, seed, arguments, out) if fresh else resume
        done = subprocess.run(order, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{arm} seed {seed} failed ({done.returncode}): {done.stderr.strip()[-500:]}")
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    print(f"{arm} seed {seed}: validation {run['final_loss']:.4f}, {run['wall_s']:.0f} s", file=sys.stderr)
    lines = (out / "events.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    forks = [record for record in records if record["kind"] == "fork"]
    keys = ("final_loss", "wall_s", "counters", "phases", "seconds", "confidence", "predictor", "environment")
    return {"arm": arm, "seed": seed, "forks": forks} | {key: run.get(key) for key in keys}


def _is_done(out: Path) -> bool:
    path = out / "run.json"
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["status"] == "done"


def summarize(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Paired differences, fork values, forecast scores and Brier scores by seed."""
    by = {(cell["arm"], cell["seed"]): cell for cell in cells}
    seeds = sorted({seed for _, seed in by})
    paired = {
        str(seed): by["default", seed]["final_loss"] - by["plain", seed]["final_loss"]
        for seed in seeds
        if ("plain", seed) in by and ("default", seed) in by
    }
    scores = {
        arm: {str(seed): by[arm, seed]["predictor"]["scores"] for seed in seeds if (arm, seed) in by}
        for arm in ("default", "unlearned")
    }
    forks = {
        arm: {str(seed): by[arm, seed]["forks"] for seed in seeds if (arm, seed) in by}
        for arm in ("first-jump", "default")
    }
    return {
        "loss_default_minus_plain": paired,
        "mean_loss_default_minus_plain": fmean(paired.values()) if paired else None,
        "forks": forks,
        "nll_of_the_loss_H_steps_ahead": scores,
        "confidence": {str(seed): by["default", seed]["confidence"] for seed in seeds if ("default", seed) in by},
    }


def main() -> None:
    """Run all cells, then write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="byte-gpt")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the default and unlearned arms")
    parser.add_argument("--plain-seeds", type=int, default=3)
    parser.add_argument("--unlearned-seeds", type=int, default=5)
    parser.add_argument("--first-jump-seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="cells at once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/prediction"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    todo = [("default", seed) for seed in range(arguments.seeds)]
    todo += [("plain", seed) for seed in range(arguments.plain_seeds)]
    todo += [("first-jump", seed) for seed in range(arguments.first_jump_seeds)]
    todo += [("unlearned", seed) for seed in range(arguments.unlearned_seeds)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        cells = list(pool.map(lambda cell: run_cell(cell[0], cell[1], arguments), todo))
    document = {
        "what": "paired runs at the same learning rate and data; loss is validation loss in nats",
        "measured_at": utc_now(),
        "workload": arguments.workload,
        "steps": arguments.steps,
        "jobs": arguments.jobs,
        "threads": arguments.threads,
        "summary": summarize(cells),
        "cells": cells,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document["summary"], indent=1))


if __name__ == "__main__":
    main()
