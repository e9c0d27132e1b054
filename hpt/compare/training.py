"""One cell, trained in this process: build by the recipe, train to the end, open the validation set once.

Every arm runs through the hybrid trainer; with predictor "none" that is the plain loop, bit for bit. Diverged runs
are results: they have no final loss and count as the worst.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hpt.compare.cells import Cell, CellResult, Recipe
from hpt.compare.schedules import schedule
from hpt.compare.step_flops import step_flops
from hpt.compare.vault import SealedWorkload, ValidationSealed
from hpt.config import HybridConfig
from hpt.errors import PrerequisiteError, TrainingDiverged
from hpt.machine import describe_machine
from hpt.memory.peak import peak_device_bytes, peak_host_bytes
from hpt.records import JumpRecord, Record
from hpt.trainer.hybrid import HybridTrainer
from hpt.workloads.registry import load_workload

CURVE_POINTS = 50
DIVERGED_FACTOR = 10.0  # a final loss this many times that of knowing nothing is a diverged run's, finite or not


class Abandoned(Exception):
    """Nobody waits for this cell any more."""


def train_cell(cell: Cell, is_wanted: Callable[[], bool] = lambda: True) -> CellResult:
    """Run a cell.

    Args:
        cell: what to run.
        is_wanted: asked before every call of the trainer.

    Raises:
        Abandoned: `is_wanted` said no.
        ValidationSealed: something touched the validation set during training.
        HptError: workload, device or settings cannot be used.
    """
    torch.set_num_threads(cell.threads)
    # this process is the cell's own, and dropout in a user's model draws from the global generator
    torch.manual_seed(cell.seed)  # pyright: ignore[reportUnknownMemberType]
    device = torch.device(cell.device)
    data = None if cell.data is None else Path(cell.data)
    run = CellRun(cell, SealedWorkload(load_workload(cell.workload, seed=cell.seed, data=data, device=device)))
    run.train(is_wanted)
    return run.result()


class CellRun:
    """Workload, trainer and measurements of one cell."""

    def __init__(self, cell: Cell, workload: SealedWorkload) -> None:
        self._cell = cell
        self._workload = workload
        self._model = workload.build_model()
        self._optimizer = make_optimizer(cell.recipe, workload, self._model, cell.steps)
        rates = None if cell.recipe.optimizer != "workload" else schedule(self._optimizer, cell.recipe, cell.steps)
        config = trainer_config(cell, workload.clip_norm)
        self._trainer = HybridTrainer(self._model, self._optimizer, workload.loss, config, rates, self._note)
        self._average = None if cell.recipe.ema_decay is None else WeightAverage(self._model, cell.recipe.ema_decay)
        self._jump_ratios: list[float] = []
        self._curve: list[tuple[dict[str, float], float]] = []
        self._block: list[float] = []
        self._message: str | None = None
        self._train_s = self._cpu_s = 0.0

    def _note(self, record: Record) -> None:
        if isinstance(record, JumpRecord) and record.verdict == "accepted":
            self._jump_ratios.append(record.norm_ratio)

    def train(self, is_wanted: Callable[[], bool]) -> None:
        """Train to the planned number of net updates, or to divergence."""
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        try:
            self._loop(is_wanted)
        except TrainingDiverged as error:
            self._message = " ".join(str(error).split())
        self._trainer.finish()
        self._synchronize()
        self._train_s, self._cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s

    def _loop(self, is_wanted: Callable[[], bool]) -> None:
        trainer, workload, steps = self._trainer, self._workload, self._cell.steps
        marks = [round(steps * (point + 1) / CURVE_POINTS) for point in range(CURVE_POINTS)]
        while trainer.num_updates < steps:
            if not is_wanted():
                raise Abandoned
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
        if self._cell.recipe.optimizer == "schedulefree":
            self._optimizer.eval()  # pyright: ignore[reportAttributeAccessIssue]
        with self._workload.opened():
            loss = self._workload.validation_loss(self._model)
        if loss <= DIVERGED_FACTOR * self._workload.chance_loss:
            return loss
        self._message = f"the validation loss is {loss}, that of knowing nothing {self._workload.chance_loss:.4g}"
        return None

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
        flops = step_flops(self._workload, self._model, self._workload.batch(0))
        return CellResult(
            final_loss=final_loss,
            diverged=final_loss is None,
            counters=charged(summary["counters"], flops),
            curve=[[charged(counters, flops)["full_step_equivalents"], loss] for counters, loss in self._curve],
            train_s=self._train_s,
            cpu_s=self._cpu_s,
            peak_host_bytes=peaks[0],
            peak_device_bytes=peaks[1],
            jump_ratio=sum(ratios) / len(ratios) if ratios else None,
            confidence=summary["confidence"],
            chance_loss=self._workload.chance_loss,
            environment=describe_machine(device=str(device), threads=torch.get_num_threads()),
            message=self._message,
        )


def charged(counters: dict[str, float], flops: int) -> dict[str, float]:
    """The trainer's counters, orthogonal factors in their full-step equivalents at `flops` operations a step."""
    work = counters["full_step_equivalents"] + counters["factor_flops"] / flops
    return counters | {"step_flops": flops, "full_step_equivalents": work}


def trainer_config(cell: Cell, clip_norm: float | None) -> HybridConfig:
    """The trainer's settings for a cell; a clipping limit in the recipe beats the workload's.

    Raises:
        ConfigError: a setting of the recipe is unknown or out of range.
    """
    values = cell.recipe.config
    update = {"clip_norm": clip_norm, **values.get("update", {})}
    precision = {"autocast": cell.dtype, **values.get("precision", {})}
    fixed: dict[str, Any] = {"total_steps": cell.steps, "seed": cell.seed, "update": update, "precision": precision}
    return HybridConfig.from_dict({**values, **fixed})


def make_optimizer(recipe: Recipe, workload: SealedWorkload, model: nn.Module, steps: int) -> Optimizer:
    """The workload's optimizer with the recipe's learning rate and memory, or Schedule-Free AdamW in its place.

    Raises:
        PrerequisiteError: schedulefree is not installed.
    """
    optimizer = workload.build_optimizer(model)
    for group in optimizer.param_groups:
        group["lr"] *= recipe.lr_factor
        if recipe.memory is not None and "betas" in group:
            group["betas"] = (group["betas"][0], recipe.memory)
        elif recipe.memory is not None and "momentum" in group:
            group["momentum"] = recipe.memory
    return optimizer if recipe.optimizer == "workload" else _schedule_free(optimizer, steps)


def _schedule_free(optimizer: Optimizer, steps: int) -> Optimizer:
    """Schedule-Free AdamW (Defazio et al., arXiv:2405.15682) over the same groups; it needs no schedule."""
    try:
        import schedulefree  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise PrerequisiteError("the schedulefree arm needs the package schedulefree; install it") from error
    from hpt.workloads.schedule import warmup_steps  # noqa: PLC0415

    names = ("params", "lr", "betas", "weight_decay")
    groups = [{name: group[name] for name in names if name in group} for group in optimizer.param_groups]
    other = schedulefree.AdamWScheduleFree(groups, lr=groups[0]["lr"], warmup_steps=warmup_steps(steps))
    other.train()
    return other


class WeightAverage:
    """Exponential moving average of the weights over updates; buffers are not averaged.

    Args:
        model: whose trained weights are followed.
        decay: of the average, per update.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._average = [parameter.detach().clone() for parameter in self._parameters]
        self._decay = decay

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an update."""
        for average, parameter in zip(self._average, self._parameters, strict=True):
            average.lerp_(parameter, 1.0 - self._decay)

    @torch.no_grad()
    def install(self) -> None:
        """Put the average into the model."""
        for parameter, average in zip(self._parameters, self._average, strict=True):
            parameter.copy_(average)
