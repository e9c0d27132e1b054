"""What an arm is worth on one workload, from its cells and the baseline's: ratios, loss differences, work, memory.

Pairing: seed k of an arm is compared with seed k of the baseline at the same length T (same initial weights, same
data order). With d_k the difference of their final losses, the arm is placed on the baseline's mean curve at
L(T) + d_k, and N_k, the baseline length that has this loss, is the length it stands for:

    steps ratio        N_k / T
    work ratio         N_k / (full-step equivalents that the arm made): probes, forks, rollbacks included
    wall-clock ratio   N_k x (baseline's seconds an update) / (arm's seconds), from cells that ran alone and undisturbed

Ratios are averaged as logarithms. The bootstrap draws seeds, and with them the curve; the t interval takes the curve
as given. A diverged run has ratio 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt.evaluate.arms import Arm
from hpt.evaluate.cells import CellResult
from hpt.evaluate.curve import BaselineCurve, Reach
from hpt.evaluate.statistics import Estimate, Floats, estimate

LARGEST_RISE_FRAC = 0.01  # of the loss, by which an arm may be worse and still not hurt


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio over seeds; `estimate` is in logarithms.

    Attributes:
        estimate: of the logarithm.
        by_seed: in the order of seeds; 0 for a diverged run.
        side: "above" or "below" if some seed lies outside the lengths measured, so that the ratio is a bound.
    """

    estimate: Estimate
    by_seed: tuple[float, ...]
    side: str

    @property
    def value(self) -> float:
        """Geometric mean over seeds."""
        return math.exp(self.estimate.value)

    @property
    def low(self) -> float | None:
        """Lower end of the wider interval."""
        return _exp(self.estimate.low)

    @property
    def high(self) -> float | None:
        """Upper end of the wider interval; None if a run diverged."""
        return _exp(self.estimate.high)

    def to_document(self) -> dict[str, Any]:
        """Plain values, not logarithms."""
        ends = ("t_low", "t_high", "boot_low", "boot_high")
        known = {name: _exp(getattr(self.estimate, name)) for name in ends}
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            **known,
            "p": self.estimate.p,
            "by_seed": list(self.by_seed),
            "bound": self.side or None,
        }


def _exp(log: float | None) -> float | None:
    return None if log is None or log == math.inf else math.exp(log)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The baseline's cells on one workload.

    Attributes:
        steps: T.
        seeds: in the order of all lists.
        at: results by length, one a seed.
    """

    steps: int
    seeds: tuple[int, ...]
    at: Mapping[int, tuple[CellResult, ...]]

    @property
    def losses(self) -> dict[int, list[float]]:
        """Final losses by length; lengths at which a run diverged are left out."""
        every = {length: [result.loss for result in results] for length, results in self.at.items()}
        return {length: losses for length, losses in every.items() if all(map(math.isfinite, losses))}

    @property
    def is_usable(self) -> bool:
        """At T itself every seed has a loss."""
        return self.steps in self.losses

    def curve(self, picks: Sequence[int] | None = None) -> BaselineCurve:
        """Of all seeds, or of those places in their list."""
        chosen = range(len(self.seeds)) if picks is None else picks
        return BaselineCurve({length: [losses[i] for i in chosen] for length, losses in self.losses.items()})

    def seed_sd(self) -> float | None:
        """Standard deviation of the final loss at T over seeds; None below two seeds."""
        losses = self.losses[self.steps]
        return float(np.std(losses, ddof=1)) if len(losses) > 1 else None


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
        """Plain values."""
        ratios = ("steps_ratio", "work_ratio", "wall_ratio")
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ratios}
        for name, value in plain.items():
            if isinstance(value, Estimate):
                plain[name] = asdict(value) | {"low": value.low, "high": value.high}
        found = {name: getattr(self, name) for name in ratios}
        return {name: None if one is None else one.to_document() for name, one in found.items()} | plain


class Placement:
    """Seeds of an arm on the baseline's curve.

    Args:
        baseline: usable, with the seeds of the arm.
        results: the arm's, by seed in the same order.
    """

    def __init__(self, baseline: Baseline, results: Sequence[CellResult]) -> None:
        self._baseline = baseline
        self.losses = [result.loss for result in results]
        self.changes = [
            loss - before for loss, before in zip(self.losses, baseline.losses[baseline.steps], strict=True)
        ]
        self.reaches = self._reaches(baseline.curve(), range(len(results)))

    def _reaches(self, curve: BaselineCurve, picks: Sequence[int]) -> list[Reach]:
        at_full = curve.loss_at(self._baseline.steps)
        assert at_full is not None, "T is one of the lengths"
        return [curve.reach(at_full + self.changes[i]) for i in picks]

    def ratio(self, units: Sequence[float]) -> Ratio:
        """Length stood for over `units`, one a seed."""
        logs = [self._log(reach, i, units) for i, reach in enumerate(self.reaches)]
        sides = {reach.side for reach in self.reaches} - {""}
        return Ratio(
            estimate(logs, lambda picks: self._redrawn(picks, units)),
            tuple(math.exp(log) for log in logs),
            "" if not sides or -math.inf in logs else sorted(sides)[0],
        )

    def _log(self, reach: Reach, index: int, units: Sequence[float]) -> float:
        if not math.isfinite(self.losses[index]):
            return -math.inf
        return math.log(reach.steps / units[index])

    def _redrawn(self, rows: NDArray[np.intp], units: Sequence[float]) -> Floats:
        """Mean logarithm for every row of drawn seeds, the curve made of the same seeds."""
        known: dict[tuple[int, ...], float] = {}
        means: list[float] = []
        for row in np.sort(rows, axis=1).tolist():
            picks = tuple(row)
            if picks not in known:
                reaches = self._reaches(self._baseline.curve(picks), picks)
                logs = [self._log(reach, i, units) for i, reach in zip(picks, reaches, strict=True)]
                known[picks] = sum(logs) / len(logs)
            means.append(known[picks])
        return np.asarray(means)

    def change_at(self, work: Sequence[float]) -> list[float] | None:
        """Loss minus that of a baseline of length `work`, by seed; None where no baseline is that long or short."""
        curve = self._baseline.curve()
        at_full, at_work = curve.loss_at(self._baseline.steps), [curve.loss_at(one) for one in work]
        assert at_full is not None, "T is one of the lengths"
        if any(one is None for one in at_work):
            return None
        return [change - ((one or 0.0) - at_full) for change, one in zip(self.changes, at_work, strict=True)]


def measure(arm: Arm, baseline: Baseline, results: Sequence[CellResult]) -> Measures:
    """All measures of an arm.

    Args:
        arm: what it is.
        baseline: usable, with the same seeds.
        results: by seed, in the baseline's order.
    """
    placement = Placement(baseline, results)
    num = len(results)
    work = [arm.claimed_work(result.full_step_equivalents) for result in results]
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
        wall_ratio=_wall_ratio(baseline, results),
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


def _wall_ratio(baseline: Baseline, results: Sequence[CellResult]) -> Ratio | None:
    """From the seeds whose cell and whose baseline at T both ran alone and undisturbed; None without such a seed."""
    at_full = baseline.at[baseline.steps]
    alone = [i for i, result in enumerate(results) if result.is_timed and at_full[i].is_timed]
    if not alone:
        return None
    part = Baseline(
        steps=baseline.steps,
        seeds=tuple(baseline.seeds[i] for i in alone),
        at={length: tuple(found[i] for i in alone) for length, found in baseline.at.items()},
    )
    # seconds in units of a baseline update of the same seed
    units = [results[i].train_s * baseline.steps / at_full[i].train_s for i in alone]
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


def excess(one: Ratio, other: Ratio) -> Ratio:
    """One ratio over another that has no diverged run, seed by seed; both must have the same seeds."""
    logs = [log_of(a) - math.log(b) for a, b in zip(one.by_seed, other.by_seed, strict=True)]
    return Ratio(estimate(logs), tuple(math.exp(log) for log in logs), one.side or other.side)


def log_of(ratio: float) -> float:
    """Logarithm of a ratio; minus infinity for that of a diverged run."""
    return math.log(ratio) if ratio > 0.0 else -math.inf
