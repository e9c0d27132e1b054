"""A training run in this process: build everything, train to the end or a stop, keep the folder in order.

    refuse what cannot work -> take up the checkpoint, if any -> steps -> validate, tell the result -> run.json -> save

Whatever ends the run, `run.json` says how, and the logs hold every call up to there. A result is told as soon as it is
known: nothing that fails afterwards, a full disk say, can lose it.

Several processes make one run: each trains on batches of its own, and the first alone has the folder.
"""

import dataclasses
import math
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import torch

from hpt.config import HybridConfig
from hpt.errors import DiskError, TrainingDiverged, UsageError
from hpt.jsonfiles import read_lines
from hpt.machine import utc_now
from hpt.numerics.rng import derive_seed
from hpt.optimizers.catalogue import OWN
from hpt.optimizers.evaluation import evaluating
from hpt.plugins import FAILURES, one_line
from hpt.records import Record, Sink
from hpt.run.alone import Alone
from hpt.run.device import find_device
from hpt.run.exports import open_exports
from hpt.run.folder import RunLog, locked
from hpt.run.launch import resume_line
from hpt.run.record import DONE, FAILED, INTERRUPTED, RUNNING, RunRecord
from hpt.run.request import TrainRequest, check_same_workload, first_record
from hpt.run.restore import Restored, restore
from hpt.run.settings import DEFAULT_WORKLOAD, check_optimizer, complete_config
from hpt.run.signals import StopRequest
from hpt.run.stopping import StopAgreement
from hpt.run.trouble import TroubleCount
from hpt.trainer.checkpoint_file import CheckpointFolder
from hpt.trainer.hybrid import HybridTrainer
from hpt.workloads.inner import inner_optimizers, inner_schedulers
from hpt.workloads.registry import load_workload


class TrainSession:
    """Workload, trainer and record of a run in this process.

    Args:
        request: what is to be done.
        group: the processes that do it together.

    Raises:
        UsageError: a setting, the workload, the optimizer or the model is not usable.
        PrerequisiteError: data, device or the optimizer's package is missing.
        CheckpointError: the checkpoint to go on from, or a log, is missing, broken or of another run.

    Attributes:
        trainer: as it was when the run was left, or new.
        steps: net updates that the run is to make.
        remark: what is to be said of the place the run goes on from; None if nothing is.
        record: of the run, as far as it is known.
    """

    def __init__(self, request: TrainRequest, group: Alone | None = None) -> None:
        self._folder, self._before = request.folder, request.before
        self._group = group or Alone()
        device = find_device(request.settings.device, self._group.launch)
        self._group.prepare(device)
        if request.settings.threads is not None:
            torch.set_num_threads(request.settings.threads)
        seed = int(request.values.get("seed", 0))
        # this process is ours, and dropout in a user's model draws from the global generator
        torch.manual_seed(_stream_seed(seed, self._group.launch.rank))  # pyright: ignore[reportUnknownMemberType]
        name = request.settings.workload or DEFAULT_WORKLOAD
        data = None if request.settings.data is None else Path(request.settings.data)
        self._workload = load_workload(name, seed=seed, data=data, device=device)
        self.steps = int(request.values.get("total_steps") or self._workload.default_steps)
        config = complete_config(
            request.values, steps=self.steps, clip_norm=self._workload.clip_norm, checkpoints=request.folder.checkpoints
        )
        self._optimizer_name = request.settings.optimizer or OWN
        check_optimizer(self._optimizer_name, config.predictor)
        self._sinks: list[Sink] = []
        self._log: RunLog | None = None
        self._troubles = TroubleCount()
        restored = self._restored(lambda: self._build(config), request.checkpoint)
        self.trainer, self.remark = restored.trainer, restored.remark
        self.record = first_record(request, name, self._workload, self.trainer.config, device, self._group.launch)
        self._group.check_alike((self.record.config, self.record.workload, self.trainer.num_calls))

    def _restored(self, build: Callable[[], HybridTrainer], checkpoint: Path | None) -> Restored:
        if self._before is None:
            return Restored(build())
        check_same_workload(self._before, self._workload)
        return restore(build, self._folder, self._before, checkpoint)

    def _build(self, config: HybridConfig) -> HybridTrainer:
        self._model = self._workload.build_model()
        shared = self._group.shared(self._model)
        name = self._optimizer_name
        self._optimizers = inner_optimizers(self._workload, self._model, name, self.steps, config.roles)
        schedulers = inner_schedulers(self._workload, self._optimizers, name, self.steps)
        return HybridTrainer(
            shared,
            self._optimizers,
            self._workload.loss,
            config,
            scheduler=schedulers,
            sink=self._pass_on,
            process_group=self._group.process_group,
        )

    def _pass_on(self, record: Record) -> None:
        for sink in self._sinks:
            sink(record)

    def run(
        self,
        show: Callable[["TrainSession"], AbstractContextManager[Sink]],
        tell: Callable[[RunRecord], None] = lambda _: None,
    ) -> RunRecord:
        """Train until the run is done or was asked to stop, and return its record.

        Args:
            show: makes the sink that displays progress while it is entered.
            tell: is given the record when the run is done, before it is stored, or interrupted, when it is saved.

        Raises:
            TrainingDiverged: recovery was tried and failed, or the validation loss is not finite.
            OutOfMemory: memory ran out and retries did not help.
            HptError: the folder cannot be written, or is in use.
        """
        with ExitStack() as stack:
            stop = self._group.stopping(stack.enter_context(StopRequest()), self.trainer.config.cycle_steps)
            self._group.once(lambda: self._take_folder(stack))
            with show(self) as display, self._end_recorded(), self._group.explained(self._remedy()):
                self._sinks.append(display)
                is_done = self._steps_made(stop)
                self._evaluate() if is_done else self._save()
            if not is_done:
                self._store(INTERRUPTED)
                tell(self.record)
                return self.record
            tell(self.record)
            self._keep_result()
            return self.record

    def _take_folder(self, stack: ExitStack) -> None:
        """Lock the folder until the run is left, and open the logs and exports in it."""
        stack.enter_context(locked(self._folder.path, "run", self._folder.run_file.name))
        self._refuse_changed()
        self._store(RUNNING)
        self._log = stack.enter_context(RunLog(self._folder, self.trainer.num_calls))
        self._troubles = TroubleCount(read_lines(self._folder.events_file))
        exports = stack.enter_context(open_exports(self.record.settings["log"], self._folder, self._log.call))
        self._sinks = [self._log, self._troubles, *exports]

    def _remedy(self) -> str:
        return f"to go on from the last checkpoint: {resume_line(self.record.environment, self._folder.path)}"

    def _refuse_changed(self) -> None:
        """Refuse a folder in which another process began, or went on with, a run in the meantime."""
        if self._before is None:
            self._folder.refuse_taken()
        elif self._folder.read() != self._before:
            raise UsageError(f"{self._folder.run_file} was changed by another process just now; try again")

    @contextmanager
    def _end_recorded(self) -> Generator[None]:
        """Whatever goes wrong inside is in `run.json`."""
        try:
            yield
        except KeyboardInterrupt:
            self._store(INTERRUPTED, message="interrupted twice; the steps since the last checkpoint are redone")
            raise
        except FAILURES as error:
            with suppress(DiskError):  # a full disk may be what failed; that is the error to show
                self._store(FAILED, message=one_line(error))
            raise

    def _steps_made(self, stop: StopRequest | StopAgreement) -> bool:
        """Step until the updates are made, or, False, a stop is asked for."""
        trainer, launch = self.trainer, self._group.launch
        while trainer.num_updates < self.steps:
            if stop.is_made:
                return False
            trainer.step(self._workload.batch(trainer.num_calls * launch.num_processes + launch.rank))
            if self._log is not None:
                self._log.end_call()
        trainer.finish()
        return True

    def _evaluate(self) -> None:
        """The record of a complete run; a loss that is not finite is a run that failed."""
        loss = self._group.once(self._validation_loss)
        if math.isfinite(loss):
            self._know(DONE, final_loss=loss)
        else:
            self._know(FAILED, message=f"the validation loss is {loss} after {self.trainer.num_updates} updates")

    def _validation_loss(self) -> float:
        with evaluating(self._optimizers):
            return self._workload.validation_loss(self._model)

    def _keep_result(self) -> None:
        """Store what was told, then the last checkpoint; that of a run that failed would push out a good one.

        Raises:
            TrainingDiverged: the run failed.
            DiskError: one of the two cannot be written; `run.json` says which, if it can.
        """
        self._group.once(lambda: self._folder.write(self.record))
        if self.record.status == FAILED:
            raise TrainingDiverged(f"{self.record.message}; lower the learning rate, or begin with another seed")
        try:
            self._save()
        except DiskError as error:
            self._troubles.counts["failed checkpoints"] += 1
            self._store(DONE, final_loss=self.record.final_loss, message=f"the last checkpoint is missing: {error}")
            raise

    def _save(self) -> None:
        folder = CheckpointFolder(self._folder.checkpoints, keep=self.trainer.config.checkpoint.keep)
        self.trainer.save(folder.path_for(self.trainer.num_calls))

    def _store(self, status: str, *, final_loss: float | None = None, message: str | None = None) -> None:
        """Write `run.json` with what is known now; the first process does."""
        self._know(status, final_loss=final_loss, message=message)
        if self._group.is_first:
            self._folder.write(self.record)

    def _know(self, status: str, *, final_loss: float | None = None, message: str | None = None) -> None:
        """Bring the record up to date."""
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
            troubles=dict(self._troubles.counts),
            **summary,
        )


def _stream_seed(seed: int, rank: int) -> int:
    """Of torch's global stream, from which dropout draws: another in each process, and in the first the run's own."""
    return derive_seed(seed, f"process {rank}") if rank else seed
