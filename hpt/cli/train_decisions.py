"""What a run decided and its forks measured, in words: a line each as they come, the last decision at the end."""

import math
from collections.abc import Mapping
from typing import Any

from hpt.records import DecisionRecord, ForkRecord, Record


def told(record: Record) -> str | None:
    """The line of a decision or of a fork's policy; None for every other record."""
    if isinstance(record, DecisionRecord):
        return _decision(record.step, record.why)
    if isinstance(record, ForkRecord):
        goes_on = "goes on" if record.goes_on else "does not go on"
        return f"fork at update {record.step}: {record.policy} {_value(record)}, {goes_on}"
    return None


def _value(record: ForkRecord) -> str:
    """Loss saved a jump, with its standard error."""
    if not math.isfinite(record.value):
        return "broke down"
    return f"{record.value:+.4f} +- {record.value_se:.4f} a jump"


def last_decision(predictor: Mapping[str, Any] | None) -> str | None:
    """The line of the last decision, from what `run.json` says of the predictor; None where nothing was decided."""
    decisions = ((predictor or {}).get("values") or {}).get("decisions") or []
    return _decision(decisions[-1]["step"], decisions[-1]["why"]) if decisions else None


def _decision(step: int, why: str) -> str:
    return f"update {step}: {why}"
