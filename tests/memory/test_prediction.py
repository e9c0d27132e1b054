"""What prediction needs while it works is found without going through every parameter of a deep model."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from hpt.memory.allocators import allocator_of
from hpt.memory.fakes import fake_mode
from hpt.memory.prediction import Copies, Prediction, Row
from hpt.memory.tracking import PhasePeak, Tracker

SMALL, WIDE, TALL, VECTOR = (64, 64), (64, 600), (600, 64), (600,)
MODELS: dict[str, tuple[Sequence[tuple[int, ...]], Sequence[torch.dtype]]] = {
    "blocks": ([TALL, *[SMALL, VECTOR, WIDE, VECTOR] * 5, VECTOR, TALL], [torch.float32]),
    "blocks in half precision": ([SMALL, WIDE, VECTOR] * 4, [torch.bfloat16]),
    "two formats by turns": ([WIDE, VECTOR, SMALL, TALL] * 3, [torch.bfloat16, torch.float32, torch.float32]),
    "the largest pair last": ([VECTOR, WIDE, VECTOR, WIDE, WIDE], [torch.float32]),
    "alike, but no factor is taken of the first": ([VECTOR, WIDE] * 2, [torch.float32]),
    "a single parameter": ([WIDE], [torch.float32]),
}


class _OneByOne(Prediction):
    """Goes through all of them, as the trainer does."""

    def _runs(self) -> list[list[Row]]:
        return [list(zip(self._trained, self._start, self._trend, strict=True))]


def _peaks(kind: type[Prediction], name: str, *, here: bool, device: str) -> list[PhasePeak]:
    shapes, dtypes = MODELS[name]
    with fake_mode():
        trained = [
            nn.Parameter(torch.empty(shape, dtype=dtypes[place % len(dtypes)])) for place, shape in enumerate(shapes)
        ]
        tracker = Tracker(allocator_of(device))
        as_they_are = [one for one in trained if one.ndim > 1][:1]
        with tracker:
            made = kind(Copies(here, here), trained, as_they_are, tracker)
            found: list[PhasePeak] = []
            for work in (made.end_cycle, made.jump):
                tracker.take_peak()
                work()
                found.append(tracker.take_peak())
            return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("here", "device"), [(True, "cpu"), (True, "cuda"), (False, "cuda")])
def test_its_peaks_are_those_of_going_through_all_parameters(name: str, here: bool, device: str) -> None:
    """To the byte and category by category, at the end of a cycle and in a jump."""
    expected = _peaks(_OneByOne, name, here=here, device=device)
    assert _peaks(Prediction, name, here=here, device=device) == expected
