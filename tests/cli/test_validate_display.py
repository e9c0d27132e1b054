"""The progress line: step, phase, memory now and at the peak, and the words "not read" where nothing was."""

import io
from typing import Any

from rich.console import Console

from hpt.cli.validate_display import ValidationProgress, show
from hpt.validate.plan import ValidationJob

MIB = 1024**2
JOB = ValidationJob(kind="arm", name="hybrid", model="gpt2-nano", steps=10, batch_size=1, seq_len=8, device="cpu")


def _lines(*uses: tuple[int | None, int | None]) -> list[str]:
    """What is shown off a terminal for calls with these (in use, peak) MiB."""
    out = io.StringIO()
    now_s = 0.0
    watch = ValidationProgress(Console(file=out, width=120), clock=lambda: now_s)
    watch.begin(JOB, 2, 3)
    for index, (use, peak) in enumerate(uses):
        line: dict[str, Any] = {"kind": "step", "step": index + 1, "phase": "FULL", "allocated_bytes": None}
        now_s += 30.0
        line["process_bytes"] = None if use is None else use * MIB
        watch.line(JOB, line | {"peak_bytes": None if peak is None else peak * MIB})
    return out.getvalue().splitlines()


def test_every_fifth_of_an_arm_has_a_line_with_the_peak_so_far() -> None:
    """Ten calls, five lines; the peak of the third call stays in all later lines."""
    lines = _lines(*[(100, 300 if call == 2 else 200) for call in range(10)])
    assert lines[0] == "[2/3] arm hybrid"
    assert len(lines) == 6
    assert lines[1] == "  step 2/10  FULL     now 100.0 MiB  peak 200.0 MiB  4 min 0 s left"
    assert all("peak 300.0 MiB" in line for line in lines[2:])
    assert lines[5].endswith("0 s left")


def test_what_was_not_read_is_said_and_not_shown_as_zero() -> None:
    """No reading at all."""
    assert _lines((None, None), (None, None))[1].startswith("  step 2/10  FULL     now not read  peak not read")


def test_before_the_first_job_it_is_said_what_is_measured() -> None:
    """Host memory is no VRAM."""
    out = io.StringIO()
    ValidationProgress(Console(file=out, width=120)).begin(JOB, 1, 2)
    said = "hpt validate-vram gpt2-nano: measuring host memory, not VRAM; a GPU's is estimated"
    assert out.getvalue().splitlines() == [said, "[1/2] arm hybrid"]


def test_of_several_processes_the_range_is_shown() -> None:
    """From the least to the most, one number where they read alike, and a mark where one was not read."""
    arm = {"num_copies": 0, "num_cleanups": 1, "step_s": 0.1, "growth": None, "ratio": 1.5, "peak_bytes": 20 * MIB}
    ranks = [arm, arm | {"peak_bytes": 10 * MIB, "ratio": 1.25, "step_s": None}]
    document = {"measures": "", "arms": {"hybrid": arm | {"ranks": ranks}}, "checks": [], "estimates": {}}
    out = io.StringIO()
    show(document | {"verdict": "passed"}, Console(file=out, width=200))
    for text in ("the most of 2 processes", "10.0 MiB to 20.0 MiB", "1.250 to 1.500", "0.100 to ?", "not read"):
        assert text in out.getvalue()
