"""`summary.json`: everything a comparison found, for reports and for people. Nothing here imports torch.

Values that are not known are null, never 0. Losses are in the workload's own unit. Schema 1:

    schema_version   1
    kind             "comparison"
    finished_at      UTC, ISO 8601
    command          the command line
    settings         budget, tasks [{workload, steps}], arms, seeds, length_fracs, device, dtype, threads, data, jobs
    machine          environment of the newest cell; "commits": commits of the code of all cells, "unknown" among them
    complete         every cell that was asked for has a result
    failed           {cell key: reason}
    workloads        by name:
        steps            T
        chance_loss      loss of knowing nothing but the targets' frequencies
        problem          why the baseline is not measured, null if it is
        baseline         null if not measured, else
            lengths          [{steps, mean_loss, losses: one a seed, curve_loss: after pooling}]
            is_pooled        a longer baseline was worse than a shorter one, so neighbours were pooled
            seeds, seed_sd   pairs, and the standard deviation of their losses at T
            tuned            {recipe {lr_factor, shape, memory}, source, bracket_closed, trials}, see `tuning`
            worse_than_chance  the mean loss at T is not below chance_loss: nothing was learned, no claim holds
        arms             by name:
            role, what, known_ratio, tuned (null for arms that use another's settings)
            measures         null if not measured, else the fields of `measures.Measures`:
                steps_ratio, work_ratio, wall_ratio: {value, low, high (the wider of both intervals), t_low, t_high,
                    boot_low, boot_high, p, by_seed, bound ("above": the truth is more, "below": less, null)}
                loss_change, loss_change_equal_gradients, loss_change_equal_work: {value, low, high, ...}
                backwards_saved(_frac), peak_(host|device)_(bytes|ratio), jump_ratio, worst_seed, never_hurts,
                num_diverged
            judgement        {verdict, reason, p_holm, best_control, over_control}, null if not measured
            claim            the verdict is accelerates, the baseline's learning-rate bracket is closed, and it learned
            finds_known_ratio  for a calibration: its interval holds the known ratio
            sentence         what may be quoted
            curve            [[full-step equivalents, mean loss, lowest, highest over seeds]], training loss
            reliability      bins of the confidence, summed over seeds, null if the arm has none
            forecasts        {forecaster: {nll_mean, by_seed, count}}: scores of the loss at the horizon, or null
            jump_values      {value_mean, forks: [{seed, step, value, value_se, kept_jump, ...}]}: loss saved, or null
            over             a method's work ratio over each simpler arm, {arm: ratio}: what learning adds; else null
    overall          by arm that was measured on every workload: {role, work_ratio, steps_ratio, judgement, sentence};
                     geometric means over workloads
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpt.compare.arms import BASELINE, SIMPLER, Arm
from hpt.compare.claims import Effect, Judgement, corrected, judge, overall, overall_sentence, workload_sentence
from hpt.compare.placement import Baseline
from hpt.compare.ratios import Ratio, excess
from hpt.compare.readings import TaskReading, forecast_scores, fork_values, reliability, training_curve
from hpt.compare.suite import ComparisonPlan
from hpt.compare.tuning import TunedSettings
from hpt.records import jsonable

SUMMARY_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known about a comparison besides its cells.

    Attributes:
        command: the command line.
        finished_at: UTC, ISO 8601.
        budget: name.
        jobs: cells at once.
        failed: reasons by cell key.
        complete: every cell asked for has a result.
    """

    command: list[str]
    finished_at: str
    budget: str
    jobs: int
    failed: Mapping[str, str]
    complete: bool


def summarize(
    plan: ComparisonPlan, settings: TunedSettings, readings: Sequence[TaskReading], about: Circumstances
) -> dict[str, Any]:
    """The document; strict JSON values."""
    judgements = {reading.task.workload: _judgements(plan, readings, reading) for reading in readings}
    document = {
        "schema_version": SUMMARY_SCHEMA_VERSION,
        "kind": "comparison",
        "finished_at": about.finished_at,
        "command": about.command,
        "settings": _settings(plan, about),
        "machine": _machine(readings),
        "complete": about.complete,
        "failed": dict(about.failed),
        "workloads": {
            reading.task.workload: _workload(plan, settings, reading, judgements[reading.task.workload])
            for reading in readings
        },
        "overall": _overall(plan, settings, readings),
    }
    return jsonable(document)


def _settings(plan: ComparisonPlan, about: Circumstances) -> dict[str, Any]:
    return {
        "budget": about.budget,
        "tasks": [asdict(task) for task in plan.tasks],
        "arms": [arm.name for arm in plan.arms],
        "seeds": list(plan.seeds),
        "length_fracs": list(plan.length_fracs),
        "device": plan.device,
        "dtype": plan.dtype,
        "threads": plan.threads,
        "data": plan.data,
        "jobs": about.jobs,
    }


def _machine(readings: Sequence[TaskReading]) -> dict[str, Any] | None:
    results = [one for reading in readings for arm in reading.results.values() for one in arm.values()]
    if not results:
        return None
    commits = {result.environment.get("commit") or "unknown" for result in results}
    return {**results[-1].environment, "commits": sorted(commits)}


def _judgements(plan: ComparisonPlan, readings: Sequence[TaskReading], reading: TaskReading) -> dict[str, Judgement]:
    found: dict[str, Judgement] = {}
    for name, measures in reading.arms.items():
        by_workload = {other.task.workload: other.arms[name] for other in readings if name in other.arms}
        controls = _controls(plan, reading, name)
        finished = {control: ratio for control, ratio in controls.items() if 0.0 not in ratio.by_seed}
        found[name] = judge(
            measures.work_ratio,
            corrected(by_workload)[reading.task.workload],
            finished,
            {control: excess(measures.work_ratio, ratio) for control, ratio in finished.items()},
            num_diverged_controls=len(controls) - len(finished),
        )
    return found


def _controls(plan: ComparisonPlan, reading: TaskReading, name: str) -> dict[str, Ratio]:
    """Work ratios of the controls on the arm's seeds, the arm itself left out."""
    return _others(reading, name, [arm.name for arm in plan.arms if arm.role == "control"])


def _others(reading: TaskReading, name: str, others: Sequence[str]) -> dict[str, Ratio]:
    """Work ratios of other arms that were measured on an arm's seeds."""
    seeds = reading.arms[name].seeds
    found = {other: reading.arms[other] for other in others if other in reading.arms and other != name}
    return {other: measures.work_ratio for other, measures in found.items() if measures.seeds == seeds}


def _over_simpler(reading: TaskReading, name: str) -> dict[str, Any] | None:
    """An arm's work ratio over that of each simpler arm without a diverged run, seed by seed."""
    ratio = reading.arms[name].work_ratio
    others = {other: one for other, one in _others(reading, name, SIMPLER).items() if 0.0 not in one.by_seed}
    return {other: excess(ratio, one).to_document() for other, one in others.items()} or None


def _workload(
    plan: ComparisonPlan, settings: TunedSettings, reading: TaskReading, judgements: Mapping[str, Judgement]
) -> dict[str, Any]:
    name = reading.task.workload
    known = [one for arm in reading.results.values() for one in arm.values()]
    chance = known[0].chance_loss if known else None
    others = [arm for arm in plan.arms if arm.name != BASELINE]
    return {
        "steps": reading.task.steps,
        "chance_loss": chance,
        "problem": _problem(reading),
        "baseline": None if reading.baseline is None else _baseline(reading.baseline, settings, name, chance),
        "baseline_curve": training_curve(reading.results.get(BASELINE, {})),
        "arms": {arm.name: _arm(arm, settings, reading, judgements.get(arm.name)) for arm in others},
    }


def _problem(reading: TaskReading) -> str | None:
    if reading.baseline is not None:
        return None
    return "the baseline diverged at T" if reading.results.get(BASELINE) else "no baseline cell at T is done"


def _baseline(baseline: Baseline, settings: TunedSettings, workload: str, chance: float | None) -> dict[str, Any]:
    curve = baseline.curve()
    at_full = float(np.mean(baseline.losses[baseline.steps]))
    return {
        "lengths": [
            {
                "steps": steps,
                "mean_loss": float(np.mean(losses)),
                "losses": losses,
                "curve_loss": curve.loss_at(steps),
            }
            for steps, losses in baseline.losses.items()
        ],
        "diverged_lengths": sorted(set(baseline.at) - set(baseline.losses)),
        "is_pooled": curve.is_pooled,
        "seeds": list(baseline.seeds),
        "seed_sd": baseline.seed_sd(),
        "tuned": settings[workload, BASELINE].to_document(),
        "worse_than_chance": None if chance is None else at_full >= chance,
    }


def _arm(arm: Arm, settings: TunedSettings, reading: TaskReading, judgement: Judgement | None) -> dict[str, Any]:
    measures = reading.arms.get(arm.name)
    results = reading.results.get(arm.name, {})
    place = (reading.task.workload, arm.name)
    document: dict[str, Any] = {
        "role": arm.role,
        "what": arm.what,
        "known_ratio": arm.known_ratio,
        "tuned": settings[place].to_document() if arm.is_tuned and place in settings else None,
        "measures": None,
        "judgement": None,
        "claim": False,
        "finds_known_ratio": None,
        "sentence": f"{arm.name} on {reading.task.workload}: not measured.",
        "curve": training_curve(results),
        "reliability": reliability(results),
        "forecasts": forecast_scores(results),
        "jump_values": fork_values(results),
        "over": None,
    }
    if measures is None or judgement is None:
        return document
    tuned = settings[reading.task.workload, BASELINE]
    accelerates = arm.role == "method" and judgement.verdict is Effect.ACCELERATES
    return document | {
        "measures": measures.to_document(),
        "judgement": judgement.to_document(),
        "claim": accelerates and bool(tuned.bracket_closed) and _learned(reading),
        "finds_known_ratio": _finds(arm, measures.work_ratio),
        "over": _over_simpler(reading, arm.name) if arm.role == "method" else None,
        "sentence": workload_sentence(arm, reading.task, measures, judgement, bracket_closed=tuned.bracket_closed),
    }


def _learned(reading: TaskReading) -> bool:
    """The baseline got below the loss of knowing nothing."""
    losses = [result.loss for result in reading.results[BASELINE].values()]
    chance = next(iter(reading.results[BASELINE].values())).chance_loss
    return float(np.mean(losses)) < chance


def _finds(arm: Arm, ratio: Ratio) -> bool | None:
    if arm.known_ratio is None or ratio.low is None or ratio.high is None:
        return None
    return ratio.low <= arm.known_ratio <= ratio.high


def _overall(plan: ComparisonPlan, settings: TunedSettings, readings: Sequence[TaskReading]) -> dict[str, Any]:
    """Arms measured on every workload."""
    found: dict[str, Any] = {}
    workloads = [reading.task.workload for reading in readings]
    for arm in plan.arms:
        if arm.name == BASELINE or any(arm.name not in reading.arms for reading in readings):
            continue
        work = overall([reading.arms[arm.name].work_ratio for reading in readings])
        judgement = _overall_judgement(plan, readings, arm, work)
        steps = overall([reading.arms[arm.name].steps_ratio for reading in readings])
        sides = [settings.get((reading.task.workload, name)) for reading in readings for name in (BASELINE, arm.like)]
        tuned = all(side is not None and bool(side.bracket_closed) for side in sides)
        found[arm.name] = {
            "role": arm.role,
            "work_ratio": work.to_document(),
            "steps_ratio": steps.to_document(),
            "judgement": judgement.to_document(),
            "sentence": overall_sentence(arm, workloads, work, judgement, is_tuned=tuned),
        }
    return found


def _overall_judgement(plan: ComparisonPlan, readings: Sequence[TaskReading], arm: Arm, work: Ratio) -> Judgement:
    """Against the geometric means of the controls that ran on every workload with the arm's seeds."""
    each = [(reading.arms[arm.name].work_ratio, _controls(plan, reading, arm.name)) for reading in readings]
    everywhere = [one.name for one in plan.arms if all(one.name in controls for _, controls in each)]
    finished = [name for name in everywhere if all(0.0 not in controls[name].by_seed for _, controls in each)]
    return judge(
        work,
        work.estimate.p,
        {name: overall([controls[name] for _, controls in each]) for name in finished},
        {name: overall([excess(ratio, controls[name]) for ratio, controls in each]) for name in finished},
        num_diverged_controls=len(everywhere) - len(finished),
    )
