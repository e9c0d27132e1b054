"""What one process's part of a run is asked to do, the record with which it begins, and whether it is the same run."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hpt.config import HybridConfig
from hpt.errors import DataError
from hpt.machine import describe_machine, utc_now
from hpt.optimizers.catalogue import OWN
from hpt.run.folder import RunFolder
from hpt.run.launch import Launch
from hpt.run.record import RUNNING, RunRecord
from hpt.run.settings import DTYPES, TrainSettings
from hpt.workloads.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What is to be done.

    Attributes:
        settings: the flags, those of the beginning included when a run is resumed.
        values: nested dictionary of trainer settings, not yet completed.
        folder: where the run lives.
        command: the command line, for the record.
        before: the run's record so far; None for a new run.
        checkpoint: the file to go on from, if a particular one was asked for.
    """

    settings: TrainSettings
    values: Mapping[str, Any]
    folder: RunFolder
    command: list[str]
    before: RunRecord | None = None
    checkpoint: Path | None = None


def first_record(
    request: TrainRequest, name: str, workload: Workload, config: HybridConfig, device: torch.device, launch: Launch
) -> RunRecord:
    """The record as the run, or this part of it, begins."""
    threads = torch.get_num_threads()
    settings = dataclasses.replace(
        request.settings,
        workload=name,
        predictor=config.predictor,
        optimizer=request.settings.optimizer or OWN,
        steps=config.total_steps,
        seed=config.seed,
        device=device.type if launch.are_several else str(device),
        dtype=next(flag for flag, autocast in DTYPES.items() if autocast == config.precision.autocast),
        threads=threads,
        log=request.settings.log or (),
    )
    facts = {"name": workload.name, "chance_loss": workload.chance_loss, "clip_norm": workload.clip_norm}
    environment = describe_machine(device=str(device), threads=threads) | launch.facts
    if device.type == "cuda":
        environment["device_name"] = torch.cuda.get_device_name(device)
    return RunRecord(
        status=RUNNING,
        command=request.command if request.before is None else request.before.command,
        settings=dataclasses.asdict(settings),
        config=config.to_dict(),
        workload=dict(workload.description) | facts,
        seed=config.seed,
        environment=environment,
        started_at=utc_now() if request.before is None else request.before.started_at,
        num_resumes=0 if request.before is None else request.before.num_resumes + 1,
        earlier_steps=_earlier_steps(request.before, config),
    )


def _earlier_steps(before: RunRecord | None, config: HybridConfig) -> list[int]:
    """Lengths that the run had before it was extended."""
    if before is None:
        return []
    is_longer = before.config["total_steps"] != config.total_steps
    return [*before.earlier_steps, *([before.config["total_steps"]] if is_longer else [])]


def check_same_workload(before: RunRecord, workload: Workload) -> None:
    """Name, hash of the text and chance level are fingerprints of workload and data: others mean another run.

    Raises:
        DataError: one of them is another.
    """
    known = before.workload
    for fact, now in (("name", workload.name), ("sha256", workload.description.get("sha256"))):
        if known.get(fact) != now:
            raise _other_data(fact, str(now), str(known.get(fact)))
    if not math.isclose(float(known["chance_loss"]), workload.chance_loss, rel_tol=1e-9):
        raise _other_data("chance level", f"{workload.chance_loss:.6g}", f"{float(known['chance_loss']):.6g}")


def _other_data(fact: str, now: str, then: str) -> DataError:
    return DataError(
        f"workload or data is not the run's ({fact} {now}, then {then}); "
        "restore it, or begin another run with another --out"
    )
