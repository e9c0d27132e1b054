"""What others do between two calls of a trainer stays: an undo takes back only what this trainer did."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from references.bad_predictor import Overshoot
from references.problems import Problem, teacher
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from hpt import HybridConfig, HybridTrainer, Phase
from hpt.trainer import rollback

K = 10


def overshooting(problem: Problem, **probe: float) -> HybridTrainer:
    """Its jumps go far backwards; the probe rejects them, or lets them through and CORRECT rolls them back."""
    config = HybridConfig.from_dict(
        {
            "total_steps": 400,
            "full_steps": K,
            "warmup_steps": 20,
            "gate": "always",
            "predict": {"max_jump_ratio": 10.0},
            "probe": probe,
            "divergence": {"enabled": False},
        }
    )
    return HybridTrainer(problem.model, problem.optimizer, problem.loss_fn, config, None, None, Overshoot(-10.0))


def reach(problem: Problem, trainer: HybridTrainer, phase: Phase) -> None:
    while trainer.phase is not phase:
        trainer.step(problem.batch(trainer.num_calls))
        assert trainer.num_calls < 500


def undone(problem: Problem, trainer: HybridTrainer, meanwhile: Callable[[], None]) -> None:
    """A jump that CORRECT rolls back, and `meanwhile` after the jump and before the verdict."""
    reach(problem, trainer, Phase.CORRECT)
    watch = trainer._c.correct
    assert watch.jump is not None
    watch.jump = dataclasses.replace(watch.jump, allowance=0.0)
    meanwhile()
    for _ in range(3):
        trainer.step(problem.batch(trainer.num_calls))
    assert trainer.summary()["counters"]["jumps_rolled_back"] == 1


def test_a_schedule_stepped_by_the_caller_keeps_its_decay() -> None:
    """StepLR at the end of an epoch, between a jump and its undo: the rate is a tenth from then on."""
    problem = teacher()
    schedule = StepLR(problem.optimizer, step_size=1, gamma=0.1)
    trainer = overshooting(problem, max_rise_frac=10.0, band_sigmas=0.5)
    undone(problem, trainer, schedule.step)
    assert [group["lr"] for group in problem.optimizer.param_groups] == pytest.approx([3e-4, 3e-4])
    assert [group["weight_decay"] for group in problem.optimizer.param_groups] == [0.01, 0.0]


def by_hand(problem: Problem) -> None:
    for group in problem.optimizer.param_groups:
        group["lr"], group["betas"] = 1e-4, (0.8, 0.99)


def as_tensor(problem: Problem) -> None:
    problem.optimizer.param_groups[0]["lr"].fill_(1e-4)


def new_setting(problem: Problem) -> None:
    problem.optimizer.param_groups[0]["frozen_until"] = 7


@pytest.mark.parametrize("change", [by_hand, as_tensor, new_setting])
def test_settings_changed_by_hand_stay(change: Callable[[Problem], None]) -> None:
    """Rates, betas, a rate that is a tensor written in place, a key that was not there."""
    problem = teacher()
    if change is as_tensor:
        problem.optimizer = torch.optim.AdamW(problem.model.parameters(), lr=torch.tensor(3e-3), foreach=False)
    trainer = overshooting(problem, max_rise_frac=10.0, band_sigmas=0.5)
    expected: list[Any] = []

    def meanwhile() -> None:
        change(problem)
        groups = problem.optimizer.param_groups
        expected.extend(copy.deepcopy({k: v for k, v in group.items() if k != "params"}) for group in groups)

    undone(problem, trainer, meanwhile)
    present = [{k: v for k, v in group.items() if k != "params"} for group in problem.optimizer.param_groups]
    assert present == expected


def test_a_schedule_stepped_at_every_update_is_where_the_caller_put_it() -> None:
    """OneCycleLR of the caller through many rejected and undone jumps: rates and betas are those of the plain loop."""

    def schedule_of(problem: Problem) -> LRScheduler:
        return OneCycleLR(problem.optimizer, max_lr=0.01, total_steps=200)

    problem, plain = teacher(), teacher()
    schedule, other = schedule_of(problem), schedule_of(plain)
    trainer = overshooting(problem)
    for _ in range(150):
        trainer.step(problem.batch(trainer.num_calls))
        schedule.step()
        plain.optimizer.step()
        other.step()
    assert trainer.summary()["counters"]["jumps_rejected"] >= 3
    for mine, theirs in zip(problem.optimizer.param_groups, plain.optimizer.param_groups, strict=True):
        assert (mine["lr"], mine["betas"]) == (theirs["lr"], theirs["betas"])


class Gan(nn.Module):
    """Generator and discriminator in one module, a batch norm in each."""

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))
        self.d = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))


def gan() -> tuple[Problem, Problem]:
    """One module, two problems: the generator's and the discriminator's, each with its own optimizer."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = Gan()

    def noise(index: int) -> torch.Tensor:
        return torch.randn(32, 4, generator=torch.Generator().manual_seed(index))

    def fool(net: nn.Module, z: torch.Tensor) -> torch.Tensor:
        assert isinstance(net, Gan)
        return nn.functional.softplus(-net.d(net.g(z))).mean()

    def tell(net: nn.Module, z: torch.Tensor) -> torch.Tensor:
        assert isinstance(net, Gan)
        real = 1.0 + 0.5 * z[:, :2]
        fake = net.g(z).detach()
        return (nn.functional.softplus(-net.d(real)) + nn.functional.softplus(net.d(fake))).mean()

    def adam(part: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(part.parameters(), lr=2e-3, betas=(0.5, 0.99))

    return Problem(model, adam(model.g), None, fool, noise), Problem(model, adam(model.d), None, tell, noise)


def test_an_undone_jump_of_one_network_leaves_the_other_as_its_trainer_left_it() -> None:
    """Weights, moments and batch statistics that only the discriminator's trainer wrote meanwhile, to the bit."""
    generator, discriminator = gan()
    assert isinstance(generator.model, Gan)
    mine = overshooting(generator)
    theirs = discriminator.trainer(gate="always")
    for _ in range(25):
        mine.step(generator.batch(mine.num_calls))
        theirs.step(discriminator.batch(theirs.num_calls))
    for _ in range(3):
        theirs.step(discriminator.batch(theirs.num_calls))
    expected = copy.deepcopy((generator.model.d.state_dict(), discriminator.optimizer.state_dict()["state"]))
    weight = generator.model.get_parameter("g.0.weight")
    moved = weight.detach().clone()
    with mine._c.own_call():
        rollback.roll_back(mine._c, "planned")
    assert not torch.equal(weight, moved)
    now = generator.model.d.state_dict(), discriminator.optimizer.state_dict()["state"]
    torch.testing.assert_close(now, expected, rtol=0, atol=0)


def test_the_trainers_own_buffers_still_go_back() -> None:
    """Batch statistics that its own forward passes wrote are undone with its steps."""
    generator, _ = gan()
    assert isinstance(generator.model, Gan)
    trainer = overshooting(generator)
    generator.run(trainer, 20)
    expected = copy.deepcopy(generator.model.state_dict())
    for _ in range(5):
        trainer.step(generator.batch(trainer.num_calls))
    with trainer._c.own_call():
        rollback.roll_back(trainer._c, "planned")
    torch.testing.assert_close(generator.model.state_dict(), expected, rtol=0, atol=0)


def test_weights_that_the_caller_sets_before_a_jump_are_those_it_is_undone_to() -> None:
    """The caller clamps them between the last full step and PREDICT; a rejected jump goes back to the clamped ones."""
    problem = teacher()
    trainer = overshooting(problem)
    reach(problem, trainer, Phase.PREDICT)
    for parameter in problem.model.parameters():
        parameter.data.clamp_(-0.05, 0.05)
    expected = copy.deepcopy(problem.model.state_dict())
    assert not trainer.step(problem.batch(trainer.num_calls)).was_predicted
    torch.testing.assert_close(problem.model.state_dict(), expected, rtol=0, atol=0)
