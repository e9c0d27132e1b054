"""The display adds up what the records say, shows what run.json holds, and says so when nothing was measured."""

from dataclasses import replace

import pytest
from references.run_records import TRAINED
from rich.console import Console

from hpt.cli.console import Heartbeat, duration
from hpt.cli.train_display import Tally, _plain_lines, show_progress, show_summary
from hpt.records import EventRecord, ForkRecord, Phase, StepRecord
from hpt.run.record import FAILED, INTERRUPTED, RunRecord


class Clock:
    """Seconds that pass only when told."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def step_of(step: int, confidence: float | None = None) -> StepRecord:
    return StepRecord(step, step, Phase.FULL, 2.5, False, None, confidence, 1.0, 0.1, 1, 0.01)


def test_speed_time_left_and_share_covered() -> None:
    """100 updates in 20 s with 300 to go take 60 s more; jumps for 50 steps are a third of 150."""
    clock = Clock()
    tally = Tally(400, covered=lambda: 50, clock=clock)
    clock.now_s = 20.0
    tally(step_of(100, 0.75))
    assert tally.steps_per_s == 5.0
    assert tally.left_s == 60.0
    assert tally.covered_frac == pytest.approx(50 / 150)
    line = " ".join(tally.facts())
    for part in ("FULL", "loss 2.5000", "confidence 0.75", "covered 33.3%", "5.0 steps/s", "1 min 0 s left"):
        assert part in line


def test_a_resumed_run_is_as_fast_as_its_own_part() -> None:
    """Updates made before this process do not count as its speed."""
    clock = Clock()
    tally = Tally(200, first_step=100, covered=lambda: 25, clock=clock)
    clock.now_s = 10.0
    tally(step_of(110))
    assert tally.steps_per_s == 1.0
    assert tally.left_s == 90.0
    assert tally.covered_frac == pytest.approx(25 / 135)


def test_before_the_first_step_nothing_is_made_up() -> None:
    """Unknown numbers are dashes."""
    tally = Tally(10, clock=Clock())
    assert tally.left_s is None
    assert "loss -" in " ".join(tally.facts())
    assert "- left" in " ".join(tally.facts())


def test_a_slow_run_shows_a_sign_of_life_every_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """Between two tenths as well: ten updates of a thousand, forty seconds each, and a line at every second one."""
    clock = Clock()
    sink = _plain_lines(Tally(1000, clock=clock), Heartbeat(clock))
    for step in range(1, 11):
        clock.now_s += 40.0
        sink(step_of(step))
    shown = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert shown == [f"{step}/1000" for step in (2, 4, 6, 8, 10)]


@pytest.mark.parametrize("total", [7, 10, 95, 600])
def test_away_from_a_terminal_there_are_at_most_ten_lines(capsys: pytest.CaptureFixture[str], total: int) -> None:
    """One line a tenth, the last at the end, all on stderr."""
    with show_progress(Tally(total)) as sink:
        for step in range(1, total + 1):
            sink(step_of(step))
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == min(10, total)
    assert lines[-1].startswith(f"step {total}/{total} ")


def test_a_quiet_run_tells_trouble_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """No step, no fork; a checkpoint that was not written is no progress."""
    with show_progress(Tally(2), is_quiet=True) as sink:
        sink(step_of(1))
        sink(ForkRecord(1, 10, 1, "half", 0.01, 0.001, goes_on=True))
        sink(EventRecord(1, 1, "checkpoint_failed", "the disk is full"))
        sink(step_of(2))
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "the disk is full" in err


def test_on_a_terminal_the_last_state_stays_on_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live line ends with the last record, though redraws are rationed."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with show_progress(Tally(40)) as sink:
        for step in range(1, 41):
            sink(step_of(step))
    out, err = capsys.readouterr()
    assert out == ""
    assert "40/40" in err.replace("\x1b[?25h", "").splitlines()[-1]  # the last code shows the cursor again


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_duration_in_two_units(seconds: float | None, text: str) -> None:
    """Rounded to the second before it is split, so there is no '60 s'."""
    assert duration(seconds) == text


def shown(record: RunRecord) -> list[list[str]]:
    """Words of each line, without the frames."""
    console = Console(width=120, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as capture:
        show_summary(record, "runs/a", console)
    return [[word for word in line.split() if word not in "│┃"] for line in capture.get().splitlines()]


def test_the_numbers_of_the_record_are_in_the_table() -> None:
    """Loss beside chance, phases, counters, time and calibration."""
    lines = shown(TRAINED)
    for row in (
        ["updates", "600", "of", "600"],
        ["validation", "loss", "2.25"],
        ["chance", "level", "3.15"],
        ["confidence", "brier", "0.1875"],
        ["confidence", "skill", "no", "skill"],
        ["wall", "time", "2", "min", "5", "s"],
        ["Files:", "runs/a"],
    ):
        assert row in lines
    text = " ".join(word for line in lines for word in line)
    for cell in ("byte-gpt, ridge, seed 7", "WARMUP 30", "jumps accepted 8", "forward 12.5"):
        assert cell in text


def test_what_was_not_measured_is_not_a_number() -> None:
    """An interrupted run has no validation loss, a failed one says why."""
    interrupted = replace(TRAINED, status=INTERRUPTED, final_loss=None, confidence=None, counters=None)
    assert ["validation", "loss", "not", "measured"] in shown(interrupted)
    failed = replace(TRAINED, status=FAILED, final_loss=None, message="it broke")
    assert ["status", "failed:", "it", "broke"] in shown(failed)
