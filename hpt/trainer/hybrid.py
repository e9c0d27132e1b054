"""The hybrid trainer: ordinary steps, predicted jumps, corrections, in the order of its phases.

    WARMUP, FULL    K full steps a cycle; the predictor observes each
    PREDICT         one weight delta in place of many steps, no backward pass
    CORRECT         the first C full steps after a kept jump, watched against the forecast made before it

With `predictor="none"` it is the plain loop, bit for bit.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from hpt.config import HybridConfig
from hpt.learned.facts import StepFacts
from hpt.predictors.protocol import LossForecast, Predictor
from hpt.records import Phase, PhaseRecord, Sink, StepRecord, StepResult, discard
from hpt.trainer import cycle, memory_layers, persistence, recovery
from hpt.trainer.full_step import FullOutcome, LossFunction
from hpt.trainer.parts import Parts

_RESULT_FIELDS = tuple(item.name for item in dataclasses.fields(StepResult))


class HybridTrainer:
    """Trains a model, replacing some steps by predicted weight changes.

    Args:
        model: any module; trained in place.
        optimizer: any torch optimizer over its parameters.
        loss_fn: (model, batch) -> scalar tensor.
        config: all settings; None for the defaults.
        scheduler: stepped by the trainer once per optimizer update, never by the caller.
        sink: receives every record; None discards them.
        predictor: your own, instead of the one config.predictor names.

    Raises:
        ModelError: nothing to train.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_fn: LossFunction,
        config: HybridConfig | None = None,
        scheduler: LRScheduler | None = None,
        sink: Sink | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        self._parts = Parts(model, optimizer, loss_fn, config or HybridConfig(), scheduler, sink or discard, predictor)
        self._stretch = PhaseRecord(self.phase, 1, 0, 0.0)

    @property
    def config(self) -> HybridConfig:
        """The settings in force."""
        return self._parts.config

    @property
    def phase(self) -> Phase:
        """Phase of the next call."""
        return Phase.FULL if self._parts.plain else self._parts.controller.phase

    @property
    def num_updates(self) -> int:
        """Net optimizer updates: made, and not taken back by a rollback."""
        return self._parts.controller.step

    @property
    def num_calls(self) -> int:
        """Batches consumed, the position in the data."""
        return self._parts.moving.num_calls

    def step(self, batch: Any) -> StepResult:
        """Consume one batch: a full step, or a predicted jump.

        Raises:
            ModelError: the loss is not a scalar.
            TrainingDiverged: recovery failed; the message names the last checkpoint.
            OutOfMemory: memory ran out and retrying did not help.
        """
        parts, phase = self._parts, self.phase
        parts.ledger.begin()
        parts.precision.enter(phase)
        lr, backwards = parts.full.lr, parts.ledger.counters.backwards
        covered = parts.ledger.counters.jumps_accepted
        forecast = None if parts.plain else self._one_step_forecast()
        expected = self._expected_loss(forecast)
        loss, grad_norm = self._jump(batch, forecast) if phase is Phase.PREDICT else self._full(batch, phase, forecast)
        parts.moving.num_calls += 1
        result = StepResult(
            loss=loss,
            phase=phase,
            was_predicted=phase is Phase.PREDICT and parts.ledger.counters.jumps_accepted > covered,
            predicted_loss=expected,
            confidence=parts.moving.confidence,
            grad_norm=grad_norm,
            num_backward=parts.ledger.counters.backwards - backwards,
            wall_s=parts.ledger.end(phase),
        )
        self._emit(result, lr)
        memory_layers.save_when_asked(parts, phase)
        persistence.save_when_due(parts, phase)  # after the record: a kill leaves no checkpoint ahead of the log
        return result

    def _expected_loss(self, forecast: LossForecast | None) -> float | None:
        """By the forecast made before the jump while that is in doubt, else by the one-step forecast."""
        parts = self._parts
        if not parts.plain and parts.correct.expected is not None:
            return parts.correct.expected
        return None if forecast is None else forecast.mean

    def _one_step_forecast(self) -> LossForecast | None:
        """The constant forecaster's, for the coming full step."""
        trend = self._parts.trend
        if not trend.num_observed:
            return None
        change, scale = trend.at(1)
        return LossForecast(trend.level + change, scale)

    def _jump(self, batch: Any, forecast: LossForecast | None) -> tuple[float, float | None]:
        """PREDICT; when probing fails, the weights are as before and the batch serves a full step instead."""
        try:
            return cycle.predict(self._parts, batch), None
        except Exception as error:  # noqa: BLE001 (whatever the user's loss function raises)
            recovery.probe_failed(self._parts, error)
            self._parts.precision.enter(Phase.FULL)
            return self._full(batch, Phase.FULL, forecast)

    def _full(self, batch: Any, phase: Phase, forecast: LossForecast | None) -> tuple[float, float | None]:
        """WARMUP, FULL, CORRECT: one micro-batch, and what follows from an update."""
        parts = self._parts
        outcome = recovery.run_with_retries(parts, batch)
        if outcome.updated:
            self._updated(outcome, phase, forecast)
        elif outcome.fault is not None and not parts.plain:
            recovery.skipped(parts, outcome)
        return outcome.loss, outcome.grad_norm

    def _updated(self, outcome: FullOutcome, phase: Phase, forecast: LossForecast | None) -> None:
        parts = self._parts
        parts.controller.full_step_done()
        batches, parts.moving.update_batches = parts.moving.update_batches, []
        if parts.plain:
            if parts.controller.cycle_done:
                parts.controller.start_cycle()
            return
        parts.moving.skips_in_row = 0
        parts.moving.max_lr = max(parts.moving.max_lr, parts.full.lr)
        for each in batches:
            parts.probe.keep(each)
        self._observe(outcome, phase, forecast)
        if parts.correct.must_roll_back(outcome.loss):
            recovery.roll_back_jump(parts, f"loss left the forecast's band by {parts.correct.excess():.4g}")
            return
        if parts.config.correct.undo_reversed and parts.correct.just_decided:
            cycle.undo_reversed(parts)
        mean, scale = (None, None) if forecast is None else (forecast.mean, forecast.scale)
        if not recovery.act_on(parts, parts.monitor.check(outcome.loss, mean, scale, outcome.grad_norm)):
            parts.ledger.lap("control")
            memory_layers.end_step(parts, batches, outcome.loss)
        memory_layers.after_update(parts)
        parts.ledger.lap("control")

    def _observe(self, outcome: FullOutcome, phase: Phase, forecast: LossForecast | None) -> None:
        """Tell everyone who learns from full steps, in numbers."""
        parts = self._parts
        if parts.moving.steps_since_jump is not None:
            parts.moving.steps_since_jump += 1
        forecast_z = None if forecast is None else (outcome.loss - forecast.mean) / forecast.scale
        parts.trend.observe(outcome.loss)
        parts.gate.observe(outcome.loss)
        grad_norm = math.nan if outcome.grad_norm is None else outcome.grad_norm
        parts.health.observe(outcome.loss, grad_norm, outcome.group_grad_norms, forecast_z)
        parts.ledger.lap("control")
        parts.predictor.observe(
            StepFacts(
                step=parts.controller.step,
                loss=outcome.loss,
                grad_norm=grad_norm,
                group_grad_norms=outcome.group_grad_norms,
                lr_frac=parts.lr_frac,
                progress=parts.progress,
                phase=phase,
                cycle_frac=parts.controller.cycle_frac,
                steps_since_jump=parts.moving.steps_since_jump,
            )
        )
        parts.ledger.lap("predictor")

    def finish(self) -> None:
        """End of the data: an open fork is given up (the branch under way is an ordinary run), nothing is written."""
        if self._stretch.num_calls:
            self._parts.sink(self._stretch)
            self._stretch = PhaseRecord(self.phase, self.num_calls + 1, 0, 0.0)
        self._parts.moving.fork = None
        self._parts.moving.update_batches = []
        self._parts.full.forget()

    def save(self, path: str | Path) -> None:
        """Write everything needed to continue bit for bit: model, optimizer, predictor, random streams, position.

        Raises:
            DiskError: no space, or the folder cannot be written; an older file at `path` stays as it was.
        """
        persistence.save(self._parts, Path(path))

    def load(self, path: str | Path) -> None:
        """Continue from a file written by `save`, in a trainer built the same way.

        Raises:
            CheckpointError: the file is damaged, of a newer schema, or of another predictor or model.
        """
        persistence.load(self._parts, Path(path))
        self._stretch = PhaseRecord(self.phase, self.num_calls + 1, 0, 0.0)

    def summary(self) -> dict[str, Any]:
        """Phases, counters, seconds, confidence and the predictor's own account, as plain values."""
        parts = self._parts
        ledger = parts.ledger.summary()
        if parts.plain:
            return ledger | {"confidence": None, "predictor": {"name": "none"}}
        account = dict(parts.predictor.summary())
        fall = {"sigmas": parts.gate.fall.fall_sigmas, "passed": parts.gate.fall.passed}
        confidence = account.pop("confidence", None)
        return ledger | {
            "confidence": confidence,
            "predictor": {"name": parts.predictor.name, "fall": fall, **account},
        }

    def _emit(self, result: StepResult, lr: float) -> None:
        parts = self._parts
        values = {name: getattr(result, name) for name in _RESULT_FIELDS}
        parts.sink(StepRecord(step=self.num_updates, call=self.num_calls, lr=lr, **values))
        if result.phase is not self._stretch.phase:
            parts.sink(self._stretch)
            self._stretch = PhaseRecord(result.phase, self.num_calls, 0, 0.0)
            memory_layers.record(parts, result.phase)
        before = self._stretch
        self._stretch = PhaseRecord(
            before.phase, before.first_call, before.num_calls + 1, before.wall_s + result.wall_s
        )
