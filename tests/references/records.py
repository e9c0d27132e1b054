"""Records made by hand, and those of a run that tell of it."""

from collections.abc import Iterable

from hpt.records import EventRecord, JumpRecord, Record


def events_of(records: Iterable[Record]) -> list[EventRecord]:
    """What happened to the run; whether idle memory was given back tells of the process, and of earlier tests in it."""
    return [one for one in records if isinstance(one, EventRecord) and one.name != "memory_freed"]


def jump_at(step: int, call: int) -> JumpRecord:
    """A kept jump along an orthogonal factor."""
    return JumpRecord(
        step=step,
        call=call,
        predictor="nesterov",
        horizon=50,
        norm=1.0,
        norm_ratio=0.25,
        pull_back=0.5,
        gain=2.0,
        scale=0.8,
        orthogonal=True,
        keeps_norm=False,
        loss_before=2.0,
        loss_after=2.1,
        forecast_loss=None,
        confidence=0.7,
        verdict="accepted",
        reason="",
    )
