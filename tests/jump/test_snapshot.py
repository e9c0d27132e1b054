"""A snapshot puts the whole training state back, bit for bit and in place."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from references.same import assert_same
from torch import nn
from torch.optim import lr_scheduler

from hpt.jump.snapshot import Snapshot
from hpt.optimizers.inner import InnerOptimizer


class Net(nn.Module):
    """Embedding tied to the output layer, batch norm, one frozen weight."""

    def __init__(self, *, sparse: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6, sparse=sparse)
        self.hidden = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6, momentum=None)
        self.head = nn.Linear(6, 11, bias=False)
        self.frozen = nn.Parameter(torch.ones(6), requires_grad=False)
        if not sparse:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.hidden(self.embedding(tokens))) * self.frozen)


class Lion(torch.optim.Optimizer):
    """Sign of an average of gradients (arXiv:2302.06675), in a form that replaces its state each step."""

    def __init__(self, params: Any, lr: float = 1e-2) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.99), "num_steps": 0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            group["num_steps"] += 1
            fast, slow = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                average = state.get("average", torch.zeros_like(p))
                p.sub_(torch.sign(fast * average + (1 - fast) * p.grad), alpha=group["lr"])
                state["average"] = slow * average + (1 - slow) * p.grad
                state["past_norms"] = [*state.get("past_norms", []), float(p.grad.norm())]


def _matrices(model: Net) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad and p.ndim == 2]


OPTIMIZERS: dict[str, Callable[[Net], torch.optim.Optimizer]] = {
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.1),
    "sgd_momentum": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, foreach=True),
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=0.01, amsgrad=True),
    "adamw_foreach": lambda m: torch.optim.AdamW(m.parameters(), lr=0.01, foreach=True),
    "adamw_fused": lambda m: torch.optim.AdamW(m.parameters(), lr=0.01, fused=True),
    "adamw_tensor_lr": lambda m: torch.optim.AdamW(m.parameters(), lr=torch.tensor(0.01), foreach=False),
    "nadam": lambda m: torch.optim.NAdam(m.parameters(), lr=0.01),
    "adagrad": lambda m: torch.optim.Adagrad(m.parameters(), lr=0.01),
    "adafactor": lambda m: torch.optim.Adafactor(m.parameters(), lr=0.01),
    "lion": lambda m: Lion(m.parameters()),
}
if hasattr(torch.optim, "Muon"):
    OPTIMIZERS["muon"] = lambda m: torch.optim.Muon(_matrices(m), lr=0.01)


def _batches(seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randint(11, (8,), generator=generator), torch.randint(11, (8,), generator=generator)


def _net(*, sparse: bool = False) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return Net(sparse=sparse)


def _train(model: Net, optimizer: torch.optim.Optimizer, scheduler: Any, steps: int, seed: int) -> list[float]:
    losses: list[float] = []
    for _, (tokens, targets) in zip(range(steps), _batches(seed), strict=False):
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(tokens), targets)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        losses.append(loss.item())
    return losses


def _one_cycle(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    is_steady = "num_steps" in optimizer.param_groups[0] or "momentum" not in optimizer.param_groups[0]
    return lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=40, cycle_momentum=not is_steady)


def _state(model: Net, optimizer: torch.optim.Optimizer, scheduler: Any) -> Any:
    return copy.deepcopy((model.state_dict(), optimizer.state_dict(), scheduler.state_dict()))


def _pointers(model: Net, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    tensors = dict(model.state_dict(keep_vars=True))
    for index, entry in enumerate(optimizer.state.values()):
        tensors |= {f"{index}/{key}": one for key, one in entry.items() if isinstance(one, torch.Tensor)}
    return {name: one.data_ptr() for name, one in tensors.items()}


@pytest.mark.parametrize("placement", ["device", "cpu"])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps_before", [0, 3])
def test_restore_brings_back_every_value_in_place(name: str, steps_before: int, placement: str) -> None:
    """Model, optimizer and scheduler equal a deep copy made at the snapshot, in the same memory."""
    model = _net()
    optimizer = OPTIMIZERS[name](model)
    scheduler = _one_cycle(optimizer)
    _train(model, optimizer, scheduler, steps_before, seed=1)
    expected, where = _state(model, optimizer, scheduler), _pointers(model, optimizer)
    snapshot = Snapshot.take(model, InnerOptimizer(optimizer), [scheduler], placement=placement)
    _train(model, optimizer, scheduler, 4, seed=2)
    assert not torch.equal(model.head.weight, expected[0]["head.weight"])
    snapshot.restore()
    assert_same(_state(model, optimizer, scheduler), expected)
    assert _pointers(model, optimizer) == where


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_run_goes_on_as_if_nothing_had_happened(name: str) -> None:
    """Losses after a detour and a restore equal those of a run without it, bit for bit, twice over."""
    twins = [_net(), _net()]
    optimizers = [OPTIMIZERS[name](one) for one in twins]
    schedulers = [_one_cycle(one) for one in optimizers]
    for triple in zip(twins, optimizers, schedulers, strict=True):
        _train(*triple, steps=3, seed=1)
    expected = _train(twins[0], optimizers[0], schedulers[0], 5, seed=3)
    snapshot = Snapshot.take(twins[1], InnerOptimizer(optimizers[1]), [schedulers[1]])
    for detour in (2, 6):
        _train(twins[1], optimizers[1], schedulers[1], detour, seed=2)
        snapshot.restore()
        assert _train(twins[1], optimizers[1], schedulers[1], 5, seed=3) == expected
        snapshot.restore()


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("momentum", [0.0, 0.9, "adam"])
def test_sparse_gradients_and_sparse_momentum(momentum: float | str) -> None:
    """Embedding rows come back, and so do the sparse tensors SGD keeps as momentum, which grow meanwhile."""
    model = _net(sparse=True)
    rows = list(model.embedding.parameters())
    optimizer = torch.optim.SparseAdam(rows) if momentum == "adam" else torch.optim.SGD(rows, 0.1, float(momentum))
    _train(model, optimizer, None, 1, seed=1)
    expected = copy.deepcopy(optimizer.state_dict()), model.embedding.weight.detach().clone()
    snapshot = Snapshot.take(model, InnerOptimizer(optimizer))
    _train(model, optimizer, None, 3, seed=2)
    snapshot.restore()
    assert_same((optimizer.state_dict(), model.embedding.weight.detach()), expected)


def test_lbfgs_keeps_its_history_in_lists() -> None:
    """Lists of tensors and plain numbers inside an optimizer's state are restored to their earlier length."""
    weight = nn.Parameter(torch.tensor([3.0, -2.0]))
    model = nn.ParameterList([weight])
    optimizer = torch.optim.LBFGS([weight], lr=0.1, max_iter=2)
    scale = torch.tensor([1.0, 10.0])

    def closure() -> float:
        optimizer.zero_grad()
        loss = (scale * weight.square()).sum()
        loss.backward()
        return loss.item()

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    expected = copy.deepcopy(optimizer.state_dict())
    snapshot = Snapshot.take(model, InnerOptimizer(optimizer))
    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    assert optimizer.state_dict()["state"][0]["n_iter"] != expected["state"][0]["n_iter"]
    snapshot.restore()
    assert_same(optimizer.state_dict(), expected)


def test_removed_state_is_put_back_and_groups_keep_their_lists() -> None:
    """A key deleted meanwhile returns with its value, a setting added goes, params is the same list."""
    model = _net()
    optimizer = OPTIMIZERS["adamw"](model)
    _train(model, optimizer, None, 2, seed=1)
    group = optimizer.param_groups[0]
    weight, parameters = model.hidden.weight, group["params"]
    average, expected = optimizer.state[weight]["exp_avg"], optimizer.state[weight]["exp_avg"].clone()
    snapshot = Snapshot.take(model, InnerOptimizer(optimizer))
    del optimizer.state[weight]["exp_avg"]
    average.zero_()
    group["lr"], group["initial_lr"] = 5.0, 1.0
    snapshot.restore()
    assert optimizer.state[weight]["exp_avg"] is average
    assert torch.equal(average, expected)
    assert (group["lr"], "initial_lr" in group) == (0.01, False)
    assert group["params"] is parameters


def test_groups_are_found_again_after_the_optimizer_loaded_a_state() -> None:
    """load_state_dict replaces the groups' dictionaries; a group added since keeps its own settings."""
    model = _net()
    optimizer = torch.optim.SGD(model.hidden.parameters(), lr=0.1)
    snapshot = Snapshot.take(model, InnerOptimizer(optimizer))
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    optimizer.add_param_group({"params": [model.head.weight], "lr": 0.3})
    optimizer.param_groups[0]["lr"] = 5.0
    snapshot.restore()
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.3]


def test_the_kept_copy_of_a_weight_can_be_read() -> None:
    """`kept` shows a parameter as it was at the snapshot, under either name of a tied one."""
    model = _net()
    optimizer = OPTIMIZERS["sgd"](model)
    head, tied = model.get_parameter("head.weight"), model.get_parameter("embedding.weight")
    snapshot, before = Snapshot.take(model, InnerOptimizer(optimizer)), head.detach().clone()
    _train(model, optimizer, None, 1, seed=1)
    assert torch.equal(snapshot.kept(head), before)
    assert snapshot.kept(tied) is snapshot.kept(head)


def test_reuse_copies_into_the_memory_of_the_snapshot_before() -> None:
    """The second snapshot holds the second state in the first one's memory, and the first refuses to act."""
    model = _net()
    optimizer = OPTIMIZERS["adamw"](model)
    _train(model, optimizer, None, 2, seed=1)
    first = Snapshot.take(model, InnerOptimizer(optimizer))
    places = {one.data_ptr() for _, one in first._copies._places}
    _train(model, optimizer, None, 2, seed=2)
    expected = copy.deepcopy(model.state_dict())
    second = Snapshot.take(model, InnerOptimizer(optimizer), reuse=first)
    assert {one.data_ptr() for _, one in second._copies._places} == places
    assert first.nbytes == 0
    _train(model, optimizer, None, 2, seed=3)
    second.restore()
    assert_same(model.state_dict(), expected)
    with pytest.raises(AssertionError, match="handed to a later one"):
        first.restore()


def test_size_counts_tied_weights_once_and_frozen_ones_never() -> None:
    """Without optimizer state the size is that of the trained parameters and buffers."""
    model = _net()
    snapshot = Snapshot.take(model, InnerOptimizer(OPTIMIZERS["sgd"](model)))
    floats = 11 * 6 + (6 * 6 + 6) + (6 + 6) + (6 + 6)  # embedding = head, hidden, norm, its running statistics
    assert snapshot.nbytes == 4 * floats + 8  # and the count of batches, a whole number of 8 bytes


def test_gradient_scaler_comes_back() -> None:
    """Scale and growth counter are those of the snapshot, and a later step uses them."""
    model = _net()
    optimizer = OPTIMIZERS["sgd"](model)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
    snapshot = Snapshot.take(model, InnerOptimizer(optimizer), [scaler])
    for tokens, targets in (next(_batches(seed)) for seed in range(4)):
        scaler.scale(nn.functional.cross_entropy(model(tokens), targets)).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 256.0
    snapshot.restore()
    assert (scaler.get_scale(), scaler.state_dict()["_growth_tracker"]) == (64.0, 0)


class Remembering:
    """A scheduler whose state dictionary shows its own list, which it extends."""

    def __init__(self) -> None:
        self.seen: list[int] = [1]

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.seen = state_dict["seen"]


def test_a_scheduler_that_shows_its_own_lists_cannot_change_the_snapshot() -> None:
    """What such a scheduler appends after the snapshot, or after a restore, is gone after the next restore."""
    model, scheduler = _net(), Remembering()
    snapshot = Snapshot.take(model, InnerOptimizer(OPTIMIZERS["sgd"](model)), [scheduler])
    for _ in range(2):
        scheduler.seen.append(2)
        snapshot.restore()
        assert scheduler.seen == [1]


@pytest.mark.cuda
@pytest.mark.parametrize("placement", ["device", "cpu"])
def test_restore_on_a_gpu(placement: str) -> None:
    """On CUDA the copies sit beside the tensors or in pinned host memory; restoring is exact and in place."""
    model = _net().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    inputs = torch.randint(11, (8,), device="cuda")

    def step() -> None:
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    step()
    expected, where = copy.deepcopy((model.state_dict(), optimizer.state_dict())), _pointers(model, optimizer)
    snapshot = Snapshot.take(model, InnerOptimizer(optimizer), placement=placement)
    assert all(
        one.is_pinned() == (placement == "cpu") for _, one in snapshot._copies._places if one.device.type == "cpu"
    )
    step()
    snapshot.restore()
    assert_same((model.state_dict(), optimizer.state_dict()), expected)
    assert _pointers(model, optimizer) == where
