"""How long the documented run takes beside the plain one: pairs of `hpt train`, one process each, in changing order.

Each pair is the default predictor and `--predictor none` with the same seed; the ratio of their wall times (of the
trainer, and of the whole command) is taken pair by pair, its median with a bootstrap interval over pairs. Run it on a
machine that does nothing else.

    python scripts/measure_wall.py --pairs 6 --out reports/evidence/wall_byte_gpt.json
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ARMS = ("rssm", "none")
RESAMPLES = 10_000


def run_once(arm: str, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One `hpt train`; its run.json, and the seconds of the whole command."""
    order = [sys.executable, "-m", "hpt", "train", "--workload", arguments.workload, "--steps", str(arguments.steps)]
    order += ["--seed", "0", "--predictor", arm, "--out", str(folder), "--json"]
    began = time.perf_counter()
    done = subprocess.run(order, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{arm} failed ({done.returncode}): {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout) | {"command_s": time.perf_counter() - began}


def ratio_of(pairs: list[dict[str, dict[str, Any]]], key: str) -> dict[str, float]:
    """Median over pairs of default / plain, with its 95 % bootstrap interval."""
    ratios = np.array([pair["rssm"][key] / pair["none"][key] for pair in pairs])
    picks = np.random.default_rng(0).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[picks], axis=1), [0.025, 0.975])
    return {"median": float(np.median(ratios)), "low": float(low), "high": float(high)}


def cell_of(run: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run."""
    keys = ("wall_s", "command_s", "final_loss", "phases", "counters", "seconds", "environment")
    return {key: run[key] for key in keys}


def main() -> None:
    """Measure and write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="byte-gpt")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    pairs: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as place:
        for number in range(arguments.pairs):
            order = ARMS if number % 2 == 0 else ARMS[::-1]
            pair = {arm: cell_of(run_once(arm, arguments, Path(place) / f"{number}-{arm}")) for arm in order}
            pairs.append(pair)
            print(f"pair {number}: {pair['rssm']['wall_s']:.1f} s / {pair['none']['wall_s']:.1f} s", file=sys.stderr)
    document = {
        "what": "wall time of `hpt train` with the default predictor over --predictor none, pairs of separate runs",
        "workload": arguments.workload,
        "steps": arguments.steps,
        "wall_ratio": ratio_of(pairs, "wall_s"),
        "command_ratio": ratio_of(pairs, "command_s"),
        "loss_ratio": pairs[0]["rssm"]["final_loss"] / pairs[0]["none"]["final_loss"],
        "pairs": pairs,
    }
    text = json.dumps(document, indent=1)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in document.items() if key != "pairs"}, indent=1))


if __name__ == "__main__":
    main()
