"""The hybrid trainer: ordinary steps, predicted jumps, verdicts on them, in the order of its phases.

    WARMUP, FULL    K full steps a cycle; at its end everyone who learns from them is shown them
    PREDICT         one weight delta in place of many steps, no backward pass
    CORRECT         the first C full steps after a kept jump, watched against the forecast made before it

With `predictor="none"` it is the plain loop, bit for bit.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from hpt.config import HybridConfig
from hpt.errors import UsageError
from hpt.jump.outer import OuterStep
from hpt.memory.manager import MemoryManager
from hpt.predictors.protocol import Predictor
from hpt.records import Phase, Sink, StepResult, discard
from hpt.trainer import checkpoint, cycle, memory_layers, named_state, recovery
from hpt.trainer.components import Components
from hpt.trainer.full_step import FullOutcome, LossFunction
from hpt.trainer.step_records import StepRecords

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class HybridTrainer:
    """Trains a model, replacing some steps by predicted weight changes.

    Args:
        model: any module; trained in place.
        optimizer: any torch optimizer over its parameters, or a list of them, stepped in order, that share none.
        loss_fn: (model, batch) -> scalar tensor.
        config: all settings; None for the defaults.
        scheduler: one, or a list of any length in order, each stepped by the trainer once per update, never by the
            caller; one that steps on a metric (ReduceLROnPlateau) is not given here but stepped by the caller.
        sink: receives every record; None discards them.
        predictor: your own, instead of the one config.predictor names.
        process_group: the processes that train this model on different data; None: all, where there are several.

    Raises:
        ModelError: it cannot be trained so; the message names the remedy.
        ConfigError: `roles` names no parameter of the model.
        CheckpointError: checkpoint.dir is set and the model's state cannot be stored.
    """

    def __init__(  # noqa: PLR0913 (what a trainer is made of)
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        loss_fn: LossFunction,
        config: HybridConfig | None = None,
        scheduler: LRScheduler | Sequence[LRScheduler] | None = None,
        sink: Sink | None = None,
        predictor: Predictor | None = None,
        *,
        process_group: "ProcessGroup | None" = None,
    ) -> None:
        sink = discard if sink is None else sink
        settings = config or HybridConfig()
        self._c = Components(
            model, optimizer, loss_fn, settings, scheduler, sink, predictor, process_group=process_group
        )
        checkpoint.check_storable(self._c)
        self._records = StepRecords(self._c, self.phase)
        self._forecasts: list[float] = []  # of each step of the cycle under way, made at its start

    @property
    def config(self) -> HybridConfig:
        """The settings in force; `cycle_steps` is K as it is used."""
        return self._c.config

    @property
    def phase(self) -> Phase:
        """Phase of the next call."""
        return Phase.FULL if self._c.is_baseline else self._c.controller.phase

    @property
    def num_updates(self) -> int:
        """Net optimizer updates: made, and not taken back by a rollback."""
        return self._c.controller.step

    @property
    def num_calls(self) -> int:
        """Batches consumed, the position in the data."""
        return self._c.state.num_calls

    @property
    def outer(self) -> OuterStep:
        """The object that makes the jumps: trajectory, snapshot, bound.

        Raises:
            UsageError: the plain loop has none.
        """
        self._refuse_baseline("outer step")
        return self._c.outer

    @property
    def memory(self) -> MemoryManager:
        """The memory layers.

        Raises:
            UsageError: the plain loop has none.
        """
        self._refuse_baseline("memory layers")
        return self._c.memory

    def _refuse_baseline(self, what: str) -> None:
        if self._c.is_baseline:
            raise UsageError(f"predictor is 'none', the plain loop, which has no {what}; name a predictor")

    def step(self, batch: Any) -> StepResult:
        """Consume one batch: a full step, or a predicted jump.

        Raises:
            ModelError: the loss is not a scalar.
            TrainingDiverged: recovery failed; the message names the last checkpoint.
            OutOfMemory: memory ran out and retrying did not help.
        """
        with self._c.own_call():
            return self._step(batch)

    def _step(self, batch: Any) -> StepResult:
        c = self._c
        c.ledger.begin()
        if self.phase is Phase.PREDICT:
            cycle.settle_parameters(c)
        phase = self.phase
        c.precision.enter(phase)
        lr, backwards = c.optimizer.lr, c.ledger.counters.backwards
        expected = self._expected_loss(phase)
        kept, read_loss, read_grad_norm = self._predict(batch) if phase is Phase.PREDICT else self._full(batch, phase)
        c.state.num_calls += 1
        result = StepResult(
            phase=phase,
            was_predicted=kept,
            predicted_loss=expected,
            confidence=c.state.confidence,
            num_backward=c.ledger.counters.backwards - backwards,
            wall_s=c.ledger.end(phase),
            read_loss=read_loss,
            read_grad_norm=read_grad_norm,
        )
        self._records.add(result, lr)
        memory_layers.save_when_asked(c, phase)
        self._save_when_due(phase)
        return result

    def _expected_loss(self, phase: Phase) -> float | None:
        """By the forecast made before the jump while that is in doubt, else by the one made at the cycle's start."""
        c = self._c
        if c.is_baseline:
            return None
        if c.correct.expected is not None:
            return c.correct.expected
        position = c.controller.cycle_position if phase is not Phase.PREDICT else 0
        if position == 0:
            self._forecasts = []
        if not self._forecasts and c.trend.num_observed:
            changes, _ = c.trend.curve(c.config.cycle_steps)
            self._forecasts = (c.trend.level + changes).tolist()
        return self._forecasts[position] if self._forecasts else None

    def _predict(self, batch: Any) -> tuple[bool, Callable[[], float], Callable[[], float] | None]:
        """PREDICT; when probing fails, the weights are as before and the batch serves a full step instead."""
        try:
            result = cycle.predict(self._c, batch)
        except Exception as error:  # noqa: BLE001 (whatever the user's loss function raises)
            recovery.probe_failed(self._c, error)
            self._c.precision.enter(Phase.FULL)
            return self._full(batch, Phase.FULL)
        loss = result.loss
        assert loss is not None, "PREDICT probes every jump"
        return result.kept, lambda: loss, None

    def _full(self, batch: Any, phase: Phase) -> tuple[bool, Callable[[], float], Callable[[], float] | None]:
        """WARMUP, FULL, CORRECT: one micro-batch, and what follows from an update."""
        if not self._c.reads_at_once and not self._c.is_baseline and self.num_calls == 0:
            self._c.outer.take_snapshot()  # what turns out not finite a cycle later is undone, in the first cycle too
        outcome = recovery.run_with_retries(self._c, batch)
        if outcome.updated:
            self._updated(outcome, phase)
        elif outcome.fault is not None and not self._c.is_baseline:
            recovery.skipped(self._c, outcome)
        return False, outcome.read_loss, outcome.read_grad_norm

    def _updated(self, outcome: FullOutcome, phase: Phase) -> None:
        c = self._c
        c.controller.full_step_done()
        if c.is_baseline:
            if c.controller.cycle_done:
                c.controller.start_cycle()
            return
        assert outcome.row is not None, "a guarded update measures its step"
        c.readings.add(outcome.row)
        c.history.add(c.controller.step, c.optimizer.lr, c.controller.cycle_frac, phase)
        if c.reads_at_once:
            c.state.skips_in_row = 0
        if c.full.untouched:
            c.event_once(
                "no_gradient", "the loss of a batch reached no weight; check that loss_fn uses the model given"
            )
        for each in outcome.batches:
            c.probe.keep(each)
        recovery.count_retry(c)
        memory_layers.end_step(c, outcome.batches)
        c.ledger.lap("control")
        memory_layers.after_update(c)

    def finish(self) -> None:
        """End of the data: an open fork is given up (the branch under way is an ordinary run), nothing is written."""
        self._records.send()
        self._records.end_stretch(self.phase)
        self._c.state.fork = None
        self._c.full.forget()

    def save(self, path: str | Path) -> None:
        """Write everything needed to continue bit for bit: model, optimizer, predictor, random streams, position.

        Raises:
            DiskError: no space, or the folder cannot be written; an older file at `path` stays as it was.
        """
        with self._c.own_call():
            cycle.settle_parameters(self._c)
            self._records.send()
            checkpoint.save(self._c, Path(path))

    def load(self, path: str | Path) -> None:
        """Continue from a file written by `save`, in a trainer built the same way.

        Raises:
            CheckpointError: the file is damaged, of another schema, or does not fit; nothing has changed then.
        """
        with self._c.own_call():
            checkpoint.load(self._c, Path(path))
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Records from here on are of the run that was loaded."""
        self._records.begin_anew(self.phase)
        self._forecasts = []

    def state_dict(self) -> dict[str, Any]:
        """The state for torch.distributed.checkpoint, which divides it anew among other processes: a `Stateful`.

        Large tensors by parameter name, pieces as DTensors, not copied. Called in all processes together. An update in
        progress, an open fork and kept batches are not in it, and a jump in doubt stays; `save` has them.

        Raises:
            CheckpointError: a part of the state cannot be stored.
        """
        with self._c.own_call():
            cycle.settle_parameters(self._c)
            self._records.send()
            return named_state.state_dict(self._c)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave, in a trainer built the same way, on any number of processes.

        Raises:
            CheckpointError: it does not fit; nothing has changed then.
        """
        with self._c.own_call():
            named_state.load_state_dict(self._c, state_dict)
        self._begin_anew()

    def summary(self) -> dict[str, Any]:
        """Phases, counters, seconds, confidence and the predictor's own account, as plain values."""
        c = self._c
        ledger = c.ledger.summary()
        if c.is_baseline:
            return ledger | {"confidence": None, "predictor": {"name": "none"}}
        account = dict(c.predictor.summary())
        progress = {"sigmas": c.gate.progress.fall_sigmas, "passed": c.gate.progress.passed}
        confidence = account.pop("confidence", None)
        return ledger | {
            "confidence": confidence,
            "predictor": {"name": c.predictor.name, "fall": progress, **account},
        }

    def _save_when_due(self, phase: Phase) -> None:
        """The automatic checkpoint comes after the records: a kill leaves no checkpoint ahead of the log."""
        if checkpoint.is_due(self._c):
            cycle.settle_parameters(self._c)
            self._records.send()
            checkpoint.save_due(self._c, phase)
