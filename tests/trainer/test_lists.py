"""Lists of optimizers, and peers with state in odd places, do everywhere what a single one of torch's does."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from references.bad_predictor import Overshoot
from references.forking import Forking
from references.inner import MAKERS, Training
from references.problems import weights_of
from references.same import assert_same
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau, StepLR

from hpt import HybridConfig, HybridTrainer, Phase
from hpt.errors import CheckpointError, ConfigError, ModelError
from hpt.optimizers.roles import Role
from hpt.records import EventRecord, ForkRecord, JumpRecord, Record
from hpt.trainer.checkpoint_file import read_checkpoint

WHOLE = {"policy": "full", "window_start_frac": 0.0, "window_end_frac": 1.0}
ALWAYS: dict[str, Any] = {"gate": "always", "predict": WHOLE}
UNDOING: dict[str, Any] = {"gate": "always", "predict": {"max_jump_ratio": 10.0}, "divergence": {"enabled": False}}


def run(training: Training, trainer: HybridTrainer, calls: int) -> list[float]:
    return [trainer.step(training.problem.batch(trainer.num_calls)).loss for _ in range(calls)]


def reach(training: Training, trainer: HybridTrainer, phase: Phase) -> None:
    while trainer.phase is not phase:
        run(training, trainer, 1)
        assert trainer.num_calls < 500


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("name", MAKERS)
def test_the_plain_loop_is_the_hand_written_one(name: str, clip: float | None) -> None:
    """Losses, weights, states and schedules agree bit for bit."""
    ours, theirs = Training.of(name), Training.of(name)
    trainer = ours.trainer(predictor="none", update={} if clip is None else {"clip_norm": clip})
    assert run(ours, trainer, 40) == theirs.by_hand(40, clip)
    assert_same(ours.state(), theirs.state())
    assert trainer.summary()["counters"]["optimizer_updates"] == trainer.num_updates == 40


@pytest.mark.parametrize("name", MAKERS)
def test_full_steps_before_a_jump_are_the_hand_written_ones(name: str) -> None:
    """Measuring, snapshots and accounts of others change nothing."""
    ours, theirs = Training.of(name), Training.of(name)
    trainer = ours.trainer(predictor="rssm", warmup_steps=200)
    assert run(ours, trainer, 40) == theirs.by_hand(40)
    assert_same(ours.state(), theirs.state())


@pytest.mark.parametrize("name", MAKERS)
def test_a_loaded_run_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Saved in the middle of a cycle, with jumps before and after; a fresh trainer gives the same losses."""
    records, later = list[Record](), list[Record]()
    training, again = Training.of(name, dropout=0.1, norm=True), Training.of(name, dropout=0.1, norm=True)
    trainer = training.trainer(records, predictor="rssm", **ALWAYS)
    run(training, trainer, 87)
    trainer.save(tmp_path / "run.ckpt")
    expected = run(training, trainer, 40)
    fresh = again.trainer(later, predictor="rssm", **ALWAYS)
    fresh.load(tmp_path / "run.ckpt")
    assert run(again, fresh, 40) == expected
    assert sum(isinstance(one, JumpRecord) for one in later) >= 2
    assert sum(isinstance(one, JumpRecord) for one in records) >= 4


@pytest.mark.parametrize("name", MAKERS)
def test_a_jump_that_the_probe_refuses_leaves_nothing_behind(name: str) -> None:
    """Weights, states of every optimizer and all schedules are what they were before the call."""
    training = Training.of(name, norm=True)
    trainer = training.trainer(own=Overshoot(-10.0), **UNDOING)
    reach(training, trainer, Phase.PREDICT)
    before = copy.deepcopy(training.state())
    assert not trainer.step(training.problem.batch(trainer.num_calls)).was_predicted
    assert_same(training.state(), before)


@pytest.mark.parametrize("name", MAKERS)
def test_a_jump_that_is_rolled_back_leaves_nothing_of_its_steps_behind(name: str) -> None:
    """The updates since are undone with it: moments, nested lists, counters in the groups, rates."""
    training = Training.of(name, norm=True)
    trainer = training.trainer(own=Overshoot(-10.0), probe={"max_rise_frac": 10.0, "band_sigmas": 0.5}, **UNDOING)
    reach(training, trainer, Phase.PREDICT)
    before = copy.deepcopy(training.state())
    assert trainer.step(training.problem.batch(trainer.num_calls)).was_predicted
    watch = trainer._c.correct
    assert watch.jump is not None
    watch.jump = dataclasses.replace(watch.jump, allowance=0.0)  # opened wide for the probe, judged without it
    run(training, trainer, 3)
    assert trainer.summary()["counters"]["jumps_rolled_back"] == 1
    assert_same(training.state(), before)


@pytest.mark.parametrize("taken_at", [0, 3, 6, 9])
@pytest.mark.parametrize("name", MAKERS)
def test_going_back_removes_state_that_appeared_since(name: str, taken_at: int) -> None:
    """To before the first update, and to before and after the seventh, on which `Lazy` makes its momentum."""
    training, twin = Training.of(name), Training.of(name)
    trainer = training.trainer(predictor="nesterov", warmup_steps=200)
    for one in (training, twin):
        one.by_hand(taken_at)
    snapshot, before = trainer._c.present(), copy.deepcopy(training.state())
    training.by_hand(8)
    snapshot.restore()
    assert_same(training.state(), before)
    assert training.by_hand(12) == twin.by_hand(12)


@pytest.mark.parametrize("name", ["muon+adamw", "lazy+soap"])
def test_forks_go_both_ways_from_one_state(name: str) -> None:
    """Whichever branch stands, only its updates are in the counters of groups and schedules."""
    records, training = list[Record](), Training.of(name)
    trainer = training.trainer(records, Forking((60, 120), ("full", "half"), 1, 10, plays="full"), gate="always")
    while trainer.num_updates < 190:
        run(training, trainer, 1)
    assert sum(isinstance(one, ForkRecord) for one in records) == 4
    assert [one.last_epoch for one in training.schedulers] == [trainer.num_updates] * 2
    for group in training.optimizers[1].param_groups:
        assert group.get("step", trainer.num_updates) == trainer.num_updates


@pytest.mark.parametrize("name", ["muon+adamw", "lazy+soap"])
def test_state_that_waits_on_the_host_comes_back(name: str) -> None:
    """Moments and nested factors away while a jump is probed, of weights large enough to go: the same run."""
    losses: list[list[float]] = []
    for offload in (False, True):
        training, late = Training.of(name), nn.Parameter(torch.ones(64, 64))
        training.schedulers = []  # torch's do not take a group that comes later
        training.optimizers[0].add_param_group({"params": [late]})
        loss_fn = training.problem.loss_fn
        training.problem.loss_fn = lambda model, pair, late=late, f=loss_fn: f(model, pair) + late.square().mean()
        trainer = training.trainer(predictor="nesterov", memory={"offload_optimizer": offload}, **ALWAYS)
        losses.append(run(training, trainer, 80))
        assert trainer.outer._offload.nbytes == (64 * 64 * 4 if offload else 0)  # of `late`; others are small and stay
    assert losses[0] == losses[1]


def test_a_parameter_added_to_one_of_them_is_followed_from_then_on() -> None:
    """One event, and jumps that move it."""
    records, training = list[Record](), Training.of("muon+adamw")
    training.schedulers = []  # torch's do not take a group that comes later
    trainer = training.trainer(records, predictor="nesterov", **ALWAYS)
    run(training, trainer, 63)
    layer = nn.Linear(1, 1)
    training.problem.model.add_module("added", layer)
    training.optimizers[0].add_param_group({"params": [layer.weight]})
    training.optimizers[1].add_param_group({"params": [layer.bias]})
    run(training, trainer, 100)
    changes = [one for one in records if isinstance(one, EventRecord) and one.name == "parameters_changed"]
    assert [one.message for one in changes] == ["trained: added.weight, added.bias; the cycle starts anew"]
    assert {id(layer.weight), id(layer.bias)} <= {id(one) for one in trainer.outer.trajectory.parameters}
    assert sum(isinstance(one, JumpRecord) and one.step > changes[0].step for one in records) >= 3


def test_the_rate_that_is_told_is_the_first_ones() -> None:
    """Of its first group, as its own schedule has it."""
    training = Training.of("muon+adamw")
    trainer = training.trainer(predictor="none")
    run(training, trainer, 10)
    assert trainer._c.optimizer.lr == training.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.02 * 0.95)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_any_number_of_schedules_is_stepped_once_an_update(count: int) -> None:
    """None, one, one for each, more than one for an optimizer."""
    training = Training.of("muon+adamw")
    muon, adamw = training.optimizers
    every = [StepLR(muon, 5), LinearLR(adamw), StepLR(adamw, 3)][:count]
    problem = training.problem
    given: Any = every if count != 1 else every[0]
    config = HybridConfig(predictor="none")
    trainer = HybridTrainer(problem.model, [muon, adamw], problem.loss_fn, config, given)
    run(training, trainer, 7)
    assert [one.last_epoch for one in every] == [7] * count


@pytest.mark.parametrize("scales", [False, True])
def test_they_are_stepped_in_the_order_of_the_list(*, scales: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimizers first, then schedules, also through a gradient scaler; an optimizer may draw random numbers."""
    training, order = Training.of("muon+adamw"), list[str]()
    for name, one in zip(("muon", "adamw"), training.optimizers, strict=True):
        one.register_step_post_hook(lambda *_, name=name: order.append(name))
    for name, one in zip(("first", "second"), training.schedulers, strict=True):
        monkeypatch.setattr(one, "step", lambda name=name: order.append(name))
    trainer = training.trainer(predictor="none", precision={"grad_scaler": scales})
    run(training, trainer, 2)
    assert order == ["muon", "adamw", "first", "second"] * 2


def scaled(predictor: str, poison: Callable[[Training, int], None]) -> tuple[Training, HybridTrainer, list[Any]]:
    """Twelve calls with a loss scale, the sixth poisoned; the state before each."""
    training = Training.of("muon+adamw", norm=predictor != "none")
    precision = {"grad_scaler": True, "initial_scale": 2.0**10}
    trainer = training.trainer(predictor=predictor, warmup_steps=200, precision=precision)
    states: list[Any] = []
    for index in range(12):
        states.append(copy.deepcopy(training.state()))
        poison(training, index)
        run(training, trainer, 1)
    return training, trainer, states


@pytest.mark.parametrize("predictor", ["none", "nesterov"])
@pytest.mark.parametrize("place", [0, 1])
def test_an_overflow_of_one_skips_the_update_of_all(predictor: str, place: int) -> None:
    """Only one optimizer's gradients are infinite: no weight, state, schedule of any moves, and the scale is halved."""
    is_on = False

    def poison(training: Training, index: int) -> None:
        nonlocal is_on
        is_on = index == 5
        if index == 0:
            parameter = training.optimizers[place].param_groups[0]["params"][0]
            parameter.register_hook(lambda grad: grad * torch.inf if is_on else grad)

    _, trainer, states = scaled(predictor, poison)
    before, after = states[5], states[6]
    if predictor == "none":
        assert_same(after, before)  # without guards a batch norm would have counted the batch
    else:
        assert_same({**after, "model": dict(after["model"])}, {**before, "model": dict(before["model"])})
    assert states[7]["schedulers"] == [6, 6]
    assert trainer.num_updates == trainer.summary()["counters"]["optimizer_updates"] == 11
    scaler = trainer._c.precision.scaler
    assert scaler is not None
    assert scaler.get_scale() == 2.0**9


def test_scaling_by_a_power_of_two_changes_nothing() -> None:
    """Without an overflow a scaled list is the hand-written loop bit for bit."""
    training, _, _ = scaled("none", lambda *_: None)
    twin = Training.of("muon+adamw")
    twin.by_hand(12)
    assert torch.equal(weights_of(training.problem.model), weights_of(twin.problem.model))


@pytest.mark.parametrize("poisoned", [False, True])
def test_an_optimizer_without_a_gradient_is_no_error_of_the_scaler(*, poisoned: bool) -> None:
    """The first weight is frozen for a while: the other optimizer goes on, and overflows of it are skipped."""
    is_on = False

    def poison(training: Training, index: int) -> None:
        nonlocal is_on
        first, second = (one.param_groups[0]["params"][0] for one in training.optimizers)
        first.requires_grad_(index not in {4, 5, 6})
        is_on = poisoned and index == 5
        if index == 0:
            second.register_hook(lambda grad: grad * torch.inf if is_on else grad)

    _, trainer, states = scaled("none", poison)
    assert trainer.num_updates == 12 - poisoned
    weights = [one["model"]["0.weight"] for one in states]
    assert torch.equal(weights[4], weights[7])
    assert not torch.equal(weights[7], weights[8])


def test_one_alone_is_stored_as_it_always_was(tmp_path: Path) -> None:
    """Its dictionary and its schedule's, no lists; given in a list or alone, a checkpoint fits both."""
    training = Training.of("soap")
    trainer = training.trainer(predictor="none")
    run(training, trainer, 5)
    trainer.save(tmp_path / "run.ckpt")
    stored = read_checkpoint(tmp_path / "run.ckpt")["training"]
    assert_same(stored["optimizer"], training.optimizers[0].state_dict())
    assert stored["scheduler"]["last_epoch"] == 5
    in_list = Training.of("soap")
    problem, config = in_list.problem, HybridConfig(predictor="none", total_steps=200, full_steps=10)
    fresh = HybridTrainer(problem.model, in_list.optimizers, problem.loss_fn, config, in_list.schedulers)
    fresh.load(tmp_path / "run.ckpt")
    assert run(in_list, fresh, 5) == run(training, trainer, 5)


@pytest.mark.parametrize(
    ("saved", "here", "message"),
    [
        (
            "muon+adamw",
            "soap",
            "optimizer Muon, AdamW in the file, SOAP here; scheduler LambdaLR, LinearLR in the file",
        ),
        ("lion", "muon+adamw", "optimizer Lion in the file, Muon, AdamW here"),
    ],
)
def test_a_checkpoint_of_other_optimizers_is_refused(saved: str, here: str, message: str, tmp_path: Path) -> None:
    """Both lists are named and nothing has changed."""
    training, other = Training.of(saved), Training.of(here)
    trainer = training.trainer(predictor="none")
    run(training, trainer, 3)
    trainer.save(tmp_path / "run.ckpt")
    fresh, before = other.trainer(predictor="none"), copy.deepcopy(other.state())
    with pytest.raises(CheckpointError, match=message):
        fresh.load(tmp_path / "run.ckpt")
    assert_same(other.state(), before)


def test_a_checkpoint_with_the_parameters_dealt_otherwise_is_refused(tmp_path: Path) -> None:
    """Two optimizers of the same kinds whose groups have other sizes."""
    trainers: list[HybridTrainer] = []
    for first in (1, 2):
        training = Training.of("muon+adamw")
        parameters = list(training.problem.model.parameters())
        optimizers = [SGD(parameters[:first], lr=0.1), SGD(parameters[first:], lr=0.1)]
        config = HybridConfig(predictor="none")
        trainers.append(HybridTrainer(training.problem.model, optimizers, training.problem.loss_fn, config))
    trainers[0].save(tmp_path / "run.ckpt")
    with pytest.raises(CheckpointError, match=r"by optimizer group \[1\] in the file, \[2\] here"):
        trainers[1].load(tmp_path / "run.ckpt")


class NeedsClosure(SGD):
    """Evaluates the loss itself."""

    def step(self, closure: Any) -> None:  # type: ignore[override]
        """One update."""
        closure()


@pytest.mark.parametrize(
    ("optimizer", "scheduler", "message"),
    [
        (lambda w, b: [AdamW(w), NeedsClosure(b, 0.1)], None, "optimizer NeedsClosure evaluates the loss"),
        (lambda w, b: [AdamW(w), AdamW([*w, *b])], None, "parameter weight is held by optimizers 0"),
        (lambda _, b: [], None, "empty list"),
        (lambda w, b: [AdamW(w), AdamW(b)], lambda each: [StepLR(each[0], 1), None], "scheduler is a NoneType"),
        (lambda w, b: [AdamW(w), AdamW(b)], lambda each: [StepLR(each[0], 1)] * 2, "StepLR is in the list twice"),
        (lambda w, b: [AdamW(w), AdamW(b)], lambda each: [ReduceLROnPlateau(each[0])], "needs metrics to step"),
        (lambda w, b: [AdamW(w), AdamW(b)], lambda _: "cosine", "scheduler is a str"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_construction(optimizer: Any, scheduler: Any, message: str) -> None:
    model = nn.Linear(3, 2)
    each = optimizer([model.weight], [model.bias])
    given = None if scheduler is None else scheduler(each)
    with pytest.raises(ModelError, match=message) as caught:
        HybridTrainer(model, each, lambda net, x: net(x).sum(), scheduler=given)
    assert "\n" not in str(caught.value)


def test_roles_decide_what_is_followed_by_its_orthogonal_factor() -> None:
    """Found: hidden matrix and head; told: the one as a table, and by a wrong name nothing is built."""
    torch.default_generator.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    for roles, expected in (({}, ["0.weight", "1.weight"]), ({"0.*": "table"}, ["1.weight"])):
        trainer = HybridTrainer(model, SGD(model.parameters()), lambda net, x: net(x).sum(), HybridConfig(roles=roles))
        trajectory = trainer.outer.trajectory
        names = {id(one): name for name, one in model.named_parameters()}
        assert [names[id(trajectory.parameters[place])] for place in trajectory.matrices] == expected
    with pytest.raises(ConfigError, match=r"roles names '2\.weight'"):
        HybridTrainer(
            model, SGD(model.parameters()), lambda net, x: net(x).sum(), HybridConfig(roles={"2.weight": Role.TABLE})
        )
