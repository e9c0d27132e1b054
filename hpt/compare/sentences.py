"""What may be quoted of a comparison: the number, its interval, against what, on how many seeds, and what it lacks.

A gain over the reference is never said without what the best other optimizer gains by itself, or that none was tried.
"""

from collections.abc import Sequence

from hpt.compare.arms import Arm
from hpt.compare.claims import Judgement
from hpt.compare.judging import Headline
from hpt.compare.measures import Measures
from hpt.compare.ratios import Ratio
from hpt.compare.suite import Task
from hpt.optimizers.catalogue import OWN

LACKS = {
    True: "",
    False: " The baseline's learning-rate bracket is open, so a better baseline may exist.",
    None: " The baseline was not tuned here, so no claim follows.",
}
"""By whether the baseline's learning rate was bracketed; None: it was not tuned."""
OPEN_SOMEWHERE = "Not every baseline and arm was tuned with a closed bracket, so no claim follows."
MORE_TRIALS = " It had more tuning trials than what it is compared with, so no claim follows."
LOOKED_AT = (
    " It was looked after every seed whether to stop, which this interval does not account for: no claim follows."
)
NO_PEER = "; no other optimizer was tried"


def of_workload(
    arm: Arm,
    task: Task,
    measures: Measures,
    judgement: Judgement,
    *,
    peer: str,
    bracket_closed: bool | None,
    has_equal_trials: bool,
) -> str:
    """One arm on one workload.

    Args:
        arm: which.
        task: the workload.
        measures: against the reference by itself.
        judgement: on these.
        peer: what the best other optimizer gains by itself, see `peer_words`.
        bracket_closed: of the reference's tuning; None: it was not tuned.
        has_equal_trials: the arm had no more trials than the reference.
    """
    return (
        f"On {task.workload} ({task.steps} updates, {_seeds(measures)}) the baseline needs {measures.work_ratio.words} "
        f"the full-step equivalents of {arm.name} to reach its loss{_against(judgement)}{peer}: {judgement.verdict} "
        f"({judgement.reason}).{LACKS[bracket_closed]}{'' if has_equal_trials else MORE_TRIALS}"
    )


def over_workloads(
    arm: Arm, workloads: Sequence[str], ratio: Ratio, judgement: Judgement, *, peer: str, is_tuned: bool
) -> str:
    """One arm over all workloads."""
    text = (
        f"Over {', '.join(workloads)} (geometric mean) the baseline needs {ratio.words} the full-step equivalents of "
        f"{arm.name}{_against(judgement)}{peer}: {judgement.verdict} ({judgement.reason})."
    )
    return text if is_tuned else f"{text} {OPEN_SOMEWHERE}"


def peer_words(optimizer: str | None, ratio: Ratio | None) -> str:
    """What the best optimizer beside the reference gains by itself over it, as a part of a sentence."""
    if optimizer is None or ratio is None:
        return NO_PEER
    return f"; {optimizer}, the best other optimizer by itself, {ratio.words}"


def alike_words(optimizer: str, other: str | None) -> str:
    """That an optimizer is another one here, as a sentence that follows another; "" if it is itself."""
    if other is None:
        return ""
    return (
        f" By itself {optimizer} trained exactly as {other} does here: at the same settings their losses are the same."
    )


def of_headline(
    where: str, optimizer: str, reference: str, over_own: Headline, over_reference: Headline, peer: str
) -> str:
    """The hybrid on the best optimizer: over that optimizer by itself, and over the reference.

    Args:
        where: the workloads, with what is known of them.
        optimizer: the best one, in words.
        reference: the first one.
        over_own: against that optimizer.
        over_reference: against the first one.
        peer: see `peer_words`.
    """
    own, first = over_own.judgement, over_reference.judgement
    return (
        f"{where} {optimizer} by itself needs {over_own.work_ratio.words} the full-step equivalents of the hybrid on it"
        f" to reach its loss: {own.verdict} ({own.reason}). {reference} needs {over_reference.work_ratio.words}{peer}: "
        f"{first.verdict} ({first.reason})."
    )


def named(optimizer: str) -> str:
    """An inner optimizer in words."""
    return "the workload's own optimizer" if optimizer == OWN else optimizer


def _seeds(measures: Measures) -> str:
    return f"{len(measures.seeds)} seed{'s' if len(measures.seeds) != 1 else ''}"


def _against(judgement: Judgement) -> str:
    if judgement.best_control is None or judgement.over_control is None:
        return ""
    return f"; over its best control, {judgement.best_control}, {judgement.over_control.words}"
