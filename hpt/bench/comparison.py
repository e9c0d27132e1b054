"""Did it get slower? A verdict a scenario, false alarms bounded over all of them, the machine's drift accounted for.

    regressed      slower by more than the least effect, proven at 5 % over all scenarios together (Holm)
    improved       faster, likewise
    same           the 95 % interval lies within the least effect
    within noise   the interval holds 1, but is wider than that
    inconclusive   anything else: a small difference, a single process, or one that the control does not bear out

An alarm must show twice: in the times as they are, and in the times over the control that the same process measured.
If only the first, the machine may have changed and not the code.
"""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from hpt.bench.bootstrap import RESAMPLES, difference
from hpt.bench.measurement import CONTROL, Measurement
from hpt.bench.plan import HARD, SOFT, differences
from hpt.errors import NothingMeasured
from hpt.statistics import holm

SCHEMA_VERSION = 1
ALPHA = 0.05
MIN_EFFECT_FRAC = 0.03


class SpeedVerdict(StrEnum):
    """What became of a scenario."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    SAME = "same"
    WITHIN_NOISE = "within noise"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One scenario, new over old.

    Attributes:
        old_s, new_s: medians; new_std_s: standard deviation of the new values.
        ratio: of the medians, above 1 is slower.
        low, high: its 95 % interval; None with a single process.
        control_ratio: of the control in the same processes; None if not measured.
        p_value: that it lies within the least effect after all, adjusted for the number of scenarios.
        is_past_gate: slower by more than the gate, proven likewise; None without a gate.
        note: what to bear in mind, or "".
    """

    name: str
    old_s: float
    new_s: float
    new_std_s: float
    ratio: float
    low: float | None
    high: float | None
    control_ratio: float | None
    p_value: float
    verdict: SpeedVerdict
    is_past_gate: bool | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchComparison:
    """Two runs, new over old.

    Attributes:
        control: ratio of the control with its interval, over all processes; None if not measured.
        changes: what differs in versions and settings, in words.
        only_old, only_new: scenarios that the other run lacks.
    """

    rows: tuple[Compared, ...]
    control: tuple[float, float, float] | None
    changes: tuple[str, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    min_effect_frac: float
    gate_frac: float | None

    @property
    def alarms(self) -> list[Compared]:
        """Rows that regressed or improved."""
        return [row for row in self.rows if row.verdict in {SpeedVerdict.REGRESSED, SpeedVerdict.IMPROVED}]

    @property
    def past_gate(self) -> list[Compared]:
        """Rows past the gate."""
        return [row for row in self.rows if row.is_past_gate]

    def to_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"schema_version": SCHEMA_VERSION, "alpha": ALPHA, "resamples": RESAMPLES, **asdict(self)}


def compare(
    old: Mapping[str, Measurement],
    new: Mapping[str, Measurement],
    *,
    min_effect_frac: float = MIN_EFFECT_FRAC,
    gate_frac: float | None = None,
) -> BenchComparison:
    """Compare what two runs have in common.

    Raises:
        NothingMeasured: they have nothing in common, or were made on another machine or with other settings.
    """
    effect = min_effect_frac if gate_frac is None else min(min_effect_frac, gate_frac)
    names = [name for name in old if name in new and name != CONTROL]
    if not names:
        raise NothingMeasured("the two runs have no scenario in common; measure the same ones")
    pairs = [_Pair(old[name], new[name], seed) for seed, name in enumerate(names)]
    alone = holm([pair.plain.p_beyond(effect) for pair in pairs])
    borne_out = holm([pair.p_beyond(effect) for pair in pairs])
    past_gate = holm([pair.p_beyond(max(effect, gate_frac or 0.0)) for pair in pairs])
    rows = [
        pair.judged(effect, p_alone, p_value, None if gate_frac is None else p_gate)
        for pair, p_alone, p_value, p_gate in zip(pairs, alone, borne_out, past_gate, strict=True)
    ]
    facts = old[names[0]].metadata, new[names[0]].metadata
    return BenchComparison(
        rows=tuple(rows),
        control=_control(old, new),
        changes=tuple(differences(*facts, (*SOFT, "commit", "is_dirty"))),
        only_old=tuple(name for name in old if name not in new),
        only_new=tuple(name for name in new if name not in old),
        min_effect_frac=effect,
        gate_frac=gate_frac,
    )


class _Pair:
    """One scenario in both runs.

    Attributes:
        plain: difference of the times as they are.
        corrected: of the times over the control of the same process; None if it was not measured everywhere.
    """

    def __init__(self, old: Measurement, new: Measurement, seed: int) -> None:
        other = differences(old.metadata, new.metadata, HARD)
        if other:
            raise NothingMeasured(
                f"{old.name} was measured under other conditions ({', '.join(other)}); "
                "measure both runs on one machine with the same settings"
            )
        self._old, self._new = old, new
        self.plain = difference(old.processes, new.processes, seed)
        scaled = _over_control(old), _over_control(new)
        self.corrected = None if scaled[0] is None or scaled[1] is None else difference(scaled[0], scaled[1], seed)

    def p_beyond(self, effect_frac: float) -> float:
        """The larger p of the two views; 1 when they point in opposite directions."""
        p_value = self.plain.p_beyond(effect_frac)
        if self.corrected is None:
            return p_value
        agree = self.corrected.log_ratio * self.plain.log_ratio > 0
        return max(p_value, self.corrected.p_beyond(effect_frac)) if agree else 1.0

    def judged(self, effect_frac: float, p_alone: float, p_value: float, p_gate: float | None) -> Compared:
        """The row of the table, given p values adjusted for the whole family."""
        interval = self.plain.interval()
        verdict, note = self._verdict(effect_frac, p_alone, p_value)
        return Compared(
            name=self._old.name,
            old_s=statistics.median(self._old.values),
            new_s=statistics.median(self._new.values),
            new_std_s=statistics.stdev(self._new.values) if len(self._new.values) > 1 else 0.0,
            ratio=self.plain.ratio,
            low=None if interval is None else interval[0],
            high=None if interval is None else interval[1],
            control_ratio=None if self.corrected is None else self.plain.ratio / self.corrected.ratio,
            p_value=p_value,
            verdict=verdict,
            is_past_gate=None if p_gate is None else self.plain.log_ratio > 0 and p_gate < ALPHA,
            note=note,
        )

    def _verdict(self, effect_frac: float, p_alone: float, p_value: float) -> tuple[SpeedVerdict, str]:
        interval = self.plain.interval()
        if interval is None:
            return SpeedVerdict.INCONCLUSIVE, "a single process says nothing of how processes differ; measure more"
        low, high = interval
        if p_value < ALPHA:
            return SpeedVerdict.REGRESSED if self.plain.log_ratio > 0 else SpeedVerdict.IMPROVED, ""
        if p_alone < ALPHA:
            return SpeedVerdict.INCONCLUSIVE, "the control moved too: the machine may have changed; measure both again"
        if low > 1 / (1 + effect_frac) and high < 1 + effect_frac:
            return SpeedVerdict.SAME, ""
        if low <= 1 <= high:
            return SpeedVerdict.WITHIN_NOISE, ""
        return (
            SpeedVerdict.INCONCLUSIVE,
            "there is a difference, but not provably above the least effect; --rigorous may tell",
        )


def _over_control(measurement: Measurement) -> list[list[float]] | None:
    """Values over the control of their process; None where one was not measured."""
    pairs = list(zip(measurement.processes, measurement.controls, strict=True))
    if any(control_s is None for _, control_s in pairs):
        return None
    return [[value / control_s for value in values] for values, control_s in pairs if control_s is not None]


def _control(old: Mapping[str, Measurement], new: Mapping[str, Measurement]) -> tuple[float, float, float] | None:
    """Ratio of the control over all processes, and its 95 % interval."""
    if CONTROL not in old or CONTROL not in new:
        return None
    moved = difference(old[CONTROL].processes, new[CONTROL].processes, seed=0)
    interval = moved.interval()
    return None if interval is None else (moved.ratio, *interval)
