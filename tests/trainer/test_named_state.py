"""`HybridTrainer.state_dict`: all that continues a run, with tensors by parameter name, in this one process."""

import copy
from typing import Any

import pytest
import torch
from references.problems import Problem, teacher, weights_of

from hpt import CheckpointError, HybridTrainer


def saved_at(updates: int, **settings: Any) -> tuple[Problem, HybridTrainer, dict[str, Any]]:
    """A run up to there, and a copy of its state."""
    problem = teacher(dropout=0.1, norm=True)
    trainer = problem.trainer(**settings)
    problem.run(trainer, updates)
    return problem, trainer, copy.deepcopy(trainer.state_dict())


@pytest.mark.parametrize("predictor", ["none", "nesterov", "rssm"])
def test_a_state_continues_the_run_to_the_bit(predictor: str) -> None:
    """In a trainer over other weights, random streams included; 55 is inside a cycle, after verdicts have fallen."""
    problem, trainer, state = saved_at(55, predictor=predictor)
    streams = torch.get_rng_state()
    expected = problem.run(trainer, 120)
    other = teacher(seed=3, dropout=0.1, norm=True)
    other.batch = problem.batch
    again = other.trainer(predictor=predictor)
    again.load_state_dict(state)
    assert torch.equal(torch.get_rng_state(), streams)
    assert other.run(again, 120) == expected
    assert torch.equal(weights_of(other.model), weights_of(problem.model))


def test_weights_moments_and_path_are_under_the_names_of_the_model() -> None:
    """The same names at every time, also before an update has made the moments."""
    problem, _, state = saved_at(55)
    names = [name for name, _ in problem.model.named_parameters()]
    assert set(names) < set(state["model"])
    assert set(state["optimizer"]) == set(state["trajectory"]["trend"]) == set(names)
    assert all(set(one) == {"step", "exp_avg", "exp_avg_sq"} for one in state["optimizer"].values())
    early = teacher(norm=True).trainer().state_dict()
    for part in ("model", "optimizer", "trajectory"):
        assert _names(early[part]) == _names(state[part])


def _names(tree: Any) -> Any:
    return {key: _names(one) for key, one in tree.items()} if isinstance(tree, dict) else None


def test_asking_before_the_first_update_changes_nothing() -> None:
    """Moments that are made for the names are forgotten, and the run is what it would have been."""
    problem, asked = teacher(), teacher()
    trainer = asked.trainer()
    trainer.state_dict()
    assert not asked.optimizer.state
    assert asked.run(trainer, 60) == problem.run(problem.trainer(), 60)
    assert torch.equal(weights_of(asked.model), weights_of(problem.model))


def test_a_state_from_before_the_first_update_has_no_moments() -> None:
    """Loaded, it is a start: an optimizer's count of steps would speak of one that was never made."""
    state = copy.deepcopy(teacher().trainer().state_dict())
    problem, whole = teacher(), teacher()
    trainer = problem.trainer()
    problem.run(trainer, 25)
    trainer.load_state_dict(state)
    assert not problem.optimizer.state
    assert problem.run(trainer, 60) == whole.run(whole.trainer(), 60)


def test_a_jump_in_doubt_stays() -> None:
    """What it would be undone to is not in the state."""
    problem = teacher()
    trainer = problem.trainer(gate="always", predict={"window_start_frac": 0.0, "window_end_frac": 1.0})
    while not trainer._c.correct.in_doubt:
        trainer.step(problem.batch(trainer.num_calls))
    trainer.load_state_dict(copy.deepcopy(trainer.state_dict()))
    assert trainer._c.correct.jump is None


def test_a_state_of_another_predictor_is_refused_and_nothing_changes() -> None:
    """By name, before anything is loaded."""
    _, _, state = saved_at(30, predictor="rssm")
    problem = teacher(dropout=0.1, norm=True)
    trainer, before = problem.trainer(), weights_of(problem.model).clone()
    with pytest.raises(CheckpointError, match="predictor 'rssm', this trainer has 'nesterov'"):
        trainer.load_state_dict(state)
    assert torch.equal(weights_of(problem.model), before)
