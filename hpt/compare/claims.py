"""What may be claimed of an arm: accelerates, no difference, hurts, with its grounds.

Accelerates: the work ratio's wider interval lies above 1, the p-value corrected for the number of workloads (Holm) is
below 5 %, and the ratio over the best control, seed by seed, has its interval above 1 as well. Hurts: the interval
lies below 1, or a run diverged. Everything else is no difference: not proof of none, but none shown. A bound shows
nothing on the side on which the truth lies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from hpt.compare.ratios import Ratio, log_of
from hpt.statistics import ROUNDING, holm, mean_over_groups

SIGNIFICANCE = 0.05


class Effect(StrEnum):
    """What an arm does compared with the tuned baseline."""

    ACCELERATES = "accelerates"
    NO_DIFFERENCE = "no difference"
    HURTS = "hurts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with its grounds.

    Attributes:
        verdict: the word.
        reason: why it is not more.
        p_holm: p-value corrected for the number of workloads.
        best_control: name of the control with the largest work ratio among the arm's seeds; None if none ran.
        over_control: the arm's work ratio over that control's.
    """

    verdict: Effect
    reason: str
    p_holm: float | None
    best_control: str | None
    over_control: Ratio | None

    def to_document(self) -> dict[str, Any]:
        """The fields as strict JSON values; `over_control` as `Ratio.to_document` has it."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {"over_control": None if self.over_control is None else self.over_control.to_document()}


def judge(
    ratio: Ratio,
    p_holm: float | None,
    controls: Mapping[str, Ratio],
    over: Mapping[str, Ratio],
    *,
    num_diverged_controls: int = 0,
    needs_control: bool = True,
) -> Judgement:
    """The verdict on one work ratio.

    Args:
        ratio: the arm's.
        p_holm: its corrected p-value.
        controls: work ratios of the controls without a diverged run.
        over: the arm's ratio over each of them.
        num_diverged_controls: controls with one; they have lost already.
        needs_control: of another optimizer by itself nothing is said that a control could explain.
    """
    best = max(controls, key=lambda name: controls[name].estimate.value) if controls else None
    over_best = None if best is None else over[best]
    verdict, reason = _against_baseline(ratio, p_holm)
    if verdict is Effect.ACCELERATES and needs_control:
        verdict, reason = _against_control(over_best, has_control=best is not None or num_diverged_controls > 0)
    return Judgement(verdict=verdict, reason=reason, p_holm=p_holm, best_control=best, over_control=over_best)


def _against_baseline(ratio: Ratio, p_holm: float | None) -> tuple[Effect, str]:
    if 0.0 in ratio.by_seed:
        return Effect.HURTS, "a run diverged"
    if ratio.low is None or ratio.high is None:
        return Effect.NO_DIFFERENCE, "one seed allows no interval"
    is_below = ratio.high < 1.0 - ROUNDING
    if ratio.side == ("above" if is_below else "below"):
        return Effect.NO_DIFFERENCE, f"the ratio is a bound, and the truth lies {ratio.side} it"
    if is_below:
        return Effect.HURTS, "the interval lies below 1"
    is_above = ratio.low > 1.0 + ROUNDING
    if is_above and p_holm is not None and p_holm < SIGNIFICANCE:
        return Effect.ACCELERATES, "the interval lies above 1"
    words = "not significant after correction for the number of workloads" if is_above else "the interval contains 1"
    return Effect.NO_DIFFERENCE, words


def _against_control(over: Ratio | None, *, has_control: bool) -> tuple[Effect, str]:
    if not has_control:
        return Effect.NO_DIFFERENCE, "no control ran, so the gain cannot be told from one"
    if over is not None and (over.low is None or over.low <= 1.0 + ROUNDING):
        return Effect.NO_DIFFERENCE, "not above the best control"
    return Effect.ACCELERATES, "the interval lies above 1 and above the best control"


def corrected(by_workload: Mapping[str, Ratio]) -> dict[str, float | None]:
    """P-values of a work ratio, corrected over the workloads that have one; None for the others."""
    values = {name: ratio.estimate.p for name, ratio in by_workload.items()}
    known = {name: p for name, p in values.items() if p is not None}
    adjusted = dict(zip(known, holm(list(known.values())), strict=True))
    return {name: adjusted.get(name) for name in values}


def overall(ratios: Sequence[Ratio]) -> Ratio:
    """Geometric mean over workloads; `by_seed` then holds one value a workload."""
    found = mean_over_groups([[log_of(one) for one in ratio.by_seed] for ratio in ratios])
    sides = sorted({ratio.side for ratio in ratios} - {""})
    return Ratio(found, tuple(ratio.value for ratio in ratios), sides[0] if sides else "")
