"""One verdict from those of several processes that made the same check."""

import pytest

from hpt.validate.verdicts import (
    LARGE,
    NEAR_ZERO,
    NOT_PASSED,
    PASSED,
    SMALL,
    Check,
    worst_of,
)


def check(value: float | None, verdict: str = PASSED, good: str = SMALL) -> Check:
    return Check("name", verdict, "threshold", value, f"read {value}", good)


@pytest.mark.parametrize(
    ("good", "values", "worst"),
    [(SMALL, (-3.0, 1.0, 2.0), 2), (LARGE, (-3.0, 1.0, 2.0), 0), (NEAR_ZERO, (-3.0, 1.0, 2.0), 0)],
)
def test_the_worst_process_is_the_one_whose_number_is_furthest_from_good(
    good: str, values: tuple[float, ...], worst: int
) -> None:
    """Growth should be small, what a layer saves large, a gap to an estimate near 0; the process is named."""
    (found,) = worst_of([[check(value, good=good)] for value in values])
    assert (found.value, found.evidence) == (values[worst], f"rank {worst}, worst of 3: read {values[worst]}")


@pytest.mark.parametrize("good", [SMALL, LARGE, NEAR_ZERO])
def test_a_number_that_could_not_be_read_and_a_check_that_failed_are_worse_than_any_number(good: str) -> None:
    """Else a process that saw nothing would hide behind one that did."""
    (unread,) = worst_of([[check(1e9, good=good)], [check(None, good=good)]])
    (failed,) = worst_of([[check(None, good=good)], [check(0.0, NOT_PASSED, good)]])
    assert unread.value is None
    assert failed.verdict == NOT_PASSED


def test_the_check_of_a_single_process_is_told_as_it_is() -> None:
    """No rank is named where there is one."""
    assert list(worst_of([[check(1.0)]])) == [check(1.0)]
