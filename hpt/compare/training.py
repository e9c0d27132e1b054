"""One cell, trained in this process: build by the recipe, train to the end, open the validation set once.

Every arm runs through the hybrid trainer, but those that are attached to a loop by hand; with predictor "none" that is
the plain loop, bit for bit. Diverged runs are results: they have no final loss and count as the worst.
"""

import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from hpt.compare.attached_loop import AttachedLoop
from hpt.compare.cells import LOOPS, Cell, CellResult
from hpt.compare.held_out import SealedWorkload, ValidationSealed
from hpt.compare.recipes import WeightAverage, make_optimizers, schedules, trainer_config
from hpt.errors import TrainingDiverged
from hpt.machine import describe_machine
from hpt.memory.peak import peak_device_bytes, peak_host_bytes
from hpt.numerics.flops import count_flops
from hpt.optimizers.evaluation import evaluating
from hpt.optimizers.operations import update_flops
from hpt.records import ForkRecord, JumpRecord, Record, jsonable
from hpt.trainer.hybrid import HybridTrainer
from hpt.workloads.registry import load_workload
from hpt.workloads.workload import Workload, kept_rng, num_parameters

CURVE_POINTS = 50
DIVERGED_FACTOR = 10.0  # a final loss this many times that of knowing nothing is a diverged run's, finite or not
PASSES = 6  # operations of a step a weight and sample, at the least: two forward, four backward


def cell_job(arguments: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """Run the cell that `arguments` describe, for `hpt.run.processes`; yields its result as plain values."""
    yield asdict(train_cell(Cell.from_document(arguments)))


def train_cell(cell: Cell) -> CellResult:
    """Run a cell.

    Raises:
        ValidationSealed: something touched the validation set during training.
        HptError: workload, device or settings cannot be used.
    """
    torch.set_num_threads(cell.threads)
    # this process is the cell's own, and dropout in a user's model draws from the global generator
    torch.manual_seed(cell.seed)  # pyright: ignore[reportUnknownMemberType]
    device = torch.device(cell.device)
    data = None if cell.data is None else Path(cell.data)
    run = CellRun(cell, SealedWorkload(load_workload(cell.workload, seed=cell.seed, data=data, device=device)))
    run.train()
    return run.result()


class CellRun:
    """Workload, trainer and measurements of one cell."""

    def __init__(self, cell: Cell, workload: SealedWorkload) -> None:
        self._cell = cell
        self._workload = workload
        self._model = workload.build_model()
        self._optimizers = make_optimizers(cell.recipe, workload, self._model, cell.steps)
        rates = schedules(self._optimizers, cell.recipe, cell.steps)
        self._trainer = self._loop_of(rates)
        self._average = None if cell.recipe.ema_decay is None else WeightAverage(self._model, cell.recipe.ema_decay)
        self._jump_ratios: list[float] = []
        self._forks: list[dict[str, Any]] = []
        self._curve: list[tuple[dict[str, float], float]] = []
        self._block: list[float] = []
        self._message: str | None = None
        self._train_s = self._cpu_s = 0.0

    def _loop_of(self, rates: Sequence[LRScheduler]) -> HybridTrainer | AttachedLoop:
        cell, workload, model = self._cell, self._workload, self._model
        if cell.recipe.loop != LOOPS[0]:
            return AttachedLoop(cell, workload, model, self._optimizers, list(rates), self._note)
        config = trainer_config(cell, workload.clip_norm)
        return HybridTrainer(model, self._optimizers, workload.loss, config, rates, self._note)

    def _note(self, record: Record) -> None:
        if isinstance(record, JumpRecord) and record.verdict == "accepted":
            self._jump_ratios.append(record.norm_ratio)
        elif isinstance(record, ForkRecord):
            self._forks.append(jsonable(asdict(record)))

    def train(self) -> None:
        """Train to the planned number of net updates, or to divergence."""
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        try:
            self._loop()
        except TrainingDiverged as error:
            self._message = " ".join(str(error).split())
        self._trainer.finish()
        self._synchronize()
        self._train_s, self._cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s

    def _loop(self) -> None:
        trainer, workload, steps = self._trainer, self._workload, self._cell.steps
        marks = [round(steps * (point + 1) / CURVE_POINTS) for point in range(CURVE_POINTS)]
        while trainer.num_updates < steps:
            before = trainer.num_updates
            outcome = trainer.step(workload.batch(trainer.num_calls))
            if not math.isfinite(outcome.loss):
                self._give_up_if_plain(outcome.loss)
            if not outcome.was_predicted:
                self._block.append(outcome.loss)
            if self._average is not None and trainer.num_updates > before:
                self._average.update()
            if trainer.num_updates >= marks[min(len(self._curve), CURVE_POINTS - 1)]:
                self._mark()

    def _give_up_if_plain(self, loss: float) -> None:
        """The plain loop has no guards, and weights that are not finite never come back."""
        if self._trainer.config.predictor == "none":
            raise TrainingDiverged(f"loss is {loss} after {self._trainer.num_updates} updates")

    def _mark(self) -> None:
        finite = [loss for loss in self._block if math.isfinite(loss)]
        if finite:
            self._curve.append((self._trainer.summary()["counters"], sum(finite) / len(finite)))
        self._block = []

    def _synchronize(self) -> None:
        if self._workload.device.type == "cuda":
            torch.cuda.synchronize(self._workload.device)

    def _final_loss(self) -> float | None:
        if self._message is not None:
            return None
        if self._average is not None:
            self._average.install()
        with evaluating(self._optimizers), self._workload.opened():
            loss = self._workload.validation_loss(self._model)
        if loss <= DIVERGED_FACTOR * self._workload.chance_loss:
            return loss
        self._message = f"the validation loss is {loss}, that of knowing nothing {self._workload.chance_loss:.4g}"
        return None

    def _update_flops(self) -> float:
        """Of the run's own optimizers; where it diverged, whose numbers are no numbers any more, of new ones."""
        cell, model, optimizers = self._cell, self._model, self._optimizers
        if self._message is not None:
            model = self._workload.build_model()
            optimizers = make_optimizers(cell.recipe, self._workload, model, cell.steps)
        for one in optimizers:
            one.zero_grad(set_to_none=True)
        with kept_rng(self._workload.device):
            self._workload.loss(model, self._workload.batch(0)).backward()
        return update_flops(optimizers)

    def result(self) -> CellResult:
        """Evaluate and sum up.

        Raises:
            ValidationSealed: the validation set was touched during training.
        """
        if self._workload.num_breaches:
            raise ValidationSealed(
                f"{self._cell.arm} touched the validation set of {self._cell.workload} "
                f"{self._workload.num_breaches} times while training; this cell does not count"
            )
        final_loss = self._final_loss()
        summary = self._trainer.summary()
        ratios, device = self._jump_ratios, self._workload.device
        peaks = peak_host_bytes(), peak_device_bytes(device)
        # on a model of its own: what an optimizer hangs on this one is no work of the workload
        step = step_flops(self._workload, self._workload.build_model(), self._workload.batch(0))
        update = self._update_flops()
        return CellResult(
            final_loss=final_loss,
            diverged=final_loss is None,
            counters=charged(summary["counters"], step, update),
            curve=[[charged(counters, step, update)["full_step_equivalents"], loss] for counters, loss in self._curve],
            train_s=self._train_s,
            cpu_s=self._cpu_s,
            peak_host_bytes=peaks[0],
            peak_device_bytes=peaks[1],
            jump_ratio=sum(ratios) / len(ratios) if ratios else None,
            confidence=summary["confidence"],
            scores=summary["predictor"].get("scores"),
            forks=self._forks,
            values=summary["predictor"].get("values"),
            chance_loss=self._workload.chance_loss,
            num_weights=num_parameters(self._model),
            environment=describe_machine(device=str(device), threads=torch.get_num_threads()),
            message=self._message,
        )


def charged(counters: dict[str, float], step_flops: int, update_flops: float) -> dict[str, float]:
    """The trainer's counters, with what optimizers and orthogonal factors did in their full-step equivalents.

    Args:
        counters: of the trainer.
        step_flops: floating-point operations of forward and backward.
        update_flops: of one update of the optimizers.
    """
    others = counters["factor_flops"] + counters["optimizer_updates"] * update_flops
    work = counters["full_step_equivalents"] + others / step_flops
    return counters | {"step_flops": step_flops, "update_flops": update_flops, "full_step_equivalents": work}


def step_flops(workload: Workload, model: nn.Module, batch: Any) -> int:
    """Floating-point operations of forward and backward on a batch: what all other work is charged against.

    Counted while both run once, see `hpt.numerics.flops`. The model's gradients are added to, its weights and torch's
    generators stay as they were.

    Returns:
        The count, and at least six for every trained weight: not all operations of a user's model are known.
    """
    with kept_rng(workload.device), count_flops() as count:
        workload.loss(model, batch).backward()
        found = count()
    least = PASSES * sum(one.numel() for one in model.parameters() if one.requires_grad)
    return max(found, least)
