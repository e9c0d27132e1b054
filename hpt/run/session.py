"""One process's part of a training run: build everything, train to the end or a stop, keep the folder in order.

    refuse what cannot work -> take up the checkpoint, if any -> steps -> validate -> run.json

Whatever ends the run, `run.json` says how, and the logs hold every call up to there.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hpt.config import HybridConfig
from hpt.errors import DataError, DeviceError, DiskError, UsageError
from hpt.jsonfiles import make_folder
from hpt.machine import describe_machine, utc_now
from hpt.records import Record, Sink
from hpt.run.exports import open_exports
from hpt.run.folder import DONE, FAILED, INTERRUPTED, RUNNING, RunFolder, RunLog, RunRecord
from hpt.run.restore import restore
from hpt.run.settings import DEFAULT_WORKLOAD, DTYPES, TrainSettings, complete_config
from hpt.run.signals import StopRequest
from hpt.trainer.checkpoint_file import CheckpointFolder
from hpt.trainer.hybrid import HybridTrainer
from hpt.workloads.registry import load_workload
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


class TrainSession:
    """Workload, trainer and record of a run in this process.

    Args:
        request: what is to be done.

    Raises:
        UsageError: a setting, the workload or the model is not usable.
        PrerequisiteError: data, device or disk is missing.
        CheckpointError: the checkpoint to go on from is broken.

    Attributes:
        trainer: as it was when the run was left, or new.
        steps: net updates that the run is to make.
        record: of the run, as far as it is known.
    """

    def __init__(self, request: TrainRequest) -> None:
        self._folder = request.folder
        device = find_device(request.settings.device)
        if request.settings.threads is not None:
            torch.set_num_threads(request.settings.threads)
        seed = int(request.values.get("seed", 0))
        # this process is ours, and dropout in a user's model draws from the global generator
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        name = request.settings.workload or DEFAULT_WORKLOAD
        data = None if request.settings.data is None else Path(request.settings.data)
        self._workload = load_workload(name, seed=seed, data=data, device=device)
        self.steps = int(request.values.get("total_steps") or self._workload.default_steps)
        config = complete_config(
            request.values, steps=self.steps, clip_norm=self._workload.clip_norm, checkpoints=request.folder.checkpoints
        )
        self._sinks: list[Sink] = []
        self.record = _first_record(request, name, self._workload, config, device)
        if request.before is not None:
            _check_same_data(request.before, self._workload)
        make_folder(request.folder.path)
        self.trainer = restore(lambda: self._build(config), request.folder, request.checkpoint)

    def _build(self, config: HybridConfig) -> HybridTrainer:
        self._model = self._workload.build_model()
        optimizer = self._workload.build_optimizer(self._model)
        scheduler = self._workload.build_scheduler(optimizer, self.steps)
        return HybridTrainer(
            self._model, optimizer, self._workload.loss, config, scheduler=scheduler, sink=self._pass_on
        )

    def _pass_on(self, record: Record) -> None:
        for sink in self._sinks:
            sink(record)

    def run(self, show: Callable[["TrainSession"], AbstractContextManager[Sink]]) -> RunRecord:
        """Train until the run is done or was asked to stop, and return its record as stored.

        Args:
            show: makes the sink that displays progress while it is entered.

        Raises:
            TrainingDiverged: recovery was tried and failed.
            OutOfMemory: memory ran out and retries did not help.
            HptError: the folder cannot be written, or is in use.
        """
        with ExitStack() as stack:
            stop = stack.enter_context(StopRequest())
            log = stack.enter_context(RunLog(self._folder, self.trainer.num_calls))
            exports = stack.enter_context(open_exports(self.record.settings["log"], self._folder, log.call))
            self._sinks = [log, *exports, stack.enter_context(show(self))]
            self._store(RUNNING)
            try:
                return self._train(log, stop)
            except KeyboardInterrupt:
                self._store(INTERRUPTED, message="interrupted twice; the steps since the last checkpoint are redone")
                raise
            except Exception as error:
                with suppress(DiskError):  # a full disk may be what failed; that is the error to show
                    self._store(FAILED, message=" ".join(str(error).split()) or type(error).__name__)
                raise

    def _train(self, log: RunLog, stop: StopRequest) -> RunRecord:
        """Step until the updates are made or a stop is asked for; only a complete run is validated."""
        trainer = self.trainer
        while trainer.num_updates < self.steps:
            if stop.is_made:
                self._save()
                return self._store(INTERRUPTED)
            trainer.step(self._workload.batch(trainer.num_calls))
            log.end_call()
        trainer.finish()
        self._save()
        return self._store(DONE, final_loss=self._workload.validation_loss(self._model))

    def _save(self) -> None:
        folder = CheckpointFolder(self._folder.checkpoints, keep=self.trainer.config.checkpoint.keep)
        self.trainer.save(folder.path_for(self.trainer.num_calls))

    def _store(self, status: str, *, final_loss: float | None = None, message: str | None = None) -> RunRecord:
        """Write `run.json` with what is known now."""
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


def _first_record(
    request: TrainRequest, name: str, workload: Workload, config: HybridConfig, device: torch.device
) -> RunRecord:
    """The record as the run, or this part of it, begins."""
    threads = torch.get_num_threads()
    settings = dataclasses.replace(
        request.settings,
        workload=name,
        predictor=config.predictor,
        steps=config.total_steps,
        seed=config.seed,
        device=str(device),
        dtype=next(flag for flag, autocast in DTYPES.items() if autocast == config.precision.autocast),
        threads=threads,
        log=request.settings.log or (),
    )
    facts = {"name": workload.name, "chance_loss": workload.chance_loss, "clip_norm": workload.clip_norm}
    environment = describe_machine(device=str(device), threads=threads)
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
    )


def _check_same_data(before: RunRecord, workload: Workload) -> None:
    """The chance level is a fingerprint of the data: another one means other data, and another run."""
    known = float(before.workload["chance_loss"])
    if not math.isclose(known, workload.chance_loss, rel_tol=1e-9):
        raise DataError(
            f"the data is not the run's (chance level {workload.chance_loss:.6g}, then {known:.6g}); "
            "restore it, or begin another run with another --out"
        )
