"""Autocast and loss scaling do what torch's own do, and nothing at all when switched off."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import pytest
import torch
from references.problems import teacher
from references.records import events_of
from torch import nn

from hpt.config import PrecisionConfig
from hpt.optimizers.inner import InnerOptimizer
from hpt.records import Record
from hpt.trainer.precision import Precision

CPU = torch.device("cpu")


def _net() -> tuple[nn.Linear, torch.optim.Optimizer, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(8, 4)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return model, torch.optim.AdamW(model.parameters(), lr=0.01), torch.randn(16, 8, generator=generator)


def _run(precision: Precision, steps: int, peaks: tuple[float, ...] = ()) -> tuple[list[bool], list[Any]]:
    """Train with the loss multiplied by a factor a step; what `step` said, and the weights after each."""
    model, optimizer, inputs = _net()
    said: list[bool] = []
    weights: list[torch.Tensor] = []
    for step in range(steps):
        optimizer.zero_grad()
        with precision.forward_context():
            loss = model(inputs).float().square().mean() * (peaks[step] if peaks else 1.0)
        precision.scale(loss).backward()
        precision.unscale(InnerOptimizer(optimizer))
        said.append(precision.step(InnerOptimizer(optimizer)))
        weights.append(model.weight.detach().clone())
    return said, weights


def test_none_is_the_plain_loop() -> None:
    """Without autocast and scaler the loss is the same object and the weights equal a hand-written loop's."""
    precision = Precision(PrecisionConfig(), CPU)
    model, optimizer, inputs = _net()
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(inputs).float().square().mean()
        assert precision.scale(loss) is loss
        loss.backward()
        optimizer.step()
    said, weights = _run(precision, 3)
    assert said == [True] * 3
    assert torch.equal(weights[-1], model.weight)
    assert precision.scaler is None
    assert precision.state_dict() == {"scaler": None}


@pytest.mark.parametrize(("autocast", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_autocast_computes_in_the_named_dtype_and_ends_with_the_context(autocast: str, dtype: torch.dtype) -> None:
    """Inside the context a linear layer answers in the low precision, outside in the weights' own."""
    precision = Precision(PrecisionConfig(autocast=autocast), CPU)
    model, _, inputs = _net()
    for _ in range(2):
        with precision.forward_context():
            assert model(inputs).dtype == dtype
        assert model(inputs).dtype == torch.float32


@pytest.mark.parametrize(
    ("autocast", "asked", "scales"),
    [
        ("none", None, False),
        ("bf16", None, False),
        ("fp16", None, True),
        ("fp16", False, False),
        ("none", True, True),
    ],
)
def test_a_scaler_comes_with_fp16_unless_asked_otherwise(autocast: str, asked: bool | None, scales: bool) -> None:
    """grad_scaler=None means fp16 only; True and False are obeyed."""
    config = PrecisionConfig(autocast=autocast, grad_scaler=asked, initial_scale=32.0)
    scaler = Precision(config, CPU).scaler
    assert (scaler is not None) == scales
    assert scaler is None or scaler.get_scale() == 32.0


def test_scaling_by_a_power_of_two_changes_no_weight() -> None:
    """Scaling, unscaling and stepping equal the plain update bit for bit: powers of two round nothing."""
    _, plain = _run(Precision(PrecisionConfig(), CPU), 4)
    said, scaled = _run(Precision(PrecisionConfig(grad_scaler=True, initial_scale=1024.0), CPU), 4)
    assert said == [True] * 4
    assert all(torch.equal(one, other) for one, other in zip(plain, scaled, strict=True))


def test_unscaled_gradients_are_the_true_ones() -> None:
    """Between unscale and step the gradients equal those of the plain loss, ready for norms and clipping."""
    model, optimizer, inputs = _net()
    model(inputs).square().mean().backward()
    expected = [p.grad for p in model.parameters()]
    optimizer.zero_grad(set_to_none=True)
    precision = Precision(PrecisionConfig(grad_scaler=True, initial_scale=1024.0), CPU)
    precision.scale(model(inputs).square().mean()).backward()
    precision.unscale(InnerOptimizer(optimizer))
    grads = [p.grad for p in model.parameters()]
    torch.testing.assert_close(grads, expected, rtol=0, atol=0)


def test_overflow_skips_the_update_and_halves_the_scale() -> None:
    """An infinite gradient leaves the weights, is reported as a skip, and the next update goes through."""
    precision = Precision(PrecisionConfig(grad_scaler=True, initial_scale=2.0**10), CPU)
    said, weights = _run(precision, 3, peaks=(1.0, 1e37, 1.0))
    assert said == [True, False, True]
    assert torch.equal(weights[1], weights[0])
    assert not torch.equal(weights[2], weights[1])
    assert precision.scaler is not None
    assert precision.scaler.get_scale() == 2.0**9


def test_fused_optimizers_report_their_skips_too() -> None:
    """A fused optimizer skips inside its kernel; the overflow is reported all the same."""
    model, _, inputs = _net()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    precision = Precision(PrecisionConfig(grad_scaler=True, initial_scale=2.0**10), CPU)
    before = model.weight.detach().clone()
    precision.scale(model(inputs).square().mean() * 1e37).backward()
    assert not precision.step(InnerOptimizer(optimizer))
    assert torch.equal(model.weight, before)


def test_an_update_given_up_after_unscale_leaves_no_trace() -> None:
    """Gradients unscaled but never stepped with do not keep the next update from being unscaled once."""
    _, expected = _run(Precision(PrecisionConfig(), CPU), 1)
    precision = Precision(PrecisionConfig(grad_scaler=True, initial_scale=1024.0), CPU)
    model, optimizer, inputs = _net()
    for is_given_up in (True, False):
        optimizer.zero_grad()
        precision.scale(model(inputs).square().mean()).backward()
        precision.unscale(InnerOptimizer(optimizer))
        if not is_given_up:
            assert precision.step(InnerOptimizer(optimizer))
    assert torch.equal(model.weight, expected[0])
    assert precision.scaler is not None
    assert precision.scaler.get_scale() == 1024.0


def test_state_carries_the_scale_to_a_new_run() -> None:
    """A loaded state continues with the scale that was reached; a state without a scaler changes nothing."""
    config = PrecisionConfig(grad_scaler=True, initial_scale=2.0**10)
    used, fresh = Precision(config, CPU), Precision(config, CPU)
    _run(used, 2, peaks=(1.0, 1e37))
    fresh.load_state_dict(used.state_dict())
    assert fresh.state_dict() == used.state_dict()
    assert fresh.scaler is not None
    assert fresh.scaler.get_scale() == 2.0**9
    fresh.load_state_dict({"scaler": None})
    assert fresh.scaler.get_scale() == 2.0**9


DEFAULTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "another device": lambda: torch.device("meta"),
}


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@cache
def losses_under(around: Callable[[], AbstractContextManager[Any]], predictor: str) -> list[float]:
    """Losses of a run whose trainer is built and called under these defaults; its learners live, its jumps are kept."""
    problem, records = teacher(), list[Record]()
    with around():
        trainer = problem.trainer(records, predictor=predictor, gate="always")
    losses: list[float] = []
    for batch in (problem.batch(index) for index in range(110)):
        with around():
            losses.append(trainer.step(batch).loss)
    assert events_of(records) == []
    assert trainer.summary()["counters"]["jumps_accepted"] >= 5
    return losses


@pytest.mark.parametrize("predictor", ["rssm", "mlp", "nesterov"])
@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_of_the_process_do_not_reach_the_trainer(name: str, predictor: str) -> None:
    """Default dtype and device: losses are those of an ordinary process, to the bit."""
    assert losses_under(DEFAULTS[name], predictor) == losses_under(nullcontext, predictor)
