"""Estimated peaks equal closed forms where there are some, else those of torch's own tracker on real tensors."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from hpt.memory.fakes import Fakes
from hpt.memory.phases import CYCLE, FULL, PREDICT, Peaks, Training, estimate_peaks
from hpt.memory.prediction import KEPT_BATCHES, Copies
from hpt.optimizers.inner import InnerOptimizer

WIDTH, ROWS, LAYERS = 256, 8, 8
WEIGHTS = LAYERS * WIDTH * WIDTH * 4


def _sum(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return model(batch).sum()


def _prepare(kind: Any = torch.optim.AdamW, **settings: Any) -> Callable[[], Training]:
    groups = {name: settings.pop(name) for name in ("foreach", "fused") if name in settings}

    def prepare() -> Training:
        model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))
        optimizer = kind(model.parameters(), lr=0.1, **groups)
        batch = torch.zeros(ROWS, WIDTH)
        return Training(model=model, optimizer=InnerOptimizer(optimizer), batch=batch, loss=_sum, **settings)

    return prepare


def _peaks(*, for_cuda: bool = True, **settings: Any) -> Peaks:
    return estimate_peaks(_prepare(**settings), for_cuda=for_cuda)


def test_adamw_needs_four_times_the_weights_and_lists_of_tensors_once_more() -> None:
    """Weights, gradients, two moments; one layer's temporaries at a time, or those of all layers."""
    one, every = (_peaks(foreach=foreach).phases[FULL] for foreach in (False, True))
    assert one.categories["weights"] == one.categories["gradients"] == WEIGHTS
    assert one.categories["optimizer_state"] == 2 * WEIGHTS + 4 * LAYERS
    assert one.categories["workspace"] == 3 * WEIGHTS // LAYERS  # a root, the root over a number, and that of before
    assert every.categories["workspace"] == WEIGHTS


def test_the_fused_update_needs_nothing_beside_what_is_there() -> None:
    """Then the highest moment is in the passes: gradients of activations beside all of the weights'."""
    peak = _peaks(fused=True).phases[FULL]
    assert 4 * WEIGHTS < peak.peak_bytes < 4 * WEIGHTS + 40 * ROWS * WIDTH


def test_a_breakdown_adds_up_to_its_peak() -> None:
    """In every phase, rounding included."""
    found = _peaks(copies=Copies(trajectory_here=True, snapshot_here=True))
    assert {sum(one.categories.values()) - one.peak_bytes for one in found.phases.values()} == {0}


@pytest.mark.parametrize("here", [True, False])
def test_prediction_keeps_two_copies_and_a_snapshot(here: bool) -> None:
    """Above the plain peak: two copies of the weights, one of weights and moments, if here; and batches."""
    plain = _peaks().phases[FULL]
    found = _peaks(copies=Copies(trajectory_here=here, snapshot_here=here))
    assert list(found.phases) == [FULL, CYCLE, PREDICT]
    assert found.trajectory_bytes == 2 * WEIGHTS
    assert found.snapshot_bytes == 3 * WEIGHTS + 4 * LAYERS
    more = KEPT_BATCHES * ROWS * WIDTH * 4 + (found.trajectory_bytes + found.snapshot_bytes if here else 0)
    rounding = 512 * LAYERS
    assert found.phases[FULL].peak_bytes - plain.peak_bytes == pytest.approx(more, abs=rounding)


def test_a_trajectory_in_half_precision_is_half_as_large() -> None:
    """Two copies at two bytes a number."""
    copies = Copies(trajectory_here=True, snapshot_here=True, half=True)
    assert _peaks(copies=copies).trajectory_bytes == WEIGHTS


def test_accumulation_keeps_gradients_beside_activations() -> None:
    """The second micro-batch's passes find all gradients of the first: one gradient of a layer more at the peak."""
    plain, accumulated = (_peaks(kind=torch.optim.SGD, accumulation_steps=steps).phases[FULL] for steps in (1, 4))
    layer = WEIGHTS // LAYERS
    assert plain.peak_bytes < 2 * WEIGHTS + layer
    assert accumulated.peak_bytes > 2 * WEIGHTS + layer


def test_cuda_sizes_are_rounded_to_its_blocks() -> None:
    """The step counters of 4 bytes take 512 on CUDA; all else here is a multiple already."""
    assert _peaks(fused=True).phases[FULL].categories["allocator_rounding"] >= LAYERS * (512 - 4)


class _EveryTenth(torch.optim.SGD):
    """SGD that needs a copy of all weights every tenth update; of no known module."""

    num_steps = 0

    def step(self, closure: object = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.num_steps += 1
        if self.num_steps % 10 == 0:
            _copies = [one.clone() for group in self.param_groups for one in group["params"]]
        super().step()


def test_work_that_an_optimizer_does_every_tenth_update_is_seen() -> None:
    """A further copy of the weights, beside weights and gradients."""
    assert _peaks(kind=_EveryTenth).phases[FULL].peak_bytes >= 3 * WEIGHTS


class _Tied(nn.Module):
    """A table used at both ends, as of a language model; its gradient is a sum of two."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4096, 32)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table(tokens) @ self.table.weight.T


class _Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8)
        self.last = nn.Linear(8 * 36, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first(images)).relu().flatten(1))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "tied": (_Tied, lambda: torch.zeros(64, dtype=torch.long)),
    "convolution": (_Small, lambda: torch.zeros(64, 4, 8, 8)),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("foreach", [False, True])
def test_peaks_agree_with_torchs_tracker_on_real_tensors(name: str, foreach: bool) -> None:
    """Forward, backward and update under MemTracker, which knows nothing of what operators need inside: 1 %."""
    from torch.distributed._tools.mem_tracker import MemTracker

    make_model, make_batch = MODELS[name]
    model, batch = make_model(), make_batch()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=foreach)

    def training() -> Training:
        fakes = Fakes()
        copy = InnerOptimizer(fakes.optimizer(optimizer))
        return Training(model=fakes.model(model), optimizer=copy, batch=fakes.batch(batch), loss=_square)

    def step() -> None:
        optimizer.zero_grad()
        _square(model, batch).backward()
        optimizer.step()

    step()
    tracker = MemTracker()
    tracker.track_external(model, optimizer, batch)
    with tracker:
        step()
    (snapshot,) = tracker.get_tracker_snapshot("peak").values()
    found = estimate_peaks(training, for_cuda=True).phases[FULL]
    expected = snapshot["Total"]
    assert found.peak_bytes - found.categories["allocator_rounding"] == pytest.approx(expected, rel=0.01)


def _square(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return model(batch).square().mean()
