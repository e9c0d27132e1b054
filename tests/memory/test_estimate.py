"""The public estimate: what it takes, leaves alone and refuses, and that its answers agree with each other."""

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import hpt
from hpt import HybridConfig, MemoryEstimate, estimate_memory
from hpt.errors import ModelError, UsageError
from hpt.memory.prediction import KEPT_BATCHES
from hpt.memory.probe import limit_bytes
from hpt.trainer.paired_test import NUM_REFERENCES

INPUTS, WIDTH, CLASSES, ROWS = 32, 128, 10, 16
Batch = tuple[torch.Tensor, torch.Tensor]


def _model() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES))


def _batch(rows: int = ROWS) -> Batch:
    return torch.zeros(rows, INPUTS), torch.zeros(rows, dtype=torch.long)


def _loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    return functional.cross_entropy(model(batch[0]).float(), batch[1])


def _estimate(model: nn.Module | None = None, batch: Any = None, **settings: Any) -> MemoryEstimate:
    model = _model() if model is None else model
    kind = settings.pop("kind", torch.optim.AdamW)
    optimizer = kind(model.parameters(), lr=0.1)
    return estimate_memory(model, _batch() if batch is None else batch, optimizer, _loss, **settings)


def test_the_public_names_are_there_without_importing_torch_for_them() -> None:
    """`hpt.estimate_memory` is the function of `hpt.memory.estimate`."""
    assert hpt.estimate_memory is estimate_memory
    assert {"estimate_memory", "MemoryEstimate"} <= set(hpt.__all__)


def test_the_total_is_the_sum_of_its_breakdown_and_the_highest_phase() -> None:
    """With prediction, whose phases are three."""
    found = _estimate(trainer=HybridConfig(), device="cpu")
    assert found.total_bytes == sum(found.breakdown.values()) == max(found.phases.values())
    assert set(found.phases) == {"FULL", "CYCLE", "PREDICT"}


def test_model_optimizer_and_random_streams_are_left_alone() -> None:
    """Weights, gradients, state and settings to the bit, and the generator that draws next."""
    model = _model()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=None)
    _loss(model, _batch()).backward()
    optimizer.step()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), [one.grad for one in model.parameters()]))
    stream = torch.get_rng_state()
    estimate_memory(model, _batch(), optimizer, _loss, dtype="bf16-weights")
    after = model.state_dict(), optimizer.state_dict(), [one.grad for one in model.parameters()]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), stream)


def test_a_model_without_memory_and_one_in_training_have_the_same_estimate() -> None:
    """On the meta device, new, and with an optimizer that has made an update."""
    with torch.device("meta"):
        nowhere = _estimate()
    model = _model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    _loss(model, _batch()).backward()
    optimizer.step()
    assert estimate_memory(model, _batch(), optimizer, _loss) == _estimate() == nowhere


def test_on_cuda_the_optimizer_works_on_lists_of_tensors_unless_that_was_chosen() -> None:
    """As torch does there: by default like foreach=True, and not at all with foreach=False."""
    found: dict[bool | None, int] = {}
    for foreach in (None, True, False):
        model = nn.Sequential(*(nn.Linear(INPUTS, INPUTS) for _ in range(20)))
        optimizer = torch.optim.AdamW(model.parameters(), foreach=foreach)
        found[foreach] = estimate_memory(model, _batch(1), optimizer, _loss).total_bytes
    assert found[None] == found[True] > found[False]


def test_weights_in_half_precision_take_half() -> None:
    """Weights, gradients and moments; autocast leaves them as they are."""
    plain, autocast, half = (_estimate(dtype=dtype).breakdown for dtype in ("fp32", "bf16", "bf16-weights"))
    assert autocast["weights"] == plain["weights"] == 2 * half["weights"]
    moments = plain["optimizer_state"], half["optimizer_state"]
    counters = 4 * len(list(_model().parameters()))
    assert moments[0] - counters == 2 * (moments[1] - counters)


@pytest.mark.parametrize(("device", "beside"), [("cuda", 5), ("cpu", 0)])
def test_prediction_keeps_its_copies_on_the_host(device: str, beside: int) -> None:
    """Two copies of the weights and a snapshot of weights and two moments: pinned beside a GPU, inside on the host.

    Three batches stay where they are.
    """
    found = _estimate(trainer=HybridConfig(), device=device)
    weights = sum(one.nbytes for one in _model().parameters())
    counters = 4 * len(list(_model().parameters()))
    assert found.host_bytes == (beside * weights + counters if beside else 0)
    assert found.breakdown["trajectory"] == (0 if beside else 2 * weights)
    batches = KEPT_BATCHES * sum(one.nbytes for one in _batch())
    assert found.breakdown["snapshot"] == batches + (0 if beside else 3 * weights + counters)
    assert KEPT_BATCHES == NUM_REFERENCES


def test_a_plain_trainer_is_a_plain_loop() -> None:
    """`predictor="none"` keeps nothing."""
    assert _estimate(trainer=HybridConfig(predictor="none")) == _estimate()


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_it_fits_the_smallest_device_and_none_smaller(device: str) -> None:
    """Of which `least_budget_bytes` is the size; all of a device's memory counts."""
    found = _estimate(device=device)
    least = found.least_budget_bytes
    assert least > found.total_bytes
    assert (found.fits(least), found.fits(least - 1)) == (True, False)
    assert found.fits("cpu") == (limit_bytes("cpu") >= least)


def test_the_largest_batch_fits_and_the_next_does_not() -> None:
    """By an estimate of its own for each of the two."""
    found = _estimate(device="cpu", kind=torch.optim.SGD)
    budget = 3 * found.least_budget_bytes
    largest = found.largest_batch(budget)
    assert largest > 4 * ROWS
    at, above = (_estimate(batch=_batch(size), device="cpu", kind=torch.optim.SGD) for size in (largest, largest + 1))
    assert (at.fits(budget), above.fits(budget)) == (True, False)


def test_no_batch_fits_where_the_weights_do_not() -> None:
    """0 samples: where weights and moments alone are too much, and where their gradients are."""
    found = _estimate(device="cpu")
    weights = found.breakdown["weights"]
    assert found.largest_batch(1000) == 0
    assert found.largest_batch(3.5 * weights) == 0


class _WithLoss(nn.Module):
    def __init__(self, wrap: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.inner, self._wrap = _model(), wrap

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return self._wrap(_loss(self.inner, (x, y)))


WAYS: dict[str, Callable[[torch.Tensor], Any]] = {
    "scalar": lambda loss: loss,
    "attribute": lambda loss: SimpleNamespace(loss=loss),
    "entry": lambda loss: {"loss": loss},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("by_name", [True, False])
def test_without_a_loss_function_the_models_own_loss_counts(way: str, by_name: bool) -> None:
    """A scalar, an attribute or an entry `loss`; batches by name or position. As with the same loss passed."""
    model, (x, y) = _WithLoss(WAYS[way]), _batch()
    found = estimate_memory(model, {"x": x, "y": y} if by_name else (x, y), torch.optim.AdamW(model.parameters()))
    assert found.total_bytes == _estimate().total_bytes


def _values(model: nn.Module, batch: Batch) -> torch.Tensor:
    loss = _loss(model, batch)
    return loss * 2 if float(loss) > 1.0 else loss


def _vector(model: nn.Module, batch: Batch) -> torch.Tensor:
    return model(batch[0])


REFUSED = [
    (_values, "must not depend on values"),
    (_vector, "grad can be implicitly created"),
    (None, "pass loss_fn"),
]


@pytest.mark.parametrize(("loss", "words"), REFUSED)
def test_a_step_that_cannot_be_run_is_refused_with_the_reason(loss: Any, words: str) -> None:
    """Code that reads a value, a loss that is no scalar, a model that computes none."""
    model = _model()
    batch = _batch() if loss is not None else _batch()[0]
    with pytest.raises(ModelError, match=words):
        estimate_memory(model, batch, torch.optim.AdamW(model.parameters()), loss)


def test_a_loss_function_with_a_model_of_its_own_is_refused_and_leaves_no_gradient() -> None:
    """It would estimate another model than the one it is given."""
    model = _model()
    with pytest.raises(ModelError, match="use its first argument"):
        estimate_memory(model, _batch(), torch.optim.AdamW(model.parameters()), lambda _, batch: _loss(model, batch))
    assert [one.grad for one in model.parameters()] == [None] * 6


@pytest.mark.parametrize(("settings", "words"), [({"dtype": "fp8"}, "fp8"), ({"device": "meta"}, "whose allocator")])
def test_unknown_formats_and_devices_are_refused(settings: dict[str, Any], words: str) -> None:
    """By name."""
    with pytest.raises(UsageError, match=words):
        _estimate(**settings)


def test_a_batch_without_tensors_cannot_grow() -> None:
    """Its largest size is asked in vain."""
    model = _model()
    found = estimate_memory(
        model, {}, torch.optim.AdamW(model.parameters()), lambda model, _: model(torch.zeros(2, INPUTS)).sum()
    )
    with pytest.raises(UsageError, match="no tensor"):
        found.largest_batch(10**9)


class _Deep(nn.Module):
    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(64, 64), nn.GELU()) for _ in range(16))
        self._again = again

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self._again else block(x)
        return x.square().mean()


def test_checkpointed_activations_are_not_kept() -> None:
    """Of sixteen blocks with two activations each, one activation a block and one block's own are left."""
    found: dict[bool, int] = {}
    for again in (False, True):
        model = _Deep(again=again)
        estimate = estimate_memory(model, torch.zeros(4096, 64), torch.optim.SGD(model.parameters(), lr=0.1))
        found[again] = estimate.total_bytes
    activation = 4096 * 64 * 4
    assert found[False] > 32 * activation
    assert found[True] < 24 * activation


def test_recurrent_layers_are_estimated() -> None:
    """An LSTM, whose weights are also held in a flat list; the host's library keeps more than the outputs."""
    model = nn.LSTM(32, 64)
    optimizer = torch.optim.AdamW(model.parameters())
    rows = torch.zeros(20, 8, 32)
    found = estimate_memory(model, rows, optimizer, lambda model, x: model(x)[0].sum(), device="cpu")
    assert found.breakdown["weights"] == sum(one.nbytes for one in model.parameters())
    assert found.breakdown["activations"] >= 20 * 8 * 64 * 4 * 7
