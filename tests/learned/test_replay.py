"""What a window holds, tick by tick, also after the ring has wrapped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.learned.replay import Replay, anchors

_H, _O, _FIRST = 6, 3, 20


def _loss(tick: int) -> float:
    return float(np.sin(tick) + 3)


def _filled(num_ticks: int, capacity: int = 64) -> Replay:
    """Every stored number tells which tick it is of; blocks of five ticks have curves and masks of their own."""
    replay = Replay(capacity, (2, 2, 2, 2), _H, first_tick=_FIRST)
    for first in range(0, num_ticks, 5):
        _append(replay, np.arange(first, min(first + 5, num_ticks)))
        block, steps = first // 5, np.arange(1, _H + 1)
        replay.close_block(0.1 * block * steps, 1.0 + block + steps, np.array([block, 1.0]))
    return replay


def _append(replay: Replay, ticks: np.ndarray) -> None:
    """Ticks in one block."""
    column = ticks[:, None].astype(np.float32)
    latents = np.repeat(column + 0.5, 2, axis=1), np.repeat(-column, 2, axis=1)
    losses = np.array([_loss(int(tick)) for tick in ticks])
    replay.append(np.repeat(column, 2, axis=1), np.repeat(column, 3, axis=1), losses, 3 + 0.01 * ticks, latents)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=6))
def test_blocks_of_any_size_store_the_same(sizes: list[int]) -> None:
    """Rows, slow averages and numbers are those of single ticks, bit for bit, also where a block is a ring long."""
    whole, single = Replay(64, (2, 2, 2, 2), _H, first_tick=_FIRST), Replay(64, (2, 2, 2, 2), _H, first_tick=_FIRST)
    for size in sizes:
        _append(whole, np.arange(whole.num_ticks, whole.num_ticks + size))
    for tick in range(sum(sizes)):
        _append(single, np.array([tick]))
    one, other = whole.state_dict(), single.state_dict()
    assert one["num_ticks"] == other["num_ticks"]
    np.testing.assert_array_equal(one["slow"], other["slow"])
    for name, rows in one["rows"].items():
        np.testing.assert_array_equal(rows, other["rows"][name])


@settings(max_examples=15, deadline=None)
@given(st.integers(30, 200), st.integers(0, 99))
def test_windows_hold_the_ticks_they_should(num_ticks: int, seed: int) -> None:
    """Features, actions, latents, masks and errors of a window belong to the right ticks, wrapped ring included."""
    windows = _filled(num_ticks).sample(5, _O, np.random.default_rng(seed), new_from=None)
    assert windows is not None
    origins = windows.features[-1, :, 0].astype(int)  # last observed tick
    assert origins.min() >= max(_FIRST, num_ticks - 64 + _O)
    np.testing.assert_array_equal(windows.deter[:, 0], origins - _O + 0.5)
    np.testing.assert_array_equal(windows.stoch[:, 0], _O - origins)
    for b, origin in enumerate(origins.tolist()):
        block = origin // 5
        np.testing.assert_array_equal(windows.features[:, b, 0], np.arange(origin - _O + 1, origin + 1))
        assert windows.masks[b].tolist() == [block, 1.0]
        for h in range(1, _H + 1):
            known = origin + h < num_ticks
            assert windows.valid[h - 1, b] == known
            if known:
                assert windows.actions[_O + h - 1, b, 0] == origin + h
                error = (_loss(origin + h) - (3 + 0.01 * origin) - 0.1 * block * h) / (1.0 + block + h)
                assert windows.errors[h - 1, b] == pytest.approx(error, abs=1e-5)
            else:
                assert windows.errors[h - 1, b] == 0


def test_every_window_knows_its_near_half() -> None:
    """No origin lies so late that less than half of the horizon is known."""
    windows = _filled(60).sample(200, _O, np.random.default_rng(0), new_from=None)
    assert windows is not None
    assert windows.valid[: _H // 2].min() == 1
    assert windows.valid.min() == 0


def test_new_windows_cover_what_was_never_learned_from() -> None:
    """Asked from tick 50 on, the first four windows lie within a horizon of it, and only losses since then are new."""
    windows = _filled(60).sample(16, _O, np.random.default_rng(0), new_from=50)
    assert windows is not None
    origins = windows.features[-1, :, 0].astype(int)
    assert origins[:4].tolist() == [44, 48, 53, 58]
    ticks = origins + np.arange(1, _H + 1)[:, None]
    np.testing.assert_array_equal(windows.new, (ticks >= 50) & (ticks < 60))


def test_nothing_is_new_unless_asked() -> None:
    """Without `new_from` no error counts as unseen."""
    windows = _filled(60).sample(16, _O, np.random.default_rng(0), new_from=None)
    assert windows is not None
    assert windows.new.sum() == 0


@pytest.mark.parametrize("num_ticks", [1, 10, _FIRST + _H // 2])
def test_too_few_ticks_give_no_window(num_ticks: int) -> None:
    """Before one ripe origin has half its horizon known there is nothing to learn from; one tick later there is."""
    assert _filled(num_ticks).sample(4, _O, np.random.default_rng(0), new_from=0) is None
    enough = _FIRST + _H // 2 + 1
    assert _filled(enough).sample(4, _O, np.random.default_rng(0), new_from=0) is not None


def test_gaps_are_slow_averages_minus_level() -> None:
    """Bias-corrected exponential averages, computed here as explicit weighted sums."""
    gaps = _filled(40).gaps()
    for gap, gain in zip(gaps, (1 / 32, 1 / 64, 1 / 128, 1 / 256), strict=True):
        weights = (1 - gain) ** np.arange(39, -1, -1)
        average = weights @ [_loss(tick) for tick in range(40)] / weights.sum()
        assert gap == pytest.approx(average - 3.39, abs=1e-6)


def test_anchors_are_gaps_and_drift_in_scales() -> None:
    """Each gap, and the expected change with its sign turned, over the scale at that horizon; clipped to +-3."""
    got = anchors(np.array([1.0, 2.0, -4.0, 100.0]), np.array([0.5, -1.0]), np.array([2.0, 4.0]))
    np.testing.assert_allclose(got, [[0.5, 1.0, -2.0, 3.0, -0.25], [0.25, 0.5, -1.0, 3.0, 0.25]])


def test_state_continues_exactly() -> None:
    """A replay restored from its state draws the same windows, and goes on averaging where it was."""
    first, second = _filled(100), Replay(64, (2, 2, 2, 2), _H, first_tick=_FIRST)
    second.load_state_dict(first.state_dict())
    for replay in (first, second):
        _append(replay, np.array([100]))
    np.testing.assert_array_equal(first.gaps(), second.gaps())
    one, two = (replay.sample(4, _O, np.random.default_rng(1), new_from=90) for replay in (first, second))
    assert one is not None
    assert two is not None
    np.testing.assert_array_equal(one.errors, two.errors)
    np.testing.assert_array_equal(one.anchors, two.anchors)
