"""Verdicts on the arms of a comparison: each against the reference by itself, and against its own optimizer by itself.

    judgements         of all arms of a workload
    headline           the hybrid on the best optimizer: over that optimizer, and over the reference
    overall_judgement  the same over all workloads, geometric means

P-values are corrected over the workloads (Holm). A control speaks for the arms on its own optimizer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hpt.compare.arms import Arm
from hpt.compare.claims import Judgement, corrected, judge, overall
from hpt.compare.measures import Measures
from hpt.compare.ratios import Ratio, excess
from hpt.compare.readings import TaskReading
from hpt.compare.roster import ARMS

Side = Callable[[TaskReading], Mapping[str, Measures]]
"""What arms are measured against: `over_reference` or `over_own`."""
HYBRID = "hybrid"


def over_reference(reading: TaskReading) -> Mapping[str, Measures]:
    """Measures against the reference by itself."""
    return reading.measures


def over_own(reading: TaskReading) -> Mapping[str, Measures]:
    """Measures against the arm's own optimizer by itself."""
    return reading.own


def judgements(readings: Sequence[TaskReading], reading: TaskReading, side: Side) -> dict[str, Judgement]:
    """The verdict on every arm that was measured on a workload, by name of the arm."""
    found: dict[str, Judgement] = {}
    for arm in reading.arms[1:]:
        if arm.name in side(reading):
            ratios = {one.task.workload: side(one)[arm.name].work_ratio for one in readings if arm.name in side(one)}
            found[arm.name] = _judged(reading, arm, side, corrected(ratios)[reading.task.workload])
    return found


def _judged(reading: TaskReading, arm: Arm, side: Side, p_holm: float | None) -> Judgement:
    ratio, controls = side(reading)[arm.name].work_ratio, controls_of(reading, arm, side)
    finished = {name: one for name, one in controls.items() if 0.0 not in one.by_seed}
    return judge(
        ratio,
        p_holm,
        finished,
        {name: excess(ratio, one) for name, one in finished.items()},
        num_diverged_controls=len(controls) - len(finished),
        needs_control=arm.role != "peer",
    )


def controls_of(reading: TaskReading, arm: Arm, side: Side) -> dict[str, Ratio]:
    """Work ratios of the controls on the arm's optimizer and seeds, the arm itself left out."""
    names = [one.name for one in reading.arms if one.role == "control" and one.optimizer == arm.optimizer]
    return others_of(reading, arm.name, names, side)


def others_of(reading: TaskReading, name: str, others: Sequence[str], side: Side) -> dict[str, Ratio]:
    """Work ratios of other arms that were measured on an arm's seeds."""
    seeds = side(reading)[name].seeds
    found = {other: side(reading)[other] for other in others if other in side(reading) and other != name}
    return {other: measures.work_ratio for other, measures in found.items() if measures.seeds == seeds}


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The hybrid on the best optimizer of a workload, or of all workloads, against one thing.

    Attributes:
        steps_ratio, work_ratio: geometric means over seeds, or over workloads.
        judgement: with its p-value corrected over workloads.
    """

    steps_ratio: Ratio
    work_ratio: Ratio
    judgement: Judgement


def hybrid_on_best(reading: TaskReading) -> Arm | None:
    """The arm; None while the best optimizer is not known, or where jumps make no sense on it."""
    if reading.best is None:
        return None
    name = ARMS[HYBRID].on(reading.best.optimizer, reading.arms[0].optimizer).name
    return next((arm for arm in reading.arms if arm.name == name), None)


def _places(readings: Sequence[TaskReading], side: Side) -> list[tuple[TaskReading, Arm]]:
    """The workloads on which the hybrid on the best optimizer was measured, each with that arm."""
    found = [(one, hybrid_on_best(one)) for one in readings]
    return [(one, arm) for one, arm in found if arm is not None and arm.name in side(one)]


def headlines(readings: Sequence[TaskReading], side: Side) -> dict[str, Headline]:
    """The hybrid on the best optimizer, by workload; workloads without a measurement are left out."""
    known = {one.task.workload: (one, arm) for one, arm in _places(readings, side)}
    p_holm = corrected({name: side(one)[arm.name].work_ratio for name, (one, arm) in known.items()})
    return {
        name: Headline(
            steps_ratio=side(one)[arm.name].steps_ratio,
            work_ratio=side(one)[arm.name].work_ratio,
            judgement=_judged(one, arm, side, p_holm[name]),
        )
        for name, (one, arm) in known.items()
    }


def overall_headline(readings: Sequence[TaskReading], side: Side) -> Headline | None:
    """Geometric mean of the headline over all workloads; None while one of them has none."""
    places = _places(readings, side)
    if len(places) < len(readings):
        return None
    steps, work = (
        overall([getattr(side(one)[arm.name], kind) for one, arm in places]) for kind in ("steps_ratio", "work_ratio")
    )
    return Headline(steps_ratio=steps, work_ratio=work, judgement=overall_judgement(places, work, side))


def overall_judgement(places: Sequence[tuple[TaskReading, Arm]], work: Ratio, side: Side) -> Judgement:
    """Against the geometric means of the controls that ran on every workload with the arm's seeds.

    Args:
        places: the workloads, each with the arm that is judged there.
        work: its work ratio over all of them.
        side: what it is measured against.
    """
    each = [
        (side(one)[arm.name].work_ratio, {arm.on_reference(name): c for name, c in controls_of(one, arm, side).items()})
        for one, arm in places
    ]
    everywhere = [name for name in each[0][1] if all(name in controls for _, controls in each)]
    finished = [name for name in everywhere if all(0.0 not in controls[name].by_seed for _, controls in each)]
    return judge(
        work,
        work.estimate.p,
        {name: overall([controls[name] for _, controls in each]) for name in finished},
        {name: overall([excess(ratio, controls[name]) for ratio, controls in each]) for name in finished},
        num_diverged_controls=len(everywhere) - len(finished),
        needs_control=all(arm.role != "peer" for _, arm in places),
    )
