"""One process's part of a run: build everything, train to the end or a stop, keep the run's folder in order.

    refuse what cannot work -> take up the checkpoint, if any -> steps -> validate -> run.json

Whatever ends the run, `run.json` says how, and the logs hold every call up to there.
"""

import dataclasses
import math
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hpt.cli.exports import open_exports
from hpt.cli.interrupt import StopRequest
from hpt.cli.progress import Tally, show_progress
from hpt.cli.restore import restore
from hpt.cli.settings import DEFAULT_WORKLOAD, DTYPES, TrainSettings, complete_config
from hpt.config import HybridConfig
from hpt.errors import DataError, DeviceError, DiskError, UsageError
from hpt.machine import describe_machine, utc_now
from hpt.records import Record, Sink
from hpt.store import DONE, FAILED, INTERRUPTED, RUNNING, RunFolder, RunLog, RunRecord
from hpt.trainer.checkpoint import CheckpointFolder
from hpt.trainer.hybrid import HybridTrainer
from hpt.workloads.registry import load_workload
from hpt.workloads.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
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


def carry_out(job: Job) -> RunRecord:
    """Train until the run is done or was asked to stop, and return its record as stored.

    Raises:
        UsageError: a setting, the workload or the model is not usable.
        PrerequisiteError: data, device or disk is missing.
        CheckpointError: the checkpoint to go on from is broken.
        TrainingDiverged: recovery was tried and failed.
        OutOfMemory: memory ran out and retries did not help.
    """
    session = Session(job)
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        log = stack.enter_context(RunLog(job.folder, session.trainer.num_calls))
        session.sinks += [
            log,
            *stack.enter_context(open_exports(session.record.settings["log"], job.folder, log.call)),
        ]
        session.sinks.append(stack.enter_context(show_progress(session.tally())))
        session.store(RUNNING)
        try:
            return session.train(log, stop)
        except KeyboardInterrupt:
            session.store(INTERRUPTED, message="interrupted twice; the steps since the last checkpoint are redone")
            raise
        except Exception as error:
            with suppress(DiskError):  # a full disk may be what failed; that is the error to show
                session.store(FAILED, message=" ".join(str(error).split()) or type(error).__name__)
            raise


class Session:
    """Workload, trainer and record of a run in this process; nothing is written before `store`.

    Args:
        job: what is to be done.

    Raises:
        HptError: the job cannot be done; see `carry_out`.
    """

    def __init__(self, job: Job) -> None:
        self._folder = job.folder
        device = find_device(job.settings.device)
        if job.settings.threads is not None:
            torch.set_num_threads(job.settings.threads)
        seed = int(job.values.get("seed", 0))
        # this process is ours, and dropout in a user's model draws from the global generator
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        name = job.settings.workload or DEFAULT_WORKLOAD
        data = None if job.settings.data is None else Path(job.settings.data)
        self._workload = load_workload(name, seed=seed, data=data, device=device)
        self._steps = int(job.values.get("total_steps") or self._workload.default_steps)
        config = complete_config(
            job.values,
            steps=self._steps,
            clip_norm=self._workload.clip_norm,
            checkpoints=job.folder.checkpoints,
        )
        self.sinks: list[Sink] = []
        self.record = _first_record(job, name, self._workload, config, device)
        if job.before is not None:
            _check_same_data(job.before, self._workload)
        job.folder.make()
        self.trainer = restore(lambda: self._build(config), job.folder, job.checkpoint)

    def _build(self, config: HybridConfig) -> HybridTrainer:
        self._model = self._workload.build_model()
        optimizer = self._workload.build_optimizer(self._model)
        scheduler = self._workload.build_scheduler(optimizer, self._steps)
        return HybridTrainer(
            self._model, optimizer, self._workload.loss, config, scheduler=scheduler, sink=self._pass_on
        )

    def _pass_on(self, record: Record) -> None:
        for sink in self.sinks:
            sink(record)

    def tally(self) -> Tally:
        """Where the progress display begins."""
        return Tally(self._steps, self.trainer.num_updates, self._covered)

    def _covered(self) -> int:
        return self.trainer.summary()["counters"]["steps_covered_by_jumps"]

    def train(self, log: RunLog, stop: StopRequest) -> RunRecord:
        """Step until the updates are made or a stop is asked for; only a complete run is validated."""
        trainer = self.trainer
        while trainer.num_updates < self._steps:
            if stop.is_made:
                self._save()
                return self.store(INTERRUPTED)
            trainer.step(self._workload.batch(trainer.num_calls))
            log.end_call()
        trainer.finish()
        self._save()
        return self.store(DONE, final_loss=self._workload.validation_loss(self._model))

    def _save(self) -> None:
        folder = CheckpointFolder(self._folder.checkpoints, keep=self.trainer.config.checkpoint.keep)
        self.trainer.save(folder.path_for(self.trainer.num_calls))

    def store(self, status: str, *, final_loss: float | None = None, message: str | None = None) -> RunRecord:
        """Write `run.json` with what is known now.

        Raises:
            DiskError: the disk is full, or the folder cannot be written.
        """
        known = {item.name for item in dataclasses.fields(RunRecord)}
        summary = {key: value for key, value in self.trainer.summary().items() if key in known}
        self.record = dataclasses.replace(
            self.record,
            status=status,
            message=message,
            final_loss=final_loss,
            finished_at=None if status == RUNNING else utc_now(),
            num_updates=self.trainer.num_updates,
            num_calls=self.trainer.num_calls,
            **summary,
        )
        self._folder.write(self.record)
        return self.record


def find_device(name: str | None) -> torch.device:
    """The device of that name; None: CUDA where there is one, else the CPU.

    Raises:
        UsageError: torch knows no such device.
        DeviceError: it is not in this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device is {name!r}, which torch does not know; use cpu, cuda or cuda:1") from error
    try:
        torch.zeros(1, device=device).item()
    except Exception as error:
        raise DeviceError(f"--device {name} is not available on this machine; use --device cpu") from error
    return device


def _first_record(job: Job, name: str, workload: Workload, config: HybridConfig, device: torch.device) -> RunRecord:
    """The record as the run, or this part of it, begins."""
    threads = torch.get_num_threads()
    settings = dataclasses.replace(
        job.settings,
        workload=name,
        predictor=config.predictor,
        steps=config.total_steps,
        seed=config.seed,
        profile=config.profile,
        device=str(device),
        dtype=next(flag for flag, autocast in DTYPES.items() if autocast == config.precision.autocast),
        threads=threads,
        log=job.settings.log or (),
    )
    facts = {"name": workload.name, "chance_loss": workload.chance_loss, "clip_norm": workload.clip_norm}
    environment = describe_machine(device=str(device), threads=threads)
    if device.type == "cuda":
        environment["device_name"] = torch.cuda.get_device_name(device)
    return RunRecord(
        status=RUNNING,
        command=job.command if job.before is None else job.before.command,
        settings=dataclasses.asdict(settings),
        config=config.to_dict(),
        workload=dict(workload.description) | facts,
        seed=config.seed,
        environment=environment,
        started_at=utc_now() if job.before is None else job.before.started_at,
        num_resumes=0 if job.before is None else job.before.num_resumes + 1,
    )


def _check_same_data(before: RunRecord, workload: Workload) -> None:
    """The chance level is a fingerprint of the data: another one means other data, and another run."""
    known = float(before.workload["chance_loss"])
    if not math.isclose(known, workload.chance_loss, rel_tol=1e-9):
        raise DataError(
            f"the data is not the run's (chance level {workload.chance_loss:.6g}, then {known:.6g}); "
            "restore it, or begin another run with another --out"
        )
