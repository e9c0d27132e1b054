"""Schedules against the workloads' own and against their definitions."""

import pytest
import torch
from torch.optim import SGD

from hpt.compare.cells import Recipe
from hpt.compare.recipes import schedule, shaped_frac
from hpt.workloads.schedule import lr_frac, warmup_linear, warmup_steps

TOTAL = 1000


def rates(recipe: Recipe) -> list[float]:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = schedule(optimizer, recipe, TOTAL)
    found: list[float] = []
    for _ in range(TOTAL):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_linear_is_the_workloads_own() -> None:
    """To the last bit, so that an untuned baseline is what hpt train runs."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = warmup_linear(optimizer, TOTAL)
    own: list[float] = []
    for _ in range(TOTAL):
        own.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(Recipe()) == own


@pytest.mark.parametrize("shape", ["linear", "cosine", "wsd"])
def test_decaying_shapes_end_at_two_per_cent(shape: str) -> None:
    """All of them warm up alike and end alike."""
    assert shaped_frac(shape, TOTAL - 1, TOTAL) == pytest.approx(0.02)
    assert [shaped_frac(shape, step, TOTAL) for step in range(5)] == [lr_frac(step, TOTAL) for step in range(5)]


def test_wsd_is_flat_until_its_last_three_tenths() -> None:
    """Counted after the warm-up."""
    warmup = warmup_steps(TOTAL)
    start = warmup + 0.7 * (TOTAL - warmup)
    values = [shaped_frac("wsd", step, TOTAL) for step in range(TOTAL)]
    assert set(values[warmup : int(start) - 1]) == {1.0}
    assert values[int(start) + 2] < 1.0


def test_cosine_is_halfway_down_in_the_middle() -> None:
    """(1 + 0.02) / 2 at half of what follows the warm-up."""
    warmup = warmup_steps(TOTAL)
    assert shaped_frac("cosine", warmup + (TOTAL - warmup) // 2 - 1, TOTAL) == pytest.approx(0.51)


def test_constant_never_falls() -> None:
    """After the warm-up."""
    assert {shaped_frac("constant", step, TOTAL) for step in range(warmup_steps(TOTAL), TOTAL)} == {1.0}


def test_boost_acts_only_where_jumps_are_allowed() -> None:
    """From a tenth to nine tenths of the run, by its factor."""
    ratios = [boosted / plain for boosted, plain in zip(rates(Recipe(boost=1.5)), rates(Recipe()), strict=True)]
    assert ratios[:100] == [1.0] * 100
    assert ratios[100:901] == pytest.approx([1.5] * 801)
    assert ratios[901:] == [1.0] * 99
