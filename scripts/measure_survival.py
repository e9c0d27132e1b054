"""What the trainer survives: forty healthy runs whose data change, and broken weights planted into ordinary runs.

    healthy   every run is made by the plain loop and by the trainer at its default settings. What is undone counts as
              broken if 4096 held-out samples say so: the loss of the weights that were given up, over that of those
              gone back to, is mostly of their making
    planted   a far jump, an exploding rate, a corrupted layer; each is to be noticed within C losses

Every run is stored as it ends; the same command goes on where it was stopped.

    python scripts/measure_survival.py --result reports/evidence/survival.json
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from survival_faults import FAULTS, JUMP, RATE, Fault
from survival_runs import HEALTHY, Run, Training

from hpt import HybridConfig, HybridTrainer, Phase
from hpt.errors import TrainingDiverged
from hpt.jsonfiles import write_json
from hpt.machine import describe_machine, utc_now
from hpt.records import EventRecord, JumpRecord, Record, jsonable

STEPS, FAULT_STEPS = 20_000, 2000
BROKEN_FRAC = 0.5  # of the held-out loss that going back must have saved
NUM_LOOKS = 20  # at the held-out loss, in the last twentieth of a run
UNDOING = ("rolled_back", "jump_rolled_back")


class Watched:
    """The trainer on one run; notes what it undoes, and whether the weights were broken."""

    def __init__(self, run: Run, steps: int, **settings: Any) -> None:
        self.training = one = Training(run, steps)
        self.events: Counter[str] = Counter()
        self.rejected: list[int] = []
        self.undone: list[dict[str, Any]] = []
        config = HybridConfig.from_dict({"total_steps": steps if run.plans else None} | settings)
        self.trainer = HybridTrainer(one.model, one.optimizer, one.loss, config, one.scheduler, self._note)

    def _note(self, record: Record) -> None:
        if isinstance(record, JumpRecord) and record.verdict == "rejected":
            self.rejected.append(record.call)
        if not isinstance(record, EventRecord):
            return
        self.events[record.name] += 1
        if record.name in UNDOING:  # told before the weights go back
            loss = self.training.held_out_loss(self.trainer.num_calls)
            self.undone.append({"event": record.name, "call": record.call, "why": record.message, "loss": loss})

    def step(self) -> None:
        """One call."""
        trainer, count = self.trainer, len(self.undone)
        trainer.step(self.training.batch(trainer.num_calls))
        for one in self.undone[count:]:
            one["loss_restored"] = self.training.held_out_loss(trainer.num_calls - 1)
            one["was_broken"] = not one["loss"] - one["loss_restored"] <= BROKEN_FRAC * abs(one["loss"])

    def run(self, steps: int) -> float:
        """Until so many net updates are made; the final loss."""
        return final_loss(self.training, lambda: self.trainer.num_updates, self.step, steps)


def final_loss(training: Training, updates: Any, step: Any, steps: int) -> float:
    """Make all steps; the mean held-out loss over the last twentieth, under the data of the end."""
    held_out = training.held_out(steps - NUM_LOOKS)
    stride, looks = max(1, steps // 20 // NUM_LOOKS), dict[int, float]()
    while updates() < steps:
        step()
        if updates() > steps - stride * NUM_LOOKS and updates() % stride == 0:
            with torch.no_grad():
                looks[updates()] = float(training.loss(training.model, held_out))
    return fmean(looks.values())


def plain_loss(run: Run, steps: int) -> float:
    """Final loss of the hand-written loop."""
    one, made = Training(run, steps), [0]

    def step() -> None:
        one.optimizer.zero_grad(set_to_none=True)
        one.loss(one.model, one.batch(made[0])).backward()
        one.optimizer.step()
        if one.scheduler is not None:
            one.scheduler.step()
        made[0] += 1

    return final_loss(one, lambda: made[0], step, steps)


def healthy(run: Run, steps: int) -> dict[str, Any]:
    """One run by both loops."""
    began = time.perf_counter()
    watched = Watched(run, steps)
    killed = loss = None
    try:
        loss = watched.run(steps)
    except TrainingDiverged as error:
        killed = str(error)
    rollbacks, jumps = (
        [one["was_broken"] for one in watched.undone if one["event"] == name]
        for name in ("rolled_back", "jump_rolled_back")
    )
    counters = watched.trainer.summary()["counters"]
    return {
        "name": run.name,
        "killed": killed,
        "num_rollbacks": len(rollbacks),
        "num_unwarranted": rollbacks.count(False),
        "num_jumps": counters["jumps_accepted"],
        "num_jumps_undone": len(jumps),
        "num_jumps_undone_unwarranted": jumps.count(False),
        "final_loss": loss,
        "plain_final_loss": plain_loss(run, steps),
        "events": dict(watched.events),
        "undone": watched.undone,
        "num_updates": watched.trainer.num_updates,
        "probe_forwards": counters["probe_forwards"],
        "wall_s": time.perf_counter() - began,
    }


def planted(fault: Fault) -> dict[str, Any]:
    """One run with a fault in it, and the same without."""
    watched, reference = (Watched(fault.run, FAULT_STEPS, **fault.settings) for _ in range(2))
    trainer = watched.trainer
    while trainer.num_updates < fault.at or (fault.kind == JUMP and trainer.phase is not Phase.PREDICT):
        watched.step()
    begun = trainer.num_calls
    fault.plant(watched)
    killed = loss = None
    try:
        loss = watched.run(FAULT_STEPS)
    except TrainingDiverged as error:
        killed = str(error)
    # calls are counted from 0 in the records of a call; losses under broken weights begin one call after an update
    # or a jump, with the call itself where the weights were overwritten before it
    first = begun + (fault.kind in (RATE, JUMP))
    caught = [one["call"] for one in watched.undone if one["call"] >= begun]
    caught += [call for call in watched.rejected if call >= begun]
    return {
        "kind": fault.kind,
        "name": fault.name,
        "run": fault.run.name,
        "caught_after_losses": max(0, min(caught) - first + 1) if caught else None,
        "limit_losses": trainer.config.correct_steps,
        "killed": killed,
        "final_loss": loss,
        "healthy_final_loss": reference.run(FAULT_STEPS),
        "events": dict(watched.events),
        "undone": watched.undone,
    }


def main() -> None:
    """Measure what is missing and write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, required=True, help="JSON file, rewritten after every run")
    parser.add_argument("--steps", type=int, default=STEPS, help="updates of a healthy run")
    parser.add_argument("--only", default="", help="runs and faults whose name holds this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "schema_version": 1,
        "kind": "survival",
        "steps": arguments.steps,
        "healthy": [],
        "planted": [],
        "machine": describe_machine(device="cpu", threads=1),
    }
    if arguments.result.exists():
        document = json.loads(arguments.result.read_text())
    done = {one["name"] for one in (*document["healthy"], *document["planted"])}
    todo = [("planted", one.name, lambda one=one: planted(one)) for one in FAULTS]
    todo += [("healthy", one.name, lambda one=one: healthy(one, document["steps"])) for one in HEALTHY]
    for kind, name, measure in todo:
        if name not in done and arguments.only in name:
            found = measure()
            document[kind].append(found)
            write_json(arguments.result, jsonable({**document, "written_at": utc_now()}))
            print(f"{name}: { ({key: value for key, value in found.items() if key != 'undone'}) }", file=sys.stderr)


if __name__ == "__main__":
    main()
