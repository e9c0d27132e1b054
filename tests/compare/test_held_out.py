"""The validation set opens inside evaluation and nowhere else."""

from contextlib import suppress

import pytest
import torch
from references.leaky_workload import LeakyRegression

from hpt import HybridConfig, HybridTrainer
from hpt.compare.cells import Cell, Recipe
from hpt.compare.held_out import SealedWorkload, ValidationSealed
from hpt.compare.training import CellRun, train_cell
from hpt.jump.stats import CycleStats
from hpt.learned.loss_trend import LossTrend
from hpt.predictors.protocol import BasePredictor
from hpt.workloads.mlp import TeacherMLP
from hpt.workloads.regression import Regression

CPU = torch.device("cpu")


@pytest.fixture
def sealed() -> SealedWorkload:
    return SealedWorkload(Regression(seed=0, device=CPU))


def test_validation_batches_are_not_given_out(sealed: SealedWorkload) -> None:
    """Asking for them raises and is counted."""
    with pytest.raises(ValidationSealed):
        sealed.validation_batches()
    assert sealed.num_breaches == 1


def test_validation_loss_is_not_told(sealed: SealedWorkload) -> None:
    """Nor the loss on them."""
    with pytest.raises(ValidationSealed):
        sealed.validation_loss(sealed.build_model())


def test_a_loss_on_validation_batches_raises(sealed: SealedWorkload) -> None:
    """A batch taken during evaluation is known again afterwards, a part of it too."""
    model = sealed.build_model()
    with sealed.opened():
        inputs, targets = sealed.validation_batches()[0]
        sealed.loss(model, (inputs, targets))
    with pytest.raises(ValidationSealed):
        sealed.loss(model, (inputs, targets))
    with pytest.raises(ValidationSealed):
        sealed.loss(model, (inputs[:10], targets[:10]))
    sealed.loss(model, sealed.batch(0))


def test_evaluation_sees_what_it_always_saw() -> None:
    """The same loss as without the seal."""
    plain, model = TeacherMLP(seed=0, device=CPU), TeacherMLP(seed=0, device=CPU).build_model()
    sealed = SealedWorkload(TeacherMLP(seed=0, device=CPU))
    with sealed.opened():
        assert sealed.validation_loss(model) == plain.validation_loss(model)


class Peeking(BasePredictor):
    """Looks at the validation set before each proposal; what fails in a predictor the trainer survives."""

    def __init__(self, workload: SealedWorkload) -> None:
        self._workload = workload

    def end_cycle(self, stats: CycleStats, trend: LossTrend) -> None:
        self._workload.validation_batches()


def test_a_gate_that_peeks_is_counted_even_where_the_trainer_survives(sealed: SealedWorkload) -> None:
    """The trainer retires the predictor and goes on; the breach stays on record."""
    model = sealed.build_model()
    optimizer = sealed.build_optimizer(model)
    config = HybridConfig(total_steps=60, full_steps=10, warmup_steps=10)
    trainer = HybridTrainer(model, optimizer, sealed.loss, config, predictor=Peeking(sealed))
    while trainer.num_updates < 20:
        trainer.step(sealed.batch(0))
    assert sealed.num_breaches == 1


def test_a_probe_on_the_validation_set_raises(sealed: SealedWorkload) -> None:
    """A training batch that is none fails the step, in every phase."""
    model = sealed.build_model()
    trainer = HybridTrainer(model, sealed.build_optimizer(model), sealed.loss, HybridConfig(predictor="none"))
    with sealed.opened():
        held_out = sealed.validation_batches()[0]
    with pytest.raises(ValidationSealed):
        trainer.step(held_out)


def test_a_cell_with_a_breach_does_not_count() -> None:
    """It fails, and has no result."""
    assert LeakyRegression.name == "leaky"
    cell = Cell(workload="references.leaky_workload:make", arm="baseline", seed=0, steps=50, recipe=Recipe())
    with pytest.raises(ValidationSealed, match="leaky"):
        train_cell(cell)


def test_a_breach_that_was_survived_fails_the_cell_at_its_end(sealed: SealedWorkload) -> None:
    """The run goes through, its result is refused."""
    cell = Cell(workload="regression", arm="baseline", seed=0, steps=20, recipe=Recipe())
    cell_run = CellRun(cell, sealed)
    with suppress(ValidationSealed):
        sealed.validation_batches()
    cell_run.train()
    with pytest.raises(ValidationSealed, match="does not count"):
        cell_run.result()
