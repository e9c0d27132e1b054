"""The statistics of a comparison: errors of known size, and coverage."""

import numpy as np
import pytest
from references.timings import drawn

from hpt.bench import bootstrap
from hpt.bench.bootstrap import difference


def test_the_ratio_is_that_of_the_medians() -> None:
    """Of all values, whatever the processes."""
    found = difference([[1, 2, 3], [4, 5, 6]], [[7, 7, 7], [7, 7, 7]], 0)
    assert found.ratio == pytest.approx(7 / 3.5)


def test_the_error_is_that_of_processes_and_not_of_values() -> None:
    """Ten values each do not tell more of six processes than one value each."""
    centres = np.exp(0.05 * np.random.default_rng(0).standard_normal(6))
    other = np.exp(0.05 * np.random.default_rng(1).standard_normal(6))
    once = difference([[one] for one in centres], [[one] for one in other], 0)
    often = difference([[one] * 10 for one in centres], [[one] * 10 for one in other], 0)
    assert often.error == pytest.approx(once.error, rel=0.05)
    assert 0.01 < once.error < 0.1


def test_unequal_processes_weigh_the_same() -> None:
    """A process with more values is still one process."""
    few, many = [[1.0], [2.0], [4.0], [8.0]], [[1.0] * 9, [2.0], [4.0], [8.0]]
    assert difference(few, few, 0).error == pytest.approx(difference(many, many, 0).error, rel=0.05)


def test_a_single_process_proves_nothing() -> None:
    """However far apart, p is 1 and there is no interval."""
    found = difference([[1.0, 1.0, 1.0]], [[9.0, 9.0], [9.1, 9.0]], 0)
    assert found.interval() is None
    assert found.p_beyond(0.0) == 1.0


def test_identical_data_are_not_different() -> None:
    """Also with unequal counts, where pyperf's own test says otherwise."""
    values = [1.0, 1.01, 0.99, 1.02]
    assert difference([[one] for one in values], [[one] for one in values[:3]], 0).p_beyond(0.0) > 0.5


def test_the_interval_covers_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """95 % intervals of the ratio hold 1 in at least 90 of 100 comparisons of like data, five processes a side.

    A tenth of the resamples tells a standard error well enough for that.
    """
    monkeypatch.setattr(bootstrap, "RESAMPLES", bootstrap.RESAMPLES // 10)
    draw = np.random.default_rng(0)
    intervals = [difference(drawn(draw, k=5, n=3), drawn(draw, k=5, n=3), seed).interval() for seed in range(100)]
    assert sum(low <= 1 <= high for low, high in filter(None, intervals)) >= 90


def test_it_is_repeatable() -> None:
    """One seed, one answer."""
    draw = np.random.default_rng(0)
    sides = drawn(draw), drawn(draw)
    assert difference(*sides, 3) == difference(*sides, 3)


def test_an_effect_is_judged_beyond_the_least_effect() -> None:
    """10 % is beyond 3 %, is not beyond 20 %, and up or down makes no difference."""
    draw = np.random.default_rng(0)
    old, new = drawn(draw, k=8), drawn(draw, 1.1, k=8)
    assert difference(old, new, 0).p_beyond(0.03) < 0.001
    assert difference(new, old, 0).p_beyond(0.03) < 0.001
    assert difference(old, new, 0).p_beyond(0.2) > 0.5
