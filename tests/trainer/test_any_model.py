"""Any module, any optimizer, any precision: jumps are kept, nothing breaks, and full steps stay torch's own."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from references.problems import Problem, teacher, weights_of
from torch import nn


class Lion(torch.optim.Optimizer):
    """Sign of an interpolated momentum (arXiv:2302.06675), as users write their own."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                p.add_(torch.sign(0.9 * momentum + 0.1 * p.grad), alpha=-group["lr"])
                momentum.mul_(0.99).add_(p.grad, alpha=0.01)


def muon(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Muon([p for p in parameters if p.ndim == 2], lr=1e-2)


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda ps: torch.optim.SGD(ps, lr=2e-3, momentum=0.9),
    "adam-amsgrad": lambda ps: torch.optim.Adam(ps, lr=3e-3, amsgrad=True),
    "rmsprop": lambda ps: torch.optim.RMSprop(ps, lr=1e-3),
    "adagrad": lambda ps: torch.optim.Adagrad(ps, lr=0.03),
    "lion": lambda ps: Lion(ps, lr=1e-3),
    "fused": lambda ps: torch.optim.AdamW(ps, lr=3e-3, fused=True),
    **({"muon": muon} if hasattr(torch.optim, "Muon") else {}),
}


def with_optimizer(name: str) -> Problem:
    problem = teacher()
    problem.optimizer = OPTIMIZERS[name](list(problem.model.parameters()))
    problem.scheduler = None
    return problem


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_trains_with_jumps_kept(name: str) -> None:
    """At least five jumps are kept, the loss falls below a fifth of its start, and rollback state is restorable."""
    problem = with_optimizer(name)
    trainer = problem.trainer(gate="always", update={"clip_norm": 5.0})
    losses = problem.run(trainer, 150)
    assert trainer.summary()["counters"]["jumps_accepted"] >= 5
    assert sum(losses[-10:]) < (0.5 if name == "muon" else 0.2) * sum(losses[:10])


@pytest.mark.parametrize("autocast", ["bf16", "fp16"])
def test_mixed_precision_trains_with_float32_weights(autocast: str) -> None:
    """Forwards run in half precision, the weights and jumps in float32; a scaler's skips are no divergence."""
    problem, seen = teacher(), set[torch.dtype]()
    next(problem.model.children()).register_forward_hook(lambda module, args, output: seen.add(output.dtype))
    trainer = problem.trainer(gate="always", precision={"autocast": autocast, "initial_scale": 2.0**40})
    losses = problem.run(trainer, 150)
    assert seen == {torch.bfloat16 if autocast == "bf16" else torch.float16}
    assert {p.dtype for p in problem.model.parameters()} == {torch.float32}
    assert trainer.summary()["counters"]["jumps_accepted"] >= 5
    finite = [loss for loss in losses if math.isfinite(loss)]
    assert sum(finite[-10:]) < 0.2 * sum(finite[:10])


def test_accumulation_equals_one_large_batch() -> None:
    """Four micro-batches give the update of their union, to rounding."""
    small, large = teacher(), teacher()
    one = small.trainer(predictor="nesterov", warmup_steps=200, update={"accumulation_steps": 4})
    two = large.trainer(predictor="nesterov", warmup_steps=200)
    for update in range(30):
        batches = [small.batch(4 * update + part) for part in range(4)]
        results = [one.step(batch) for batch in batches]
        assert [one.num_updates for _ in results][-1] == update + 1
        two.step(tuple(torch.cat(parts) for parts in zip(*batches, strict=True)))
    torch.testing.assert_close(weights_of(small.model), weights_of(large.model), rtol=1e-3, atol=1e-5)


def test_phases_change_only_at_updates() -> None:
    """With accumulation a PREDICT call never falls inside an update."""
    problem = teacher()
    trainer = problem.trainer(gate="always", update={"accumulation_steps": 3})
    since = 0
    while trainer.num_updates < 100:
        result = trainer.step(problem.batch(trainer.num_calls))
        if result.phase.value == "PREDICT":
            assert since % 3 == 0
        else:
            since += 1
    assert trainer.summary()["counters"]["jumps_accepted"] >= 3


def test_compiled_models_train_with_jumps_kept() -> None:
    """A model compiled with aot_eager gives the losses of the plain one, jumps included, to rounding."""
    plain, compiled = teacher(), teacher()
    inner = compiled.loss_fn
    fast: Any = torch.compile(compiled.model, backend="aot_eager")
    compiled.loss_fn = lambda net, batch: inner(fast, batch)
    expected = plain.run(plain.trainer(gate="always"), 60)
    losses = compiled.run(compiled.trainer(gate="always"), 60)
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)


def test_sparse_gradients_are_clipped_and_jumped_with() -> None:
    """Embedding(sparse=True) with SGD trains under clipping, rows that were never drawn stay where they were."""
    model = nn.Embedding(50, 4, sparse=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    problem = Problem(
        model, optimizer, None, lambda net, rows: (net(rows) - 1).square().mean(), lambda index: torch.arange(10)
    )
    before = model.weight.detach().clone()
    trainer = problem.trainer(gate="always", update={"clip_norm": 0.05})
    losses = problem.run(trainer, 100)
    assert losses[-1] < losses[0]
    assert torch.equal(model.weight[10:], before[10:])
    moved = float((model.weight[:10] - before[:10]).detach().norm())
    assert moved > 0.0
    assert trainer.summary()["counters"]["jumps_accepted"] >= 3


def test_parameter_groups_keep_their_own_rates() -> None:
    """Group settings and the scheduler's rates are what they would be without jumps."""
    hybrid, plain = teacher(), teacher()
    hybrid.run(hybrid.trainer(gate="always"), 90)
    plain.run(plain.trainer(predictor="none"), 90)
    for mine, other in zip(hybrid.optimizer.param_groups, plain.optimizer.param_groups, strict=True):
        assert (mine["lr"], mine["weight_decay"]) == (other["lr"], other["weight_decay"])
