"""A probe leaves nothing behind, and finds a way to run a loss function that ordinary forward passes do not suit."""

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from references.same import assert_same
from torch import nn
from torch.ao.quantization import FakeQuantize, PerChannelMinMaxObserver

from hpt.jump.batch import BatchSpent, KeptBatch
from hpt.jump.probe import WAYS, Probe
from hpt.jump.reach import reach
from hpt.jump.snapshot import BufferGuard
from hpt.numerics.rng import stream_states

Loss = Callable[[nn.Module, Any], torch.Tensor]
OWN = np.random.default_rng(3)


def probe_of(model: nn.Module, loss: Loss) -> Probe:
    held = reach(loss, model)
    return Probe(model, lambda batch: loss(model, batch), 1, BufferGuard(model, held.modules), held)


class Counting(nn.Module):
    """Counts its passes in a buffer, in eval mode too, and keeps the last input."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last = x
        return self.layer(x)


class Lazy(nn.Module):
    """Registers its buffer in its first forward."""

    level: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "level"):
            self.register_buffer("level", torch.zeros(3))
        self.level.mul_(0.9).add_(x.detach().mean(0))
        return self.layer(x) + self.level


def observed() -> nn.Module:
    """Observers of quantisation-aware training, whose buffers get their size from the first data."""
    observer: Any = FakeQuantize.with_args(
        observer=PerChannelMinMaxObserver, ch_axis=1, qscheme=torch.per_channel_affine
    )
    return nn.Sequential(nn.Linear(3, 3), observer(), nn.BatchNorm1d(3))


def plain(model: nn.Module, batch: Any) -> torch.Tensor:
    return model(batch).square().mean()


def with_criterion() -> Loss:
    criterion = nn.BatchNorm1d(3)
    return lambda model, batch: criterion(model(batch)).square().mean() + criterion.get_buffer("running_mean").sum()


def mixup(draw: Callable[[], float]) -> Loss:
    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        weight = draw()
        return model(weight * batch + (1 - weight) * batch.flip(0)).square().mean()

    return loss


def adversarial(model: nn.Module, batch: Any) -> torch.Tensor:
    """A backward pass inside the loss, which also fills the gradients of the weights."""
    with torch.enable_grad():
        inputs = batch.requires_grad_()
        model(inputs).square().mean().backward()
    return model(inputs + 0.1 * inputs.grad.sign()).square().mean()


SITUATIONS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Loss]]] = {
    "observers": (observed, lambda: plain),
    "counting buffer": (Counting, lambda: plain),
    "batch norm in training mode throughout": (lambda: nn.Sequential(nn.BatchNorm1d(3)), lambda: plain),
    "criterion with a batch norm": (lambda: nn.Linear(3, 3), with_criterion),
    "numpy's stream": (lambda: nn.Linear(3, 3), lambda: mixup(lambda: float(np.random.beta(0.4, 0.4)))),  # noqa: NPY002
    "Python's stream": (lambda: nn.Linear(3, 3), lambda: mixup(random.random)),
    "torch's stream": (lambda: nn.Linear(3, 3), lambda: mixup(lambda: float(torch.rand(())))),
    "a stream of its own": (lambda: nn.Linear(3, 3), lambda: mixup(lambda: float(OWN.beta(0.4, 0.4)))),
    "backward inside": (lambda: nn.Linear(3, 3), lambda: adversarial),
    "change in place": (lambda: nn.Linear(3, 3), lambda: lambda net, batch: net(batch.mul_(2)).square().mean()),
}


def everything(model: nn.Module, loss: Loss, batch: Any) -> Any:
    """All that a probe may not change, copied."""
    held = reach(loss, model)
    modules = [model, *held.modules]
    tensors = [(one.state_dict(), [p.grad for p in one.parameters()]) for one in modules]
    modes = [[each.training for each in one.modules()] for one in modules]
    return copy.deepcopy((tensors, modes, batch, stream_states([OWN])))


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_probe_leaves_nothing_behind(name: str) -> None:
    """Buffers, gradients, modes, random streams and the batch are as before; two probes of one state agree exactly."""
    torch.default_generator.manual_seed(1)
    build, make_loss = SITUATIONS[name]
    model, loss = build(), make_loss()
    x = torch.randn(5, 3)
    probe = probe_of(model, loss)
    for _ in range(2):  # the second time observers have their size and gradients exist
        batch = KeptBatch(x)
        before = everything(model, loss, x)
        first, second = probe.losses([batch]), probe.losses([batch])
        assert_same(everything(model, loss, x), before)
        assert first == second
        with torch.enable_grad():
            loss(model, x.clone()).backward()
    assert probe.way == 0


def test_a_buffer_of_the_first_forward_is_guarded_from_then_on() -> None:
    """Registered lazily in the first pass, it is put back after later probes."""
    model = Lazy()
    probe = probe_of(model, plain)
    model(torch.ones(2, 3))
    before = model.level.clone()
    probe.losses([KeptBatch(torch.full((2, 3), torch.nan))])
    assert torch.equal(model.level, before)


class Merging(nn.Linear):
    """LoRA as loralib has it: factors are merged into the frozen weight on eval, taken out again on train."""

    def __init__(self) -> None:
        super().__init__(6, 6)
        self.weight.requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(6, 2)), nn.Parameter(torch.randn(2, 6))
        self.merged = False

    def train(self, mode: bool = True) -> "Merging":
        super().train(mode)
        if mode is self.merged:
            self.merge(-1.0 if mode else 1.0)
            self.merged = not mode
        return self

    def merge(self, sign: float) -> None:
        self.weight.data += sign * (self.a @ self.b).detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        out = super().forward(x)
        return out if self.merged else out + x @ (self.a @ self.b).T


class Replacing(Merging):
    """The same with a new tensor each time."""

    def merge(self, sign: float) -> None:
        self.weight.data = self.weight.data + sign * (self.a @ self.b).detach()


class Root(nn.Sequential):
    """Keeps its first layer in eval mode whatever is asked for, as detectors do with batch norms."""

    def train(self, mode: bool = True) -> "Root":
        super().train(mode)
        self[0].eval()
        return self


MERGERS: dict[str, Callable[[], nn.Module]] = {
    "alone": Merging,
    "replacing": Replacing,
    "nested": lambda: nn.Sequential(nn.Linear(6, 6), nn.Sequential(Merging(), nn.Dropout(0.5))),
    "one merged already": lambda: nn.Sequential(Merging(), Merging().eval()),
    "under a root of its own": lambda: Root(nn.BatchNorm1d(6), Merging()),
    "in eval mode as a whole": lambda: nn.Sequential(Merging()).eval(),
}


@pytest.mark.parametrize("name", MERGERS)
def test_modules_that_answer_a_change_of_mode_are_told_both_ways(name: str) -> None:
    """Weights, flags and what was merged are as before, to the bit, in the same memory; outputs agree, too."""
    torch.default_generator.manual_seed(2)
    model = MERGERS[name]()
    x = torch.randn(4, 6)

    def state() -> Any:
        merged = [getattr(one, "merged", None) for one in model.modules()]
        places = [one.data_ptr() for one in model.parameters()]
        return copy.deepcopy((model.state_dict(), [one.training for one in model.modules()], merged, places))

    before = state()
    probe = probe_of(model, plain)
    losses = [probe.losses([KeptBatch(x)]) for _ in range(3)]
    assert_same(state(), before)
    assert losses[0] == losses[1] == losses[2]
    expected = copy.deepcopy(model).eval()
    assert losses[0][0] == pytest.approx(float(plain(expected, x).detach()), rel=1e-5)  # merged once more: rounding


def physics(model: nn.Module, batch: Any) -> torch.Tensor:
    """Residual of u' = -u."""
    x = batch.requires_grad_()
    u = model(x)
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    return (slope + u).square().mean()


def adapted(model: nn.Module, batch: Any) -> torch.Tensor:
    """Loss after one inner gradient step (MAML)."""
    weights: dict[str, torch.Tensor] = dict(model.named_parameters())
    inner = torch.func.functional_call(model, weights, batch).square().mean()
    grads = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
    moved = {name: one - 0.1 * grad for (name, one), grad in zip(weights.items(), grads, strict=True)}
    return torch.func.functional_call(model, moved, batch).square().mean()


def penalised(model: nn.Module, batch: Any) -> torch.Tensor:
    """Gradient penalty on points between the data and noise (WGAN-GP)."""
    points = (batch + 0.1 * torch.randn_like(batch)).requires_grad_()
    (grad,) = torch.autograd.grad(model(points).sum(), points, create_graph=True)
    return model(batch).mean() + (grad.norm(dim=1) - 1).square().mean()


def curved(model: nn.Module, batch: Any) -> torch.Tensor:
    """With a Hessian-vector product in it."""
    (weight, *_) = model.parameters()
    (grad,) = torch.autograd.grad(model(batch).square().mean(), weight, create_graph=True)
    (product,) = torch.autograd.grad(grad.square().sum(), weight, create_graph=True)
    return product.square().mean()


def with_backward(model: nn.Module, batch: Any) -> torch.Tensor:
    """An inner backward pass without switching gradients on."""
    x = batch.requires_grad_()
    model(x).square().mean().backward()
    return model(x + 0.1 * x.grad.sign()).square().mean()


def training_only(model: nn.Module, batch: Any) -> torch.Tensor:
    """A detector: losses in training mode, a list of predictions in eval mode."""
    out = model(batch)
    return out.square().mean() if model.training else [out]  # type: ignore[return-value]


@pytest.mark.parametrize("loss", [physics, adapted, penalised, curved, with_backward, training_only])
def test_a_loss_that_needs_more_than_a_forward_pass_is_probed(loss: Loss) -> None:
    """The probe's loss is that of a training step from the same random stream; nothing is left behind."""
    torch.default_generator.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x = torch.randn(5, 3)
    probe = probe_of(model, loss)
    before = everything(model, loss, x)
    (value,) = probe.losses([KeptBatch(x)])
    assert_same(everything(model, loss, x), before)
    assert value == float(loss(model, x.clone()).detach())
    assert WAYS[probe.way].evaluates is (loss is not training_only)
    assert WAYS[probe.way].has_gradient


def test_a_pair_is_measured_one_way() -> None:
    """Once a way has worked, a failure is a failure: the other ways come into question with the next pair."""
    model, calls = nn.Linear(3, 3), list[bool]()

    def failing(net: nn.Module, batch: Any) -> torch.Tensor:
        calls.append(torch.is_grad_enabled())
        if len(calls) in {2, 3}:
            raise RuntimeError("a passing failure")
        return plain(net, batch)

    probe, batch = probe_of(model, failing), KeptBatch(torch.ones(2, 3))
    probe.losses([batch])
    with pytest.raises(RuntimeError, match="passing"):
        probe.losses([batch])
    probe.losses([batch])
    assert calls == [False, False, False, True]


def test_memory_that_runs_out_is_no_reason_to_try_what_needs_more() -> None:
    """The error goes through at once, and the mode is as before."""
    model, calls = nn.Linear(3, 3), list[int]()

    def starving(net: nn.Module, batch: Any) -> torch.Tensor:
        calls.append(1)
        raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")

    probe = probe_of(model, starving)
    with pytest.raises(torch.OutOfMemoryError):
        probe.losses([KeptBatch(torch.ones(2, 3))])
    assert (len(calls), model.training) == (1, True)


def rows() -> Iterator[torch.Tensor]:
    while True:
        yield torch.ones(2, 3)


def test_a_loss_that_reads_data_by_itself_is_not_probed() -> None:
    """Another call would read other data, and take it from training."""
    data = rows()
    probe = probe_of(nn.Linear(3, 3), lambda net, _: net(next(data)).square().mean())
    with pytest.raises(BatchSpent, match="reads from a generator of its own"):
        probe.losses([KeptBatch(None)])
