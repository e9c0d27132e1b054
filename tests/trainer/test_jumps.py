"""Jumps reach the weights: not zero, not twice, in the direction of the true later path, and nothing else moves."""

import copy
from typing import Any

import pytest
import torch
from references.problems import Problem, pure_noise, quadratic, teacher, weights_of

from hpt import HybridTrainer, Phase
from hpt.records import JumpRecord, Record
from hpt.trainer.components import Components

ALWAYS: dict[str, Any] = {"gate": "always", "predict": {"window_start_frac": 0.0, "window_end_frac": 1.0}}


def components_of(trainer: HybridTrainer) -> Components:
    return trainer._c


def _is_predict(trainer: HybridTrainer) -> bool:
    return trainer.phase is Phase.PREDICT


def run_to_predict(problem: Problem, trainer: HybridTrainer) -> None:
    """Full steps until the next call is PREDICT."""
    for _ in range(500):
        if trainer.phase is Phase.PREDICT:
            return
        trainer.step(problem.batch(trainer.num_calls))
    raise AssertionError("PREDICT was never reached")


def test_the_weights_move_by_the_proposed_delta_exactly_once() -> None:
    """The weights become theta - a d + g E^, with d and E^ rebuilt here from the weights at every cycle's end."""
    problem, records = teacher(), list[Record]()
    trainer = problem.trainer(records, gate="always", predict=ALWAYS["predict"] | {"preset": "ramp"})
    average, cycles, start = torch.zeros(1), 0, weights_of(problem.model)
    d = torch.zeros(1)
    for _ in range(200):
        if trainer.phase is Phase.PREDICT:
            break
        trainer.step(problem.batch(trainer.num_calls))
        if trainer.num_updates % 10 == 0:
            cycles += 1
            d = weights_of(problem.model) - start
            average = 0.8 * average + 0.2 * d
            start = start if _is_predict(trainer) else weights_of(problem.model)
    before = weights_of(problem.model)
    result = trainer.step(problem.batch(trainer.num_calls))
    jump = next(record for record in records if isinstance(record, JumpRecord))
    a, g = jump.pull_back, jump.gain
    expected = -a * d + g * average / (1 - 0.8**cycles)
    moved = weights_of(problem.model) - before
    assert result.was_predicted
    assert result.num_backward == 0
    assert jump.norm > 0.0
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(float(moved.norm()), jump.norm, rtol=1e-4, atol=0)


def test_a_jump_points_along_the_true_later_displacement() -> None:
    """On a noiseless quadratic the jump's cosine with the path of the next H plain steps exceeds 0.9."""
    problem = quadratic()
    trainer = problem.trainer(**ALWAYS)
    run_to_predict(problem, trainer)
    proposal = components_of(trainer).state.proposal
    assert proposal is not None
    before = weights_of(problem.model)
    twin = copy.deepcopy(problem.model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05)
    for _ in range(proposal.horizon):
        optimizer.zero_grad()
        twin().backward()
        optimizer.step()
    later = weights_of(twin) - before
    trainer.step(problem.batch(trainer.num_calls))
    moved = weights_of(problem.model) - before
    cosine = float(moved @ later / (moved.norm() * later.norm()))
    assert cosine > 0.9


def test_jumps_lower_the_loss_of_a_noiseless_quadratic_at_equal_updates() -> None:
    """With as many gradient steps, the run with jumps ends lower than the plain one."""
    hybrid, plain = quadratic(), quadratic()
    trainer = hybrid.trainer()
    hybrid.run(trainer, 200)
    plain.run(plain.trainer(predictor="none"), 200)
    assert trainer.summary()["counters"]["jumps_accepted"] >= 5
    assert float(hybrid.model().detach()) < 0.7 * float(plain.model().detach())


def test_storage_optimizer_state_buffers_and_frozen_weights_stay_as_they_are() -> None:
    """A jump changes trained weights in place and nothing else: no storage, no moment, no BatchNorm statistic."""
    problem = teacher(norm=True)
    bias: torch.nn.Parameter = next(problem.model.children()).bias  # type: ignore[assignment]
    bias.requires_grad_(False)
    trainer = problem.trainer(**ALWAYS)
    run_to_predict(problem, trainer)
    pointers = [p.data_ptr() for p in problem.model.parameters()]
    state = copy.deepcopy(problem.optimizer.state_dict())
    buffers = copy.deepcopy(list(problem.model.buffers()))
    frozen = bias.detach().clone()
    before = weights_of(problem.model)
    trainer.step(problem.batch(trainer.num_calls))
    assert float((weights_of(problem.model) - before).norm()) > 0.0
    assert [p.data_ptr() for p in problem.model.parameters()] == pointers
    assert torch.equal(bias, frozen)
    for mine, other in zip(problem.model.buffers(), buffers, strict=True):
        assert torch.equal(mine, other)
    for key, entry in problem.optimizer.state_dict()["state"].items():
        for name, value in entry.items():
            assert torch.equal(value, state["state"][key][name])
    assert all(module.training for module in problem.model.modules())


def test_tied_weights_are_moved_once() -> None:
    """A tensor that two modules share takes the delta once and stays shared."""

    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = torch.nn.Linear(6, 6, bias=False)
            self.decode = torch.nn.Linear(6, 6, bias=False)
            self.decode.weight = self.encode.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.decode(self.encode(x))

    model = Tied()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    problem = Problem(
        model,
        optimizer,
        None,
        lambda net, x: (net(x) - x).square().mean(),
        lambda index: torch.eye(6) * (1 + index % 3),
    )
    trainer = problem.trainer(**ALWAYS)
    run_to_predict(problem, trainer)
    stats, proposal = components_of(trainer).state.stats, components_of(trainer).state.proposal
    assert stats is not None
    assert proposal is not None
    norm = min(stats.delta_norm(proposal.delta), 1.5 * stats.displacement_norm)
    before = model.encode.weight.detach().clone()
    trainer.step(problem.batch(trainer.num_calls))
    torch.testing.assert_close(float((model.encode.weight - before).detach().norm()), norm, rtol=1e-3, atol=0)
    assert model.decode.weight is model.encode.weight


def test_rows_that_were_never_seen_do_not_move() -> None:
    """Embedding rows without a gradient have no displacement, hence no jump (no weight decay here)."""
    model = torch.nn.Embedding(20, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    problem = Problem(
        model, optimizer, None, lambda net, i: (net(i) - 1.0).square().mean(), lambda index: torch.arange(8)
    )
    unseen = model.weight.detach()[8:].clone()
    trainer = problem.trainer(**ALWAYS)
    problem.run(trainer, 100)
    assert trainer.summary()["counters"]["jumps_accepted"] > 0
    assert torch.equal(model.weight.detach()[8:], unseen)


def test_pure_noise_is_never_followed() -> None:
    """On gradients without signal the loss does not fall and nothing jumps; the same gate passes on a quadratic."""
    for seed in range(3):
        noise = pure_noise(seed)
        trainer = noise.trainer(predictor="nesterov", full_steps=15)
        noise.run(trainer, 200)
        assert trainer.summary()["counters"]["jumps_proposed"] == 0
        assert trainer.summary()["predictor"]["fall"]["passed"] is False
    signal = quadratic()
    trainer = signal.trainer()
    signal.run(trainer, 100)
    assert trainer.summary()["counters"]["jumps_proposed"] > 0


def test_the_trust_region_bounds_every_jump() -> None:
    """No jump is longer than max_jump_ratio times the last displacement."""
    problem, records = teacher(), list[Record]()
    trainer = problem.trainer(records, gate="always", predict={"max_jump_ratio": 0.2})
    problem.run(trainer, 150)
    ratios = [record.norm_ratio for record in records if isinstance(record, JumpRecord)]
    assert len(ratios) >= 5
    assert max(ratios) <= 0.2 + 1e-9


@pytest.mark.parametrize("predictor", ["frozen", "random"])
def test_controls_do_what_their_names_say(predictor: str) -> None:
    """`frozen` spends the call and moves nothing; `random` moves, but not along the displacement."""
    problem = teacher()
    trainer = problem.trainer(predictor=predictor, **ALWAYS)
    run_to_predict(problem, trainer)
    before, d = weights_of(problem.model), components_of(trainer).state.stats
    trainer.step(problem.batch(trainer.num_calls))
    moved = float((weights_of(problem.model) - before).norm())
    assert d is not None
    assert moved == 0.0 if predictor == "frozen" else moved > 0.1 * d.displacement_norm
