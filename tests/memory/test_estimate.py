"""Estimated peaks equal closed forms where there are some, and an independent real run where there are none."""

import pytest
import torch
from torch import nn

from hpt.memory.estimate import Prepared, as_fakes, estimate_peaks, fake_like
from hpt.optimizers.inner import InnerOptimizer

WIDTH, ROWS = 256, 8


def _prepare(*, foreach: bool, layers: int = 1) -> Prepared:
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(layers)))
        x = torch.zeros(ROWS, WIDTH)
    as_fakes(model)
    batch = fake_like(x)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=foreach)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(batch).sum().backward()
        optimizer.step()

    def forward() -> None:
        with torch.no_grad():
            model(batch)

    return Prepared(model, InnerOptimizer(optimizer), [batch], {"FULL": step, "PREDICT": forward})


def test_steady_memory_is_weights_gradients_and_two_moments() -> None:
    """In PREDICT: 4 W for weights, gradients and AdamW, its step counter, the batch, and one output."""
    weights = WIDTH * WIDTH * 4
    peaks = estimate_peaks(lambda: _prepare(foreach=False), for_cuda=False)
    rows = ROWS * WIDTH * 4
    assert peaks["PREDICT"].peak_bytes == 4 * weights + 4 + 2 * rows
    assert peaks["PREDICT"].categories["Parameter"] == weights
    assert peaks["FULL"].peak_bytes >= 4 * weights


def test_foreach_needs_the_weights_once_more() -> None:
    """AdamW on lists of tensors, CUDA's default, holds one more copy of the weights while it updates."""
    weights = 8 * WIDTH * WIDTH * 4
    one, all_at_once = (
        estimate_peaks(lambda foreach=foreach: _prepare(foreach=foreach, layers=8), for_cuda=False)["FULL"].peak_bytes
        for foreach in (False, True)
    )
    assert 4 * weights < one < 4.5 * weights  # a layer at a time
    assert 5 * weights < all_at_once < 5.1 * weights


def test_cuda_sizes_are_rounded_to_its_blocks() -> None:
    """The step counter of 4 bytes takes 512 on CUDA; all else here is a multiple already."""
    here, there = (
        estimate_peaks(lambda: _prepare(foreach=False), for_cuda=for_cuda)["PREDICT"].peak_bytes
        for for_cuda in (False, True)
    )
    assert there - here == 512 - 4


def test_tied_parameters_stay_tied() -> None:
    """One fake tensor takes the place of one meta parameter wherever it hangs."""
    with torch.device("meta"):
        first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        second.weight = first.weight
        model = nn.Sequential(first, second)
    as_fakes(model)
    assert first.weight is second.weight
    assert first.weight.device.type == "cpu"


@pytest.mark.parametrize("on_device", [True, False])
def test_gpt2_nano_agrees_with_torch_run_for_real(on_device: bool) -> None:
    """The same step on real tensors under torch's tracker has the same peak to 1 %; copies here come on top."""
    from torch.distributed._tools.mem_tracker import MemTracker

    from hpt.validate.estimating import kept_bytes, phase_peaks
    from hpt.validate.plan import ValidationJob
    from hpt.workloads.gpt2 import GPT2Text

    job = ValidationJob(
        kind="estimate", name="host", model="gpt2-nano", steps=3, batch_size=1, seq_len=32, device="cpu"
    )
    peaks = phase_peaks(job, for_cuda=False, on_device=on_device)
    workload = GPT2Text("gpt2-nano", seed=0, data=None, device=torch.device("cpu"), batch_size=1, seq_len=32)
    model, batch = workload.build_model(), workload.batch(0)
    optimizer = workload.build_optimizer(model)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        workload.loss(model, batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    step()
    tracker = MemTracker()
    tracker.track_external(model, optimizer, batch)
    with tracker:
        step()
    (snapshot,) = tracker.get_tracker_snapshot("peak").values()
    copies = sum(kept_bytes(job).values()) if on_device else 0
    assert peaks["FULL"].peak_bytes - copies == pytest.approx(snapshot["Total"], rel=0.01)
