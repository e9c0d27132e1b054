"""The part of `summary.json` that speaks of one workload; see `summary` for its fields."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hpt.compare.arms import SIMPLER, Arm
from hpt.compare.claims import Effect, Judgement
from hpt.compare.judging import (
    Headline,
    headlines,
    hybrid_on_best,
    judgements,
    others_of,
    over_own,
    over_reference,
)
from hpt.compare.peers import trained_alike
from hpt.compare.placement import Baseline
from hpt.compare.plan import ComparisonPlan
from hpt.compare.ratios import Ratio, excess
from hpt.compare.readings import TaskReading, decisions, forecast_scores, fork_values, reliability, training_curve
from hpt.compare.search import Tuned
from hpt.compare.sentences import alike_words, named, of_headline, of_workload, peer_words
from hpt.compare.tuning import TunedSettings, trials_alone, tuned_for


class WorkloadSummary:
    """What is said of one workload.

    Args:
        plan: of the comparison.
        settings: by workload and arm.
        readings: of all workloads, over which p-values are corrected.
        reading: of this one.
    """

    def __init__(
        self,
        plan: ComparisonPlan,
        settings: TunedSettings,
        readings: Sequence[TaskReading],
        reading: TaskReading,
    ) -> None:
        self._plan, self._settings, self._readings, self._reading = plan, settings, readings, reading
        self._judged = {side: judgements(readings, reading, side) for side in (over_reference, over_own)}
        reference = reading.results[reading.arms[0].name]
        first = next(iter(reference.values()), None)
        self._chance = None if first is None else first.chance_loss
        self._num_weights = None if first is None else first.num_weights
        self._tuned = settings[reading.task.workload, reading.arms[0].name]
        self._alike = trained_alike(trials_alone(plan, settings, reading.task.workload))

    def document(self) -> dict[str, Any]:
        """The entry of this workload in summary.json."""
        reading, plan = self._reading, self._plan
        return {
            "steps": reading.task.steps,
            "chance_loss": self._chance,
            "num_weights": self._num_weights,
            "problem": self._problem(),
            "best": None if reading.best is None else asdict(reading.best),
            "trained_alike": self._alike,
            "optimizers": {one: self._alone(one) for one in plan.optimizers},
            "headline": self._headline(),
            "baseline": self._alone(plan.reference),
            "baseline_curve": training_curve(reading.results[reading.arms[0].name]),
            "arms": {arm.name: self._arm(arm) for arm in reading.arms[1:]},
        }

    def _problem(self) -> str | None:
        if self._reading.baseline is not None:
            return None
        ran = self._reading.results[self._reading.arms[0].name]
        return "the baseline diverged at T" if ran else "no baseline cell at T is done"

    def _alone(self, optimizer: str) -> dict[str, Any] | None:
        baseline = self._reading.alone.get(optimizer)
        place = (self._reading.task.workload, self._plan.alone(optimizer).name)
        return None if baseline is None else _baseline(baseline, self._settings[place], self._chance)

    def _learned(self, optimizer: str) -> bool:
        """The baseline's mean loss at T is below that of guessing."""
        baseline = self._reading.alone[optimizer]
        return self._chance is not None and float(np.mean(baseline.losses[baseline.steps])) < self._chance

    def _arm(self, arm: Arm) -> dict[str, Any]:
        reading, results = self._reading, self._reading.results[arm.name]
        measures = reading.measures.get(arm.name)
        place = (reading.task.workload, arm.name)
        document: dict[str, Any] = {
            "role": arm.role,
            "what": arm.what,
            "optimizer": arm.optimizer,
            "known_ratio": arm.known_ratio,
            "tuned": self._settings[place].to_document() if arm.is_tuned and place in self._settings else None,
            "measures": None,
            "judgement": None,
            "own": self._own(arm),
            "claim": False,
            "finds_known_ratio": None,
            "sentence": f"{arm.name} on {reading.task.workload}: not measured.",
            "curve": training_curve(results),
            "reliability": reliability(results),
            "forecasts": forecast_scores(results),
            "jump_values": fork_values(results),
            "decisions": decisions(results),
            "over": None,
        }
        if measures is None:
            return document
        judgement = self._judged[over_reference][arm.name]
        return document | {
            "measures": measures.to_document(),
            "judgement": judgement.to_document(),
            "claim": arm.role == "method" and self._may_claim(judgement, arm, self._plan.reference),
            "finds_known_ratio": _finds(arm, measures.work_ratio),
            "over": _documents(over_lesser(reading, arm)) if arm.role == "method" else None,
            "sentence": of_workload(
                arm,
                reading.task,
                measures,
                judgement,
                peer="" if arm.role == "peer" else self._peer(),
                bracket_closed=self._tuned.bracket_closed,
                has_equal_trials=_has_equal_trials(self._settings_of(arm), self._tuned),
            )
            + alike_words(arm.optimizer, self._alike.get(arm.optimizer)),
        }

    def _own(self, arm: Arm) -> dict[str, Any] | None:
        measures = self._reading.own.get(arm.name)
        if measures is None:
            return None
        names = ("steps_ratio", "work_ratio", "loss_change")
        found = {name: value for name, value in measures.to_document().items() if name in names}
        return found | {"judgement": self._judged[over_own][arm.name].to_document()}

    def _settings_of(self, arm: Arm) -> Tuned:
        return tuned_for(self._plan, self._settings, self._reading.task.workload, arm)

    def _may_claim(self, judgement: Judgement, arm: Arm, against: str) -> bool:
        """It accelerates an optimizer that was tuned as well as itself, and that learned something."""
        base = self._settings[self._reading.task.workload, self._plan.alone(against).name]
        is_fair = bool(base.bracket_closed) and _has_equal_trials(self._settings_of(arm), base)
        return judgement.verdict is Effect.ACCELERATES and is_fair and self._learned(against)

    def _peer(self) -> str:
        return peer_words(*_best_peer(self._reading))

    def _headline(self) -> dict[str, Any] | None:
        workload, arm = self._reading.task.workload, hybrid_on_best(self._reading)
        sides = {side: headlines(self._readings, side).get(workload) for side in (over_own, over_reference)}
        own, first = sides[over_own], sides[over_reference]
        if arm is None or own is None or first is None:
            return None
        where = f"On {workload} ({self._reading.task.steps} updates, {len(first.work_ratio.by_seed)} seeds)"
        name = named(arm.optimizer)
        return {
            "optimizer": arm.optimizer,
            "arm": arm.name,
            "over_own": headline_side(own) | {"claim": self._may_claim(own.judgement, arm, arm.optimizer)},
            "over_reference": headline_side(first)
            | {"claim": self._may_claim(first.judgement, arm, self._plan.reference)},
            "sentence": of_headline(where, name, named(self._plan.reference), own, first, self._peer()),
        }


def _has_equal_trials(tuned: Tuned, base: Tuned) -> bool:
    return len(tuned.trials) <= len(base.trials)


def _best_peer(reading: TaskReading) -> tuple[str | None, Ratio | None]:
    """Of the optimizers by themselves, the reference left out, the one with the largest work ratio."""
    peers = {arm.name: reading.measures[arm.name].work_ratio for arm in reading.arms if is_peer(arm, reading)}
    best = max(peers, key=lambda name: peers[name].estimate.value) if peers else None
    return best, None if best is None else peers[best]


def is_peer(arm: Arm, reading: TaskReading) -> bool:
    """An optimizer by itself, other than the reference, that was measured."""
    return arm.role == "peer" and arm.name in reading.measures


def headline_side(found: Headline) -> dict[str, Any]:
    """One side of the headline as JSON values."""
    return {
        "steps_ratio": found.steps_ratio.to_document(),
        "work_ratio": found.work_ratio.to_document(),
        "judgement": found.judgement.to_document(),
    }


def _baseline(baseline: Baseline, tuned: Tuned, chance: float | None) -> dict[str, Any]:
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
        "work_per_update": baseline.work_per_update,
        "tuned": tuned.to_document(),
        "worse_than_chance": None if chance is None else at_full >= chance,
    }


def over_lesser(reading: TaskReading, arm: Arm) -> dict[str, Ratio]:
    """An arm's work ratio over that of each simpler arm or ablation without a diverged run, seed by seed."""
    ratio = reading.measures[arm.name].work_ratio
    beside = [one for one in reading.arms if one.optimizer == arm.optimizer]
    lesser = [one.name for one in beside if one.role == "ablation" or one.on_reference(one.name) in SIMPLER]
    others = others_of(reading, arm.name, lesser, over_reference)
    finished = {arm.on_reference(name): one for name, one in others.items() if 0.0 not in one.by_seed}
    return {other: excess(ratio, one) for other, one in finished.items()}


def _documents(ratios: Mapping[str, Ratio]) -> dict[str, Any] | None:
    return {name: one.to_document() for name, one in ratios.items()} or None


def _finds(arm: Arm, ratio: Ratio) -> bool | None:
    if arm.known_ratio is None or ratio.low is None or ratio.high is None:
        return None
    return ratio.low <= arm.known_ratio <= ratio.high
