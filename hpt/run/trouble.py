"""What went wrong in a run without ending it: told when it happens, counted to its end."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from hpt.records import EventRecord, Record

TROUBLES = {
    "checkpoint_failed": "failed checkpoints",
    "emergency_checkpoint_impossible": "failed checkpoints",
    "update_skipped": "skipped updates",
    "memory_warning": "memory warnings",
    "memory_degraded": "memory warnings",
    "memory_emergency": "memory warnings",
    "out_of_memory": "memory warnings",
    "predictor_failed": "retired predictors",
}
"""Kind of trouble by name of the event."""


class TroubleCount:
    """A sink that counts trouble by kind.

    Args:
        earlier: lines of `events.jsonl` from before.
    """

    def __init__(self, earlier: Iterable[Mapping[str, Any]] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.counts.update(TROUBLES[line["name"]] for line in earlier if line.get("name") in TROUBLES)

    def __call__(self, record: Record) -> None:
        """Count it, if it is trouble."""
        self.told(record)

    def told(self, record: Record) -> str | None:
        """Count it; one line if it is worth telling: of each kind the 1st, 2nd, 4th, 8th, ... time."""
        kind = TROUBLES.get(record.name) if isinstance(record, EventRecord) else None
        if kind is None:
            return None
        assert isinstance(record, EventRecord), "only events are trouble"
        self.counts[kind] += 1
        count = self.counts[kind]
        if count & (count - 1):
            return None
        return f"{kind}: {count}, at update {record.step}: {' '.join(record.message.split())}"
