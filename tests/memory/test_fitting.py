"""Plans fit when they say so, and the batch is the largest that does."""

from hypothesis import given
from hypothesis import strategies as st

from hpt.memory.fitting import PLACEMENTS, budget_for, largest_batch, least_budget, plan_for, room_in
from hpt.validate.plan import GIB, gib_text


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
    # room: (12 GiB - 600 MiB) / 1.05 = 10.87 GiB: three half-GiB windows fit beside the 9, and two of them divide 8
    assert (plan.batch_size, plan.accumulation_steps) == (2, 4)


@given(room_windows=st.integers(1, 40), wanted=st.integers(1, 40))
def test_micro_batches_make_up_the_update_that_was_asked_for(room_windows: int, wanted: int) -> None:
    """All of one size, none larger than fits, and no fewer of them would do; the peak is that size's."""
    plan, _ = plan_for(
        ("fp32",),
        lambda dtype, placement, batch: batch * GIB,
        lambda dtype, placement: 0,
        budget_for(room_windows * GIB) + 1,
        wanted_batch=wanted,
    )
    assert plan is not None
    assert plan.batch_size * plan.accumulation_steps == wanted
    divisors = [size for size in range(1, wanted + 1) if wanted % size == 0]
    assert plan.batch_size == max(size for size in divisors if size <= room_windows)
    assert plan.peak_bytes == plan.batch_size * GIB


def test_only_batches_that_make_up_the_update_are_estimated() -> None:
    """Of 8 windows, where 1 fits and 2 do not: the ends 1 and 8 and the middle, 2, each once; never 3, 5, 6 or 7."""
    estimated: list[int] = []

    def peak_of(dtype: str, placement: str, batch: int) -> int:
        if batch not in estimated:
            estimated.append(batch)
        return batch * GIB

    plan, _ = plan_for(("fp32",), peak_of, lambda dtype, placement: 0, budget_for(1.5 * GIB), wanted_batch=8)
    assert plan is not None
    assert plan.batch_size == 1
    assert sorted(estimated) == [1, 2, 8]


@given(
    sizes=st.lists(st.tuples(st.integers(1, 80), st.integers(0, 40)), min_size=4, max_size=4),
    budget=st.floats(0.7, 90.0),
)
def test_the_smallest_device_that_is_named_is_a_plan_of_the_next_run(
    sizes: list[tuple[int, int]], budget: float
) -> None:
    """Weights and activations, GiB, of four ways: told within a tenth of a GiB upwards, and a tenth less is refused."""
    ways = dict(zip([(dtype, place) for dtype in ("fp32", "bf16") for place in PLACEMENTS], sizes, strict=True))

    def peak_of(dtype: str, placement: str, batch: int) -> int:
        return (ways[dtype, placement][0] + batch * ways[dtype, placement][1]) * GIB

    def planned(budget_gib: float) -> tuple[bool, int]:
        static = lambda dtype, placement: ways[dtype, placement][0] * GIB  # noqa: E731
        chosen, tried = plan_for(("fp32", "bf16"), peak_of, static, budget_gib * GIB, wanted_batch=8)
        return chosen is not None, 0 if chosen is not None else least_budget(tried, peak_of)

    fits, least_bytes = planned(budget)
    if not fits:
        said = float(gib_text(least_bytes).removesuffix(" GiB"))
        assert planned(said)[0]
        assert not planned(said - 0.11)[0]


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
