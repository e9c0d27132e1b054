"""What operators need inside, against what torch's profiler sees them allocate, on real tensors."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from hpt.memory.allocators import allocator_of
from hpt.memory.fakes import fake_mode
from hpt.memory.tracking import ACTIVATIONS, Tracker

IN_ONEDNN = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX2", reason="oneDNN orders memory otherwise on other processors"
)


def _real_peak(run: Callable[[], Any]) -> int:
    """Most bytes that torch's allocator gave out at once while it ran."""
    run()
    activity = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity], profile_memory=True) as profile:
        kept = run()
    del kept
    held, peak = 0, 0
    results: Any = profile.profiler
    for count in _allocations(results.kineto_results.experimental_event_tree()):
        held += count
        peak = max(peak, held)
    return peak


def _allocations(events: list[Any]) -> Iterator[int]:
    found: list[tuple[int, int]] = []
    todo = list(events)
    while todo:
        event = todo.pop()
        todo += event.children
        if event.typed[0].name == "Allocation":
            found.append((event.start_time_ns, event.extra_fields.alloc_size))
    return (count for _, count in sorted(found))


def _fake_peak(make: Callable[[], Callable[[], Any]]) -> int:
    with fake_mode():
        run, tracker = make(), Tracker(allocator_of("cpu"))
        with tracker, tracker.making(ACTIVATIONS):
            _kept = run()
            return tracker.take_peak().peak_bytes


def _convolution(channels: int) -> Callable[[], Any]:
    layer, images = nn.Conv2d(channels, 32, 3, padding=1, bias=False), torch.zeros(32, channels, 32, 32)
    for one in layer.parameters():
        one.grad = torch.zeros_like(one)
    return lambda: layer(images.clone().requires_grad_(channels > 3)).sum().backward()


def _forward(channels: int) -> Callable[[], Any]:
    layer = nn.Conv2d(channels, 32, 3, padding=1, bias=False).requires_grad_(False)
    images = torch.zeros(32, channels, 32, 32)
    return lambda: layer(images)


def _eigenvectors() -> Callable[[], Any]:
    matrix = torch.eye(256) + 0.0
    return lambda: torch.linalg.eigh(matrix)


def _factors(rows: int, columns: int) -> Callable[[], Any]:
    matrix = torch.eye(rows, columns) + 0.0
    return lambda: torch.linalg.qr(matrix)


CASES = [
    pytest.param(lambda: _convolution(16), id="convolution", marks=IN_ONEDNN),
    pytest.param(lambda: _convolution(3), id="convolution of colours", marks=IN_ONEDNN),
    pytest.param(lambda: _forward(16), id="convolution forward", marks=IN_ONEDNN),
    pytest.param(_eigenvectors, id="eigenvectors"),
    pytest.param(lambda: _factors(256, 256), id="orthogonal factor"),
    pytest.param(lambda: _factors(256, 1024), id="orthogonal factor of a wide matrix"),
]


@pytest.mark.parametrize("make", CASES)
def test_the_peak_is_what_the_profiler_sees(make: Callable[[], Callable[[], Any]]) -> None:
    """Forward and backward, to 10 %: filters laid out anew and small buffers, as LAPACK's of geqrf, are not counted."""
    assert _fake_peak(make) == pytest.approx(_real_peak(make()), rel=0.1)


def test_malloc_takes_whole_pages_for_what_it_maps() -> None:
    """A block of 64 KiB with its header takes one page more; nothing takes nothing; CUDA's are blocks of 512."""
    assert allocator_of("cpu").rounded(2**16) == 2**16 + 4096
    assert allocator_of("cpu").rounded(0) == allocator_of("cuda").rounded(0) == 0
    assert [allocator_of("cuda").rounded(count) for count in (1, 512, 513)] == [512, 512, 1024]
