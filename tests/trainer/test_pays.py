"""Each protective part, in the trainer, on the situation it is for: the run does better with it on than off."""

from typing import Any

import torch
from references.bad_predictor import Pessimist
from references.problems import Problem, teacher
from references.records import events_of

from hpt import HybridConfig, HybridTrainer
from hpt.learned.residual_model import ResidualModel
from hpt.records import Record


def final_loss(problem: Problem, trainer: HybridTrainer, updates: int = 160) -> float:
    """Mean loss of the last twenty calls."""
    losses = problem.run(trainer, updates)
    return sum(losses[-20:]) / 20


def with_sgd(lr: float) -> Problem:
    problem = teacher()
    problem.optimizer = torch.optim.SGD(problem.model.parameters(), lr=lr, momentum=0.5)
    problem.scheduler = None
    return problem


def spiked(problem: Problem, at: tuple[int, ...], factor: float) -> Problem:
    """Some batches carry targets that are far too large."""
    inner = problem.batch

    def batch(index: int) -> Any:
        x, y = inner(index)
        return (x, y * factor) if index in at else (x, y)

    problem.batch = batch
    return problem


def events(records: list[Record]) -> list[str]:
    return [one.name for one in events_of(records)]


def test_the_divergence_monitor_saves_a_run_from_one_poisoned_batch() -> None:
    """One batch throws the weights far away: with the monitor they go back, without it the run pays for long."""
    losses: dict[bool, float] = {}
    for enabled in (True, False):
        problem, records = spiked(with_sgd(0.02), (90,), 300.0), list[Record]()
        trainer = problem.trainer(records, warmup_steps=400, divergence={"enabled": enabled})
        losses[enabled] = final_loss(problem, trainer, 120)
        assert ("rolled_back" in events(records)) is enabled
    assert losses[True] < 0.5 * losses[False]


class Untaught(ResidualModel):
    """Learns nothing: forecasts stay as they were made."""

    def observe(self, features: Any, residual: float) -> None:
        """Look away."""


def test_the_residual_model_mends_the_verdicts_of_a_biased_forecaster() -> None:
    """Forecasts that are always too low call every jump bad; with residuals learned, harmless jumps are called good."""
    good_frac: dict[bool, float] = {}
    for learns in (True, False):
        problem, predictor = with_sgd(0.005), Pessimist()
        config = HybridConfig.from_dict(
            {
                "total_steps": 400,
                "full_steps": 10,
                "warmup_steps": 100,
                "gate": "always",
                "probe": {"max_rise_frac": 10.0, "band_sigmas": 50.0},
                "divergence": {"enabled": False},
            }
        )
        trainer = HybridTrainer(problem.model, problem.optimizer, problem.loss_fn, config, None, None, predictor)
        trainer._c.residuals = ResidualModel() if learns else Untaught()
        problem.run(trainer, 400)
        late = predictor.judged_good[-15:]
        good_frac[learns] = sum(late) / len(late)
    assert good_frac[False] == 0.0
    assert good_frac[True] > 0.3
