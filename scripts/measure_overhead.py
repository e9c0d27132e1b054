"""What a full step costs beyond the plain loop: paired blocks in one process, ratio with a bootstrap interval.

Two copies of the workload train side by side on the same batches, block by block and in changing order: one by a
hand-written loop, one by the trainer with everything on that FULL needs (guards, observation, learning, trajectory,
snapshots) and no jump allowed, so that every call is a full step.

    python scripts/measure_overhead.py --out reports/evidence/overhead.json
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from hpt import HybridConfig, HybridTrainer
from hpt.compare.plain_loop import PlainLoop
from hpt.machine import describe_machine, utc_now
from hpt.workloads.registry import load_workload
from hpt.workloads.workload import Workload

RESAMPLES = 10_000


def hybrid(workload: Workload, total: int, predictor: str) -> HybridTrainer:
    """The trainer with jumps shut out by a window at the very end."""
    model = workload.build_model()
    optimizer = workload.build_optimizer(model)
    config = HybridConfig.from_dict(
        {
            "predictor": predictor,
            "total_steps": total,
            "update": {} if workload.clip_norm is None else {"clip_norm": workload.clip_norm},
            "predict": {"window_start_frac": 0.99, "window_end_frac": 1.0},
        }
    )
    return HybridTrainer(model, optimizer, workload.loss, config, workload.build_scheduler(optimizer, total))


def measure(workload: Workload, predictor: str, blocks: int, block_steps: int, total: int) -> np.ndarray:
    """Seconds per block, (blocks, 2): plain, hybrid. The first block of each warms up and is dropped."""
    plain, trainer = PlainLoop(workload, total), hybrid(workload, total, predictor)
    times = np.zeros((blocks + 1, 2))
    for block in range(blocks + 1):
        batches = [workload.batch(block * block_steps + step) for step in range(block_steps)]
        for arm in (0, 1) if block % 2 == 0 else (1, 0):
            step = plain.step if arm == 0 else trainer.step
            began = time.perf_counter()
            for batch in batches:
                step(batch)
            times[block, arm] = time.perf_counter() - began
    return times[1:]


def main() -> None:
    """Measure and write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="byte-gpt")
    parser.add_argument("--predictor", default="rssm")
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--steps", type=int, default=3000, help="planned length, sets K")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    workload = load_workload(arguments.workload, seed=0, device=torch.device("cpu"))
    block_steps = HybridConfig(total_steps=arguments.steps).cycle_steps
    times = measure(workload, arguments.predictor, arguments.blocks, block_steps, arguments.steps)
    ratios = times[:, 1] / times[:, 0]
    picks = np.random.default_rng(0).integers(0, len(times), (RESAMPLES, len(times)))
    low, high = np.quantile(np.median(ratios[picks], axis=1), [0.025, 0.975])
    result = {
        "what": "time of a full step of the trainer over the plain loop's, median of paired blocks",
        "workload": arguments.workload,
        "predictor": arguments.predictor,
        "block_steps": block_steps,
        "blocks": arguments.blocks,
        "threads": arguments.threads,
        "ratio": float(np.median(ratios)),
        "ratio_low": float(low),
        "ratio_high": float(high),
        "ratio_total": float(times[:, 1].sum() / times[:, 0].sum()),
        "plain_step_s": float(np.median(times[:, 0]) / block_steps),
        "description": workload.description,
        "measured_at": utc_now(),
        "machine": describe_machine(device="cpu", threads=arguments.threads),
    }
    text = json.dumps(result, indent=1)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
