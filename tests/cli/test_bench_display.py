"""How times are written, and how far a run is."""

import pytest
from rich.console import Console

from hpt.cli.bench_display import BenchProgress, time_text
from hpt.cli.options import parse_percent
from hpt.errors import UsageError

TEXTS = {0.0: "0 s", 1.234e-8: "12.3 ns", 9.999e-7: "1.00 us", 5.6e-5: "56.0 us", 0.1234: "123 ms", 12.0: "12.0 s"}


@pytest.mark.parametrize(("seconds", "text"), TEXTS.items())
def test_times_have_three_digits_and_a_unit(seconds: float, text: str) -> None:
    """Also where rounding carries into the next unit."""
    assert time_text(seconds) == text


def test_negative_and_tiny_times_are_written_too() -> None:
    """An intercept may be below zero, a multiply-add below a nanosecond."""
    assert time_text(-2.5e-6) == "-2.50 us"
    assert time_text(1.2e-10) == "120 ps"
    assert time_text(3.4e-14) == "0.0340 ps"


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("5", 0.05), ("0.5%", 0.005), (None, None)])
def test_percent_are_read(text: str | None, share: float | None) -> None:
    """With or without the sign."""
    assert parse_percent("--gate", text) == share


@pytest.mark.parametrize("text", ["", "%", "-1%", "0", "five", "nan", "inf"])
def test_nonsense_is_refused(text: str) -> None:
    """Naming the option."""
    with pytest.raises(UsageError, match="--gate"):
        parse_percent("--gate", text)


def test_the_time_left_follows_from_what_was_measured() -> None:
    """Scenarios that were kept took no time and promise none."""
    now = [0.0]
    progress = BenchProgress(5, Console(quiet=True), clock=lambda: now[0])
    assert progress.left_s is None
    progress.watch("a", "kept")
    assert progress.left_s is None
    progress.watch("b", "measuring")
    now[0] = 10.0
    progress.watch("b", "finished")
    assert progress.left_s == pytest.approx(30.0)
    now[0] = 30.0
    progress.watch("c", "failed: why")
    assert progress.left_s == pytest.approx(30.0)
    assert progress.num_done == 3
