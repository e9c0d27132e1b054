"""Plans fit when they say so, and the batch is the largest that does."""

from hypothesis import given
from hypothesis import strategies as st

from hpt.memory.estimate import PLACEMENTS, budget_for, largest_batch, plan_for, room_in

GIB = 1024**3


@given(
    fixed=st.integers(0, 500),
    slope=st.integers(0, 50),
    floor=st.integers(0, 900),
    room=st.integers(1, 1000),
    wanted=st.integers(1, 64),
)
def test_the_largest_batch_is_found_on_any_rising_curve(
    fixed: int, slope: int, floor: int, room: int, wanted: int
) -> None:
    """Against trying every batch in turn; the optimizer's own peak is the floor under the line."""

    def peak(batch: int) -> int:
        return max(floor, fixed + slope * batch)

    expected = max([size for size in range(1, wanted + 1) if peak(size) <= room], default=0)
    assert largest_batch(peak, room, wanted) == expected


def test_the_cheapest_way_that_fits_is_chosen() -> None:
    """fp32 is 20 GiB wherever, bf16 9 GiB with copies on the device: within 12 GiB bf16 on the device it is."""
    sizes = {("fp32", "device"): 30, ("fp32", "host"): 20, ("bf16", "device"): 9, ("bf16", "host"): 5}
    plan, tried = plan_for(
        ("fp32", "bf16"),
        lambda dtype, placement, batch: sizes[dtype, placement] * GIB + batch * GIB // 2,
        lambda dtype, placement: 0,
        12 * GIB,
        wanted_batch=8,
    )
    assert plan is not None
    assert (plan.dtype, plan.placement) == ("bf16", "device")
    assert [one.fits for one in tried] == [False, False, True]
    # room: (12 GiB - 600 MiB) / 1.05 = 10.87 GiB, so three half-GiB windows beside the 9
    assert (plan.batch_size, plan.accumulation_steps) == (3, 3)


def test_nothing_is_estimated_where_the_weights_alone_are_too_much() -> None:
    """The bound is reported as one, and no estimate is asked for."""

    def refuse(dtype: str, placement: str, batch: int) -> int:
        raise AssertionError("estimated")

    plan, tried = plan_for(("fp32",), refuse, lambda dtype, placement: 40 * GIB, 16 * GIB, wanted_batch=4)
    assert plan is None
    assert all(one.is_bound and not one.fits and one.accumulation_steps == 0 for one in tried)
    assert [one.placement for one in tried] == list(PLACEMENTS)
    assert tried[0].least_budget_bytes > 40 * GIB


@given(peak=st.integers(1, 10**12))
def test_the_smallest_device_has_just_the_room(peak: int) -> None:
    """budget_for is the inverse of room_in, rounded up by less than a byte a byte."""
    assert room_in(budget_for(peak)) >= peak - 1e-3 * peak**0.5
    assert room_in(budget_for(peak) - 2) < peak
