"""Save anywhere, load in a new process, continue: the same losses to the last bit."""

from pathlib import Path

import pytest
from references.continued import Continued, in_a_new_process
from references.forking import Forking
from references.problems import Problem, teacher

from hpt import HybridTrainer, Phase
from hpt.errors import CheckpointError


def make(predictor: str) -> tuple[Problem, HybridTrainer]:
    problem = teacher(dropout=0.1, norm=True)
    if predictor == "forking":
        return problem, problem.trainer(None, Forking((60,), ("full", "half"), 1, 10, plays="full"), gate="always")
    return problem, problem.trainer(predictor=predictor)


PLACES = ["WARMUP", "mid-FULL", "PREDICT", "CORRECT", "fork"]


def resumed(place: str, path: Path) -> tuple[Problem, HybridTrainer]:
    problem, trainer = make("forking")
    trainer.load(path)
    return problem, trainer


def saved(place: str, path: Path) -> tuple[Problem, HybridTrainer]:
    """A run that has come to a place."""
    problem, trainer = make("forking")
    for _ in range(400):
        parts = trainer._c
        here = {
            "WARMUP": trainer.num_updates == 7,
            "mid-FULL": trainer.num_updates == 37,
            "PREDICT": trainer.phase is Phase.PREDICT,
            "CORRECT": trainer.phase is Phase.CORRECT and parts.correct.num_seen == 1,
            "fork": parts.state.fork is not None and parts.state.fork.num_steps == 5,
        }
        if here[place]:
            break
        trainer.step(problem.batch(trainer.num_calls))
    else:
        raise AssertionError(f"{place} was never reached")
    trainer.save(path)
    return problem, trainer


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> Continued:
    """Fifty losses after each place, and fifty after the load of its checkpoint in a new process."""
    return in_a_new_process(PLACES, tmp_path_factory.mktemp("saved"), saved, "trainer.test_resume")


@pytest.mark.parametrize("place", PLACES)
def test_the_next_fifty_losses_are_bit_identical_in_a_new_process(place: str, continued: Continued) -> None:
    """Dropout, BatchNorm, momentum, trajectory, predictor, fork, phases: nothing is forgotten."""
    here, there = continued[place]
    assert there == here


@pytest.mark.parametrize("predictor", ["rssm", "ridge", "mlp", "linear", "ema_nesterov", "lookahead", "random", "none"])
def test_every_predictor_continues_bit_identically(predictor: str, tmp_path: Path) -> None:
    """Learned state, random streams and pending forecasts survive (same process, fresh objects)."""
    problem, trainer = make(predictor)
    problem.run(trainer, 63)
    path = tmp_path / "run.ckpt"
    trainer.save(path)
    expected = [trainer.step(problem.batch(trainer.num_calls)).loss for _ in range(60)]
    again, fresh = make(predictor)
    fresh.load(path)
    assert [fresh.step(again.batch(fresh.num_calls)).loss for _ in range(60)] == expected


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    """Another predictor or another model is refused in one line that names the difference."""
    problem, trainer = make("none")
    problem.run(trainer, 3)
    trainer.save(tmp_path / "run.ckpt")
    with pytest.raises(CheckpointError, match=r"predictor 'none'.*'nesterov'"):
        make("nesterov")[1].load(tmp_path / "run.ckpt")
    with pytest.raises(CheckpointError, match="does not fit this model"):
        teacher(norm=False).trainer(predictor="none").load(tmp_path / "run.ckpt")


def test_automatic_checkpoints_come_on_time_and_keep_three(tmp_path: Path) -> None:
    """Every save_interval net updates, the newest three files."""
    problem = teacher()
    trainer = problem.trainer(checkpoint={"dir": str(tmp_path), "save_interval": 20})
    problem.run(trainer, 130)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 3
    assert trainer.summary()["seconds"]["part"]["checkpoint"] > 0.0
