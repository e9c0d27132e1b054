"""The schedule against its definition and against what an optimizer really gets."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.workloads.schedule import lr_frac, warmup_linear, warmup_steps


@pytest.mark.parametrize(("total", "expected"), [(600, 12), (3000, 60), (5000, 83), (100, 10), (10, 5), (3, 1), (1, 1)])
def test_warm_up_is_two_percent_within_its_bounds(total: int, expected: int) -> None:
    """12 of 600, 60 of 3000; at least 10, at most 83, never over half the run."""
    assert warmup_steps(total) == expected


@given(total=st.integers(2, 4000))
@settings(max_examples=30)
def test_rises_to_the_peak_then_falls_to_two_percent(total: int) -> None:
    """The share rises strictly to 1, falls strictly after it, and its last value is 0.02."""
    shares = [lr_frac(step, total) for step in range(total)]
    peak = warmup_steps(total) - 1
    assert shares[peak] == 1.0
    assert all(early < late for early, late in pairwise(shares[: peak + 1]))
    assert all(early > late for early, late in pairwise(shares[peak:]))
    assert shares[-1] == pytest.approx(0.02)
    assert lr_frac(2 * total, total) == pytest.approx(0.02)


def test_decay_is_linear() -> None:
    """Of 600 updates, 12 warm up; halfway through the other 588 the share is the mean of 1 and 0.02."""
    assert lr_frac(12 + 294 - 1, 600) == pytest.approx(0.51)


def test_scheduler_scales_every_group_by_its_own_peak() -> None:
    """Two groups with different peaks get the same share at every update."""
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [weights[0]], "lr": 1.0}, {"params": [weights[1]], "lr": 0.1}])
    scheduler = warmup_linear(optimizer, 40)
    for step in range(45):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([lr_frac(step, 40), 0.1 * lr_frac(step, 40)])
        optimizer.step()
        scheduler.step()
