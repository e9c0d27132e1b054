"""Sentences that a reader may quote: the number, its interval, against what, on how many seeds, and what it lacks."""

from collections.abc import Sequence

from hpt.compare.arms import Arm
from hpt.compare.comparison import Reading
from hpt.compare.measures import Measures
from hpt.compare.ratios import Ratio
from hpt.compare.suite import Task
from hpt.compare.tuning import Tuned
from hpt.compare.verdict import Judgement

NOT_TUNED = "The baseline was not tuned here, so no claim follows."
OPEN_BRACKET = "The baseline's learning-rate bracket is open, so a better baseline may exist."
OPEN_SOMEWHERE = "Not every baseline and arm was tuned with a closed bracket, so no claim follows."


def ratio_text(ratio: Ratio | None) -> str:
    """'1.12x [1.05, 1.20]', with the direction where it is only a bound; 'not measured' without a ratio."""
    if ratio is None:
        return "not measured"
    return ratio_words(ratio.value, ratio.low, ratio.high, ratio.side or None)


def ratio_words(value: float, low: float | None, high: float | None, bound: str | None) -> str:
    """The same from plain numbers."""
    sign = {"above": ">=", "below": "<=", None: ""}[bound]
    if low is None and high is None:
        return f"{sign}{value:.3f}x (one seed)"
    ends = f"{_end(low)}, {_end(high)}"
    return f"{sign}{value:.3f}x [{ends}]"


def _end(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def workload_sentence(arm: Arm, task: Task, measures: Measures, judgement: Judgement, tuned: Tuned) -> str:
    """One arm on one workload."""
    seeds = f"{len(measures.seeds)} seed{'s' if len(measures.seeds) != 1 else ''}"
    text = (
        f"On {task.workload} ({task.steps} updates, {seeds}) the baseline needs {ratio_text(measures.work_ratio)} "
        f"the full-step equivalents of {arm.name} to reach its loss{_against(judgement)}: {judgement.verdict} "
        f"({judgement.reason})."
    )
    return f"{text} {_lack(tuned.bracket_closed)}".strip()


def overall_sentence(
    arm: Arm, readings: Sequence[Reading], ratio: Ratio, judgement: Judgement, *, is_tuned: bool
) -> str:
    """One arm over all workloads."""
    names = ", ".join(reading.task.workload for reading in readings)
    text = (
        f"Over {names} (geometric mean) the baseline needs {ratio_text(ratio)} the full-step equivalents of "
        f"{arm.name}{_against(judgement)}: {judgement.verdict} ({judgement.reason})."
    )
    return (
        text if is_tuned else f"{text} Not every baseline and arm was tuned with a closed bracket, so no claim follows."
    )


def _against(judgement: Judgement) -> str:
    if judgement.best_control is None:
        return ""
    return f"; over its best control, {judgement.best_control}, {ratio_text(judgement.over_control)}"


def _lack(bracket_closed: bool | None) -> str:  # noqa: FBT001 (a fact with three values, not a switch)
    if bracket_closed is None:
        return NOT_TUNED
    return "" if bracket_closed else OPEN_BRACKET
