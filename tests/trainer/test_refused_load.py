"""A load that is refused says by name what does not fit, and changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from references.forking import Forking
from references.problems import Problem, teacher
from references.same import assert_same
from torch import nn

from hpt import HybridTrainer
from hpt.errors import CheckpointError
from hpt.numerics.containers import mapped
from hpt.trainer import checkpoint

SETTINGS: dict[str, Any] = {"gate": "always", "update": {"accumulation_steps": 2}, "warmup_steps": 10}


class Picky(nn.Linear):
    """A layer that may refuse its state, after the layers before it took theirs."""

    error: BaseException | None = None

    def get_extra_state(self) -> dict[str, Any]:
        return {"known": True}

    def set_extra_state(self, state: Any) -> None:
        if Picky.error is not None and not state.get("mine"):
            raise Picky.error


def _picky() -> Problem:
    return _with(teacher(norm=True), lambda model: model.append(Picky(1, 1)))


def _with(problem: Problem, change: Callable[[nn.Sequential], nn.Module]) -> Problem:
    assert isinstance(problem.model, nn.Sequential)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        problem.model = change(problem.model)
    problem.optimizer = torch.optim.AdamW(problem.model.parameters(), lr=3e-3)
    problem.scheduler = torch.optim.lr_scheduler.LambdaLR(problem.optimizer, lambda step: 1.0 / (1.0 + step))
    return problem


def _wider(model: nn.Sequential) -> nn.Module:
    model[0], model[-1] = nn.Linear(8, 32), nn.Linear(32, 1)
    return model


def _renamed(model: nn.Sequential) -> nn.Module:
    return (
        nn.Sequential().append(model[0]).append(nn.Tanh()).append(nn.Identity()).append(nn.Identity()).append(model[-1])
    )


def _scheduled(kind: type[Any] | None, **settings: Any) -> Problem:
    problem = _with(teacher(), lambda model: model)
    problem.scheduler = None if kind is None else kind(problem.optimizer, **settings)
    return problem


def _optimized(kind: type[Any], **settings: Any) -> Problem:
    problem = _scheduled(None)
    problem.optimizer = kind(problem.model.parameters(), **settings)
    return problem


def _grouped() -> Problem:
    problem = _scheduled(None)
    weights = list(problem.model.parameters())
    problem.optimizer = torch.optim.AdamW([{"params": weights[:1]}, {"params": weights[1:]}], lr=3e-3)
    return problem


OTHERS: dict[str, tuple[Callable[[], Problem], str]] = {
    "shapes": (
        lambda: _with(teacher(), _wider),
        r"other shapes 0.weight \(16, 8\) float32 in the file, \(32, 8\) float32 here, 0.bias \(16,\) float32 in the "
        r"file, \(32,\) float32 here, 3.weight \(1, 16\) float32 in the file, \(1, 32\) float32 here; use",
    ),
    "keys": (
        lambda: _with(teacher(), _renamed),
        r"missing keys 4.weight, 4.bias; unexpected keys 3.weight, 3.bias; use",
    ),
    "many_keys": (
        lambda: _with(teacher(), lambda model: model.extend([nn.Linear(1, 1) for _ in range(9)])),
        r"missing keys 4.weight, 4.bias, .*, 7.weight, 7.bias and 10 more; parameters by optimizer group \[4\] in",
    ),
    "format": (
        lambda: _with(teacher(), lambda model: model.double()),
        r"other shapes 0.weight \(16, 8\) float32 in the file, \(16, 8\) float64 here",
    ),
    "optimizer": (
        lambda: _optimized(torch.optim.SGD, lr=0.1),
        "optimizer AdamW in the file, SGD here; scheduler LambdaLR",
    ),
    "groups": (_grouped, r"parameters by optimizer group \[4\] in the file, \[1, 3\] here"),
    "scheduler": (
        lambda: _scheduled(torch.optim.lr_scheduler.StepLR, step_size=3),
        "scheduler LambdaLR in the file, StepLR here",
    ),
    "no_scheduler": (lambda: _scheduled(None), "scheduler LambdaLR in the file, none here"),
}


def everything(trainer: HybridTrainer) -> Any:
    """The whole state, copied."""
    with trainer._c.own_call():
        return mapped(torch.clone, checkpoint.state_of(trainer._c))


def _saved(path: Path, problem: Problem, updates: int, **settings: Any) -> Path:
    trainer = problem.trainer(**(SETTINGS | settings))
    problem.run(trainer, updates)
    trainer.save(path)
    return path


def _assert_refuses(trainer: HybridTrainer, path: Path, match: str) -> None:
    before, summary = everything(trainer), trainer.summary()
    with pytest.raises(CheckpointError, match=match) as caught:
        trainer.load(path)
    assert "\n" not in str(caught.value)
    assert_same(everything(trainer), before)
    assert trainer.summary() == summary


@pytest.mark.parametrize("name", OTHERS)
def test_what_does_not_fit_is_named_and_nothing_changes(name: str, tmp_path: Path) -> None:
    """Keys, shapes, formats, kinds, groups: all of them in one line, before anything is touched."""
    path = _saved(tmp_path / "run.ckpt", _with(teacher(), lambda model: model), 7)
    build, match = OTHERS[name]
    problem = build()
    problem.loss_fn = lambda net, pair: (net(pair[0].to(next(net.parameters()).dtype)) - pair[1]).square().mean()
    trainer = problem.trainer(**SETTINGS)
    problem.run(trainer, 13)
    _assert_refuses(trainer, path, match)


def _forking(place: str) -> Forking:
    return Forking((70,) if place == "fork" else (), ("full",), 1, 10, plays="full")


@pytest.mark.parametrize("place", ["fork", "in_doubt", "mid-update"])
def test_a_load_that_fails_half_way_is_taken_back(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's own code refuses its state late; the trainer goes on bit for bit as one that never tried."""
    path = _saved(tmp_path / "run.ckpt", _picky(), 33)
    runs = [(problem, problem.trainer(None, _forking(place), **SETTINGS)) for problem in (_picky(), _picky())]
    for problem, trainer in runs:
        problem.run(trainer, 61)
        for _ in range(200):
            c = trainer._c
            fork = c.state.fork is not None and c.state.fork.num_steps == 5
            if {"fork": fork, "in_doubt": c.correct.in_doubt, "mid-update": c.full.accumulating}[place]:
                break
            trainer.step(problem.batch(trainer.num_calls))
        else:
            raise AssertionError(f"{place} was never reached")
    (problem, trainer), (twin, other) = runs
    monkeypatch.setattr(Picky, "error", RuntimeError("no key\n  alpha\nno key beta"))
    monkeypatch.setattr(Picky, "get_extra_state", lambda self: {"mine": True})
    _assert_refuses(trainer, path, "RuntimeError: no key alpha no key beta; use the run's own")
    monkeypatch.setattr(Picky, "error", KeyboardInterrupt())
    before = everything(trainer)
    with pytest.raises(KeyboardInterrupt):
        trainer.load(path)
    assert_same(everything(trainer), before)
    losses = [
        [one.step(each.batch(one.num_calls)).loss for _ in range(60)]
        for each, one in ((problem, trainer), (twin, other))
    ]
    assert losses[0] == losses[1]


def test_a_load_that_is_refused_by_a_collaborator_is_taken_back(tmp_path: Path) -> None:
    """The learned model of another size: its shape is in the message, weights and counters are as before."""
    path = _saved(tmp_path / "run.ckpt", teacher(), 30, predictor="rssm", learner={"dims": "reference"})
    problem = teacher()
    settings: dict[str, Any] = SETTINGS | {"predictor": "rssm"}
    trainer = problem.trainer(**settings)
    problem.run(trainer, 13)
    _assert_refuses(trainer, path, "use the run's own")


def test_a_refused_load_leaves_an_optimizer_without_state_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its optimizer has no state, and it trains as if it had not tried."""
    path = _saved(tmp_path / "run.ckpt", _picky(), 33)
    monkeypatch.setattr(Picky, "error", RuntimeError("no"))
    monkeypatch.setattr(Picky, "get_extra_state", lambda self: {"mine": True})
    problem, twin = _picky(), _picky()
    trainer, other = problem.trainer(**SETTINGS), twin.trainer(**SETTINGS)
    _assert_refuses(trainer, path, "RuntimeError: no")
    assert not problem.optimizer.state
    assert problem.run(trainer, 40) == twin.run(other, 40)
