"""What an arm is worth on one workload, from its cells and the baseline's: ratios, loss differences, work, memory.

With N_k the baseline length that seed k of the arm stands for (see `placement`):

    steps ratio        N_k / T
    work ratio         N_k x (baseline's work an update) / (arm's work), in full-step equivalents: the optimizers'
                       operations, probes, forks, rollbacks included
    wall-clock ratio   N_k x (baseline's seconds an update) / (arm's seconds), from cells that ran alone, undisturbed
                       and on the same kind of machine (`machines`)

Ratios are averaged as logarithms. A diverged run has ratio 0.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpt.compare.arms import Arm
from hpt.compare.cells import CellResult
from hpt.compare.machines import are_comparable
from hpt.compare.placement import Baseline, Placement
from hpt.compare.ratios import Ratio
from hpt.statistics import Estimate, estimate

LARGEST_RISE_FRAC = 0.01  # of the loss, by which an arm may be worse and still not hurt


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """All measures of one arm on one workload; None where nothing was, or can be, measured.

    Attributes:
        seeds: measured, in the order of all lists.
        steps_ratio, work_ratio, wall_ratio: see the module.
        final_losses: by seed; infinite if diverged.
        loss_change: final loss minus the baseline's at T.
        loss_change_equal_gradients: the same against a baseline of as many gradient evaluations.
        loss_change_equal_work: the same against a baseline of as many full-step equivalents.
        backwards_saved: gradient evaluations of the baseline to the same loss minus the arm's, mean over seeds.
        backwards_saved_frac: the same as a share of the baseline's.
        peak_host_ratio, peak_device_ratio: largest memory over the baseline's, means over seeds.
        peak_host_bytes, peak_device_bytes: means over seeds.
        jump_ratio: mean |jump| over |displacement of the last cycle|; the path is longer by about this much.
        worst_seed: seed with the smallest work ratio, that ratio, and its loss change.
        never_hurts: at equal work the mean loss is at most 1 % above the baseline's, and no seed's by more than 1 %
            plus twice the standard deviation of the baseline's seeds.
        num_diverged: runs without a final loss.
    """

    seeds: tuple[int, ...]
    steps_ratio: Ratio
    work_ratio: Ratio
    wall_ratio: Ratio | None
    final_losses: tuple[float, ...]
    loss_change: Estimate
    loss_change_equal_gradients: Estimate | None
    loss_change_equal_work: Estimate | None
    backwards_saved: float | None
    backwards_saved_frac: float | None
    peak_host_bytes: float | None
    peak_device_bytes: float | None
    peak_host_ratio: float | None
    peak_device_ratio: float | None
    jump_ratio: float | None
    worst_seed: dict[str, float]
    never_hurts: bool | None
    num_diverged: int

    def to_document(self) -> dict[str, Any]:
        """The fields as JSON values: ratios as `Ratio.to_document`, estimates with both ends of their interval."""
        ratios = ("steps_ratio", "work_ratio", "wall_ratio")
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ratios}
        for name, value in plain.items():
            if isinstance(value, Estimate):
                plain[name] = asdict(value) | {"low": value.low, "high": value.high}
        found = {name: getattr(self, name) for name in ratios}
        return {name: None if one is None else one.to_document() for name, one in found.items()} | plain


def measure(arm: Arm, baseline: Baseline, results: Sequence[CellResult]) -> Measures:
    """All measures of an arm.

    Args:
        arm: what it is.
        baseline: usable, with the same seeds.
        results: by seed, in the baseline's order.
    """
    placement = Placement(baseline, results)
    num = len(results)
    # in updates of the baseline, each with what its optimizer costs
    work = [arm.claimed_work(result.full_step_equivalents) / baseline.work_per_update for result in results]
    backwards = [arm.claimed_work(result.backwards) for result in results]
    work_ratio = placement.ratio(work)
    equal_work, equal_gradients = placement.change_at(work), placement.change_at(backwards)
    saved = _saved(placement, backwards)
    worst = min(range(num), key=lambda i: work_ratio.by_seed[i])
    at_full = baseline.at[baseline.steps]
    host, device = _peak(results, "peak_host_bytes"), _peak(results, "peak_device_bytes")
    return Measures(
        seeds=baseline.seeds,
        steps_ratio=placement.ratio([float(baseline.steps)] * num),
        work_ratio=work_ratio,
        wall_ratio=_wall_ratio(arm, baseline, results),
        final_losses=tuple(placement.losses),
        loss_change=estimate(placement.changes),
        loss_change_equal_gradients=None if equal_gradients is None else estimate(equal_gradients),
        loss_change_equal_work=None if equal_work is None else estimate(equal_work),
        backwards_saved=None if saved is None else saved[0],
        backwards_saved_frac=None if saved is None else saved[1],
        peak_host_bytes=host,
        peak_device_bytes=device,
        peak_host_ratio=_over(host, _peak(at_full, "peak_host_bytes")),
        peak_device_ratio=_over(device, _peak(at_full, "peak_device_bytes")),
        jump_ratio=_mean_known([result.jump_ratio for result in results]),
        worst_seed={
            "seed": baseline.seeds[worst],
            "work_ratio": work_ratio.by_seed[worst],
            "loss_change": placement.changes[worst],
        },
        never_hurts=_never_hurts(baseline, equal_work),
        num_diverged=sum(result.diverged for result in results),
    )


def _saved(placement: Placement, backwards: Sequence[float]) -> tuple[float, float] | None:
    if not all(map(math.isfinite, placement.losses)):
        return None
    lengths = [reach.steps for reach in placement.reaches]
    saved = [length - made for length, made in zip(lengths, backwards, strict=True)]
    return sum(saved) / len(saved), sum(saved) / sum(lengths)


def _wall_ratio(arm: Arm, baseline: Baseline, results: Sequence[CellResult]) -> Ratio | None:
    """From the seeds whose cell and whose baseline at T can be compared by their seconds; None without such a seed."""
    at_full = baseline.at[baseline.steps]
    alone = [i for i, result in enumerate(results) if are_comparable(result, at_full[i])]
    if not alone:
        return None
    part = Baseline(
        steps=baseline.steps,
        seeds=tuple(baseline.seeds[i] for i in alone),
        at={length: tuple(found[i] for i in alone) for length, found in baseline.at.items()},
    )
    # seconds in units of a baseline update of the same seed
    units = [arm.claimed_work(results[i].train_s) * baseline.steps / at_full[i].train_s for i in alone]
    return Placement(part, [results[i] for i in alone]).ratio(units)


def _peak(results: Sequence[CellResult], name: str) -> float | None:
    values = [getattr(result, name) for result in results]
    return None if any(value is None for value in values) else sum(values) / len(values)


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _over(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base


def _never_hurts(baseline: Baseline, changes: Sequence[float] | None) -> bool | None:
    spread = baseline.seed_sd()
    if changes is None or spread is None:
        return None
    loss = float(np.mean(baseline.losses[baseline.steps]))
    allowed = LARGEST_RISE_FRAC * abs(loss)
    return bool(np.mean(changes) <= allowed and max(changes) <= allowed + 2.0 * spread)
