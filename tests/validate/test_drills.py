"""Drills find a layer that does not work, not only one that does."""

from typing import Any

import pytest

from hpt.validate import drills
from hpt.validate.drills import run_drill
from hpt.validate.plan import DRILLS, ValidationJob


def _job(name: str, steps: int = 12) -> ValidationJob:
    return ValidationJob(
        kind="drill", name=name, model="gpt2-nano", steps=steps, batch_size=1, seq_len=4, device="cpu", threads=1
    )


def test_every_planned_drill_exists() -> None:
    """The plan's list and the functions agree."""
    assert set(DRILLS) == set(drills.DRILLS | drills.OPTION_DRILLS)


def test_degrading_passes_and_its_absence_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ladder doing nothing, the drill fails."""
    assert run_drill(_job("degrade", 28))["passed"]
    from hpt.trainer.degradation import Degradation

    def nothing(self: Any) -> str:
        return ""

    monkeypatch.setattr(Degradation, "step_down", nothing)
    assert not run_drill(_job("degrade", 28))["passed"]


def test_recovery_passes_and_its_absence_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer that loses the batch instead of repeating the step is found out."""
    assert run_drill(_job("out-of-memory", 14))["passed"]
    from hpt.trainer.full_step import FullStep

    original = FullStep.rerun

    def half(self: Any) -> Any:
        self._rng = {}
        for parameter in self.model.parameters():
            parameter.data.mul_(1.001)
        return original(self)

    monkeypatch.setattr(FullStep, "rerun", half)
    assert not run_drill(_job("out-of-memory", 14))["passed"]


@pytest.mark.parametrize("name", ["bf16-trajectory", "bf16-predict", "optimizer-offload"])
def test_an_option_changes_no_more_than_it_says(name: str) -> None:
    """Each drill knows its settings and finds what it must; that of accumulation compares peaks of whole processes."""
    found = run_drill(_job(name, 28))
    assert found["passed"], found["evidence"]


def test_probes_that_stay_in_single_precision_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the setting ignored, the probes of both runs agree, and the drill fails."""
    from hpt.trainer.precision import Precision

    monkeypatch.setattr(Precision, "enter", lambda self, _: setattr(self, "_dtype", None))
    assert "EQUAL" in run_drill(_job("bf16-predict", 28))["evidence"]
