"""What a checkpoint puts back is what was there: strides, formats, versions, buffers, weights of the loss."""

from pathlib import Path
from typing import Any

import pytest
import torch
from references.continued import Continued, in_a_new_process
from references.odd_states import ODD, turned
from references.problems import Problem, teacher

from hpt import HybridTrainer

SETTINGS: dict[str, Any] = {"gate": "always", "update": {"accumulation_steps": 2}}


def make(name: str) -> tuple[Problem, HybridTrainer]:
    problem = ODD[name]()
    return problem, problem.trainer(**SETTINGS)


def resumed(name: str, path: Path) -> tuple[Problem, HybridTrainer]:
    problem, trainer = make(name)
    trainer.load(path)
    return problem, trainer


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> Continued:
    """Fifty losses after 40 updates and a half, and fifty after the checkpoint's load in a new process, by name."""

    def saved(name: str, path: Path) -> tuple[Problem, HybridTrainer]:
        problem, trainer = make(name)
        problem.run(trainer, 40)
        trainer.step(problem.batch(trainer.num_calls))
        assert trainer.summary()["counters"]["jumps_accepted"] >= 1
        trainer.save(path)
        return problem, trainer

    return in_a_new_process(list(ODD), tmp_path_factory.mktemp("saved"), saved, "trainer.test_resume_odd")


@pytest.mark.parametrize("name", ODD)
def test_odd_states_continue_bit_identically_in_a_new_process(name: str, continued: Continued) -> None:
    """Saved after 40 updates and a half, a kept jump among them: the next 50 losses are those of the run itself."""
    here, there = continued[name]
    assert len(set(here)) > 40
    assert there == here


OPTIMIZERS: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("Adadelta", "Adafactor", "Adagrad", "Adamax", "ASGD", "NAdam", "RAdam", "Rprop")},
    "Adam": {"amsgrad": True, "capturable": False},
    "AdamW": {"lr": torch.tensor(1e-3), "foreach": False},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "SGD": {"lr": 1e-3, "momentum": 0.9},
}


def _layout(value: Any) -> Any:
    """Formats and strides of a tree of tensors."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.stride(), value.device
    if isinstance(value, dict):
        return {key: _layout(one) for key, one in value.items()}
    return type(value)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_state_comes_back_in_its_format(name: str, tmp_path: Path) -> None:
    """bf16 weights, turned: dtype, stride and every bit of the state of torch's own optimizers."""

    def build() -> tuple[Problem, HybridTrainer]:
        problem = teacher()
        turned(problem.model.bfloat16())
        kind: Any = getattr(torch.optim, name)
        problem.optimizer, problem.scheduler = kind(problem.model.parameters(), **OPTIMIZERS[name]), None
        problem.loss_fn = lambda net, pair: (net(pair[0].bfloat16()).float() - pair[1]).square().mean()
        return problem, problem.trainer(predictor="none")

    problem, trainer = build()
    problem.run(trainer, 5)
    trainer.save(tmp_path / "run.ckpt")
    other, again = build()
    again.load(tmp_path / "run.ckpt")
    mine, theirs = problem.optimizer.state_dict(), other.optimizer.state_dict()
    assert _layout(theirs["state"]) == _layout(mine["state"])
    assert problem.run(trainer, 20) == other.run(again, 20)
