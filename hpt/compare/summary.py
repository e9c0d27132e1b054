"""`summary.json`: everything a comparison found, for reports and for people. Nothing here imports torch.

Values that are not known are null, never 0. Losses are in the workload's own unit. Schema 1:

    schema_version   1
    kind             "comparison"
    finished_at      UTC, ISO 8601
    command          the command line
    settings         budget, tasks [{workload, steps}], arms, optimizers (the reference first), seeds, length_fracs,
                     device, dtype, threads, data, jobs
    machine          environment of the last cell; "commits": commits of the code of all cells, "unknown" among them
    code             on which sources the cells were measured: rows of "sources", digests by part, and "runs", arms by
                     workload
    complete         every cell that was asked for has a result
    failed           {cell key: reason}
    workloads        by name:
        steps            T
        chance_loss      loss of knowing nothing but the targets' frequencies
        num_weights      trainable weights of the model
        problem          why the baseline is not measured, null if it is
        best             {optimizer, chosen_by}: the best optimizer by itself, null while it is not known
        trained_alike    {optimizer: the earlier one as which it trained, every trial ending in the same loss}
        optimizers       by name: each by itself, the fields of baseline, and work_per_update: full-step equivalents of
                         one of its updates, 1 and the share that its own operations take; null if not measured
        headline         null if not measured, else the hybrid on the best optimizer, {optimizer, arm, over_own,
                         over_reference: {steps_ratio, work_ratio, judgement, claim}, sentence}
        baseline         the reference by itself, null if not measured, else
            lengths          [{steps, mean_loss, losses: one a seed, curve_loss: after pooling}]
            is_pooled        a longer baseline was worse than a shorter one, so neighbours were pooled
            seeds, seed_sd   pairs, and the standard deviation of their losses at T
            tuned            {recipe {lr_factor, shape, memory}, source, bracket_closed, trials}, see `tuning`
            worse_than_chance  the mean loss at T is not below chance_loss: nothing was learned, no claim holds
        arms             by name:
            role, what, optimizer, known_ratio, tuned (null for arms that use another's settings)
            measures         null if not measured, else the fields of `measures.Measures`:
                steps_ratio, work_ratio, wall_ratio: {value, low, high (the wider of both intervals), t_low, t_high,
                    boot_low, boot_high, p, by_seed, bound ("above": the truth is more, "below": less, null)}
                loss_change, loss_change_equal_gradients, loss_change_equal_work: {value, low, high, ...}
                backwards_saved(_frac), peak_(host|device)_(bytes|ratio), jump_ratio, worst_seed, never_hurts,
                num_diverged
            judgement        {verdict, reason, p_holm, best_control, over_control}, null if not measured
            own              {steps_ratio, work_ratio, loss_change, judgement} against its own optimizer by itself; null
                             for an optimizer by itself
            claim            the verdict is accelerates, the baseline's learning-rate bracket is closed, it learned, and
                             the arm had no more tuning trials
            finds_known_ratio  for a calibration: its interval holds the known ratio
            sentence         what may be quoted
            curve            [[full-step equivalents, mean loss, lowest, highest over seeds]], training loss
            reliability      bins of the confidence, summed over seeds, null if the arm has none
            forecasts        {forecaster: {nll_mean, by_seed, count}}: scores of the loss at the horizon, or null
            jump_values      {value_mean, forks: [{seed, step, policy, value, value_se, goes_on, ...}]}: loss saved
                             a jump, or null
            decisions        [{seed, step, progress, policy, means, sds, why}]: what was played and why, or null
            over             a method's work ratio over each simpler arm, {arm: ratio}: what learning adds; over each
                             ablation: what the part that it lacks adds; else null
    overall          by arm that was measured on every workload: {role, work_ratio, steps_ratio, over, judgement,
                     sentence}; geometric means over workloads
    resolution       null if seeds were fixed before, else {wanted: .03 for 3 %, planned_looks, answers: [{name,
                     num_seeds, settled, value, low, high, sentence}]}; intervals of an arm on a workload then hold at
                     every look, those over all workloads do not
    headline         the same of the hybrid on the best optimizer of each: {over_own, over_reference, sentence}, or null
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpt.compare.alpha_spending import Looks
from hpt.compare.arms import Arm
from hpt.compare.claims import overall
from hpt.compare.judging import over_own, over_reference, overall_headline, overall_judgement
from hpt.compare.plan import ComparisonPlan
from hpt.compare.readings import TaskReading
from hpt.compare.resolving import documents, settled, widened_readings
from hpt.compare.sentences import LOOKED_AT, named, of_headline, over_workloads, peer_words
from hpt.compare.tuning import TunedSettings
from hpt.compare.workload_summary import WorkloadSummary, headline_side, is_peer, over_lesser
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
        resolution: wanted half-width of the intervals, .03 for 3 %; None: seeds were fixed before.
        looks: how often it was looked whether they have it.
    """

    command: list[str]
    finished_at: str
    budget: str
    jobs: int
    failed: Mapping[str, str]
    complete: bool
    resolution: float | None = None
    looks: Looks | None = None


def summarize(
    plan: ComparisonPlan, settings: TunedSettings, readings: Sequence[TaskReading], about: Circumstances
) -> dict[str, Any]:
    """The document of summary.json; strict JSON values."""
    if about.looks is not None:
        readings = widened_readings(readings, about.looks)
    document = {
        "schema_version": SUMMARY_SCHEMA_VERSION,
        "kind": "comparison",
        "finished_at": about.finished_at,
        "command": about.command,
        "settings": _settings(plan, about),
        "machine": _machine(readings),
        "code": _code(readings),
        "complete": about.complete,
        "failed": dict(about.failed),
        "workloads": {one.task.workload: WorkloadSummary(plan, settings, readings, one).document() for one in readings},
        "overall": _overall(settings, readings, is_looked_at=about.looks is not None),
        "headline": _overall_headline(plan, readings, is_looked_at=about.looks is not None),
        "resolution": _resolution(readings, about),
    }
    return jsonable(document)


def _resolution(readings: Sequence[TaskReading], about: Circumstances) -> dict[str, Any] | None:
    if about.resolution is None or about.looks is None:
        return None
    found = settled(readings, about.resolution, about.looks)
    return {"wanted": about.resolution, "planned_looks": about.looks.planned, "answers": documents(found)}


def _settings(plan: ComparisonPlan, about: Circumstances) -> dict[str, Any]:
    return {
        "budget": about.budget,
        "tasks": [asdict(task) for task in plan.tasks],
        "arms": [arm.name for arm in plan.arms],
        "optimizers": list(plan.optimizers),
        "seeds": list(plan.seeds),
        "length_fracs": list(plan.length_fracs),
        "device": plan.device,
        "dtype": plan.dtype,
        "threads": plan.threads,
        "data": plan.data,
        "jobs": about.jobs,
    }


def _machine(readings: Sequence[TaskReading]) -> dict[str, Any] | None:
    results = [one for reading in readings for every in reading.every.values() for one in every]
    if not results:
        return None
    commits = {result.environment.get("commit") or "unknown" for result in results}
    return {**results[-1].environment, "commits": sorted(commits)}


def _code(readings: Sequence[TaskReading]) -> list[dict[str, Any]]:
    """Cells that were kept when the code changed are of other sources than those measured since."""
    found: dict[str, dict[str, Any]] = {}
    for reading in readings:
        for arm, every in reading.every.items():
            for sources in (one.environment.get("sources") or {} for one in every):
                row = found.setdefault(json.dumps(sources, sort_keys=True), {"sources": sources, "runs": {}})
                arms = row["runs"].setdefault(reading.task.workload, [])
                arms += [arm] if arm not in arms else []
    return list(found.values())


def _overall(settings: TunedSettings, readings: Sequence[TaskReading], *, is_looked_at: bool) -> dict[str, Any]:
    """By name, each arm that was measured on every workload, with means over them."""
    found: dict[str, Any] = {}
    workloads = [reading.task.workload for reading in readings]
    every = {arm.name: arm for reading in readings for arm in reading.arms[1:]}
    for name, arm in every.items():
        if any(name not in reading.measures for reading in readings):
            continue
        work, steps = (
            overall([getattr(reading.measures[name], kind) for reading in readings])
            for kind in ("work_ratio", "steps_ratio")
        )
        judgement = overall_judgement([(reading, arm) for reading in readings], work, over_reference)
        peer = "" if arm.role == "peer" else _peer_of(readings)
        names = [(one.task.workload, like) for one in readings for like in (one.arms[0].name, arm.like)]
        tuned = all(place in settings and bool(settings[place].bracket_closed) for place in names)
        found[name] = {
            "role": arm.role,
            "work_ratio": work.to_document(),
            "steps_ratio": steps.to_document(),
            "over": _over_lesser(readings, arm) if arm.role == "method" else None,
            "judgement": judgement.to_document(),
            "sentence": over_workloads(arm, workloads, work, judgement, peer=peer, is_tuned=tuned)
            + (LOOKED_AT if is_looked_at else ""),
        }
    return found


def _over_lesser(readings: Sequence[TaskReading], arm: Arm) -> dict[str, Any] | None:
    """Geometric mean of its ratio over each simpler arm that was measured on every workload; None if there is none."""
    each = [over_lesser(reading, arm) for reading in readings]
    names = [name for name in each[0] if all(name in one for one in each)]
    return {name: overall([one[name] for one in each]).to_document() for name in names} or None


def _peer_of(readings: Sequence[TaskReading]) -> str:
    """The best other optimizer over all workloads, as a part of a sentence."""
    peers = [arm.name for arm in readings[0].arms if all(is_peer(arm, reading) for reading in readings)]
    ratios = {name: overall([one.measures[name].work_ratio for one in readings]) for name in peers}
    best = max(ratios, key=lambda name: ratios[name].estimate.value) if ratios else None
    return peer_words(best, None if best is None else ratios[best])


def _overall_headline(
    plan: ComparisonPlan, readings: Sequence[TaskReading], *, is_looked_at: bool
) -> dict[str, Any] | None:
    own, first = (overall_headline(readings, side) for side in (over_own, over_reference))
    if own is None or first is None:
        return None
    note = LOOKED_AT if is_looked_at else ""
    where = f"Over {', '.join(reading.task.workload for reading in readings)} (geometric mean)"
    text = of_headline(where, "the best optimizer", named(plan.reference), own, first, _peer_of(readings))
    return {"over_own": headline_side(own), "over_reference": headline_side(first), "sentence": text + note}
