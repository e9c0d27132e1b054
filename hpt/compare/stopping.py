"""When a comparison has enough seeds: every question is settled, by intervals that hold however often one looks.

A question is one arm on one workload: the ratio of two lengths, a value a seed. It is settled when the interval at the
present look (`alpha_spending`) allows one of these statements:

    PRECISE     the ratio is known to the resolution: the half-width is at most log(1 + resolution)
    DIFFERENT   the ratio is more than the resolution away from 1: the whole interval lies above 1 + resolution, or
                below 1 / (1 + resolution). How far away is then known less well than was asked
    DIVERGED    a run diverged, which is a finding that further seeds do not take back
    BOUND       a seed lies outside the lengths measured; longer baselines settle it, not more seeds

Stopping means that the statement holds at this look, not that the arm is better. Every interval is at 95 % for its own
question, and all looks together: so it holds at a stop that other questions decide. DIFFERENT is said of several
questions at once, so it is held to Holm's levels (1979): with k questions at alpha / k, with each one that is found so
the rest at alpha / (k - 1) and so on; the probability of any false one, at any look, is at most 5 %.

The intervals are exact for normal logarithms, and take the baseline's curve as given (`placement`), which every further
seed moves a little. What skew, heavy tails and the curve's bend do to them is measured and in the reports.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from hpt.compare.alpha_spending import FIRST_LOOK, Looks
from hpt.compare.ratios import Ratio, log_of, ratio_words
from hpt.errors import UsageError
from hpt.statistics import ROUNDING, standard_error


class Settled(StrEnum):
    """Why a question needs no further seed."""

    PRECISE = "known to the resolution"
    DIFFERENT = "more than the resolution away from 1"
    DIVERGED = "a run diverged"
    BOUND = "outside the lengths measured, longer baselines would tell"


@dataclass(frozen=True, slots=True)
class LookInterval:
    """A mean logarithm with the interval of one look, valid at all looks together.

    Attributes:
        value: the mean.
        half_width: of the interval around it.
    """

    value: float
    half_width: float

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.value - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.value + self.half_width

    def excludes(self, distance: float) -> bool:
        """All of it is further from zero than that."""
        return self.low > distance + ROUNDING or self.high < -distance - ROUNDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the seeds so far say to one question.

    Attributes:
        name: of the question, e.g. "hybrid on byte-gpt".
        num_seeds: behind it.
        resolution: wanted, .03 for 3 %.
        interval: of the logarithm; None before the first look or with a diverged run.
        settled: why it needs no further seed; None if it does.
        side: as `Ratio.side`.
    """

    name: str
    num_seeds: int
    resolution: float
    interval: LookInterval | None
    settled: Settled | None
    side: str = ""

    @property
    def sentence(self) -> str:
        """'hybrid on byte-gpt, 7 seeds: 1.302x [1.271, 1.334], known to 2.5 %, wanted 3 %: settled (...)'."""
        head = f"{self.name}, {self.num_seeds} seed{'s' if self.num_seeds != 1 else ''}"
        end = "goes on" if self.settled is None else f"settled ({self.settled})"
        if self.interval is None:
            return f"{head}: {end}" if self.settled else f"{head}: {end}, the first look is at {FIRST_LOOK}"
        value, low, high = map(math.exp, (self.interval.value, self.interval.low, self.interval.high))
        known = 100.0 * math.expm1(self.interval.half_width)
        words = ratio_words(value, low, high, self.side or None)
        return f"{head}: {words}, known to {known:.3g} %, wanted {100.0 * self.resolution:.3g} %: {end}"


def look(logs: Sequence[float], looks: Looks) -> LookInterval | None:
    """The interval after these seeds; None before the first look, or where a value is not finite.

    Args:
        logs: one a seed, in the order in which the seeds were run.
        looks: as fixed before the first look.
    """
    if len(logs) < FIRST_LOOK or not all(map(math.isfinite, logs)):
        return None
    return LookInterval(math.fsum(logs) / len(logs), looks.factor(len(logs)) * standard_error(logs))


def answers(ratios: Mapping[str, Ratio], resolution: float, looks: Looks | None = None) -> list[Answer]:
    """Every question at the present look, in the order given.

    Args:
        ratios: by question.
        resolution: wanted, .03 for 3 %.
        looks: as fixed before the first look; None: as a comparison has them when nothing else is said.

    Raises:
        UsageError: the resolution is not positive.
    """
    wanted, plan = log_resolution(resolution), looks or Looks()
    found = [_alone(name, ratio, resolution, plan) for name, ratio in ratios.items()]
    different = _different(found, ratios, wanted, plan)
    return [replace(one, settled=Settled.DIFFERENT) if one.name in different else one for one in found]


def is_enough(found: Sequence[Answer]) -> bool:
    """Every question is settled, so the comparison may stop."""
    return all(one.settled is not None for one in found)


def log_resolution(resolution: float) -> float:
    """The half-width of an interval of the logarithm that has it.

    Raises:
        UsageError: it is not positive.
    """
    if not 0.0 < resolution < math.inf:
        raise UsageError(f"--resolve is {100.0 * resolution:g} %, it must be above 0; 3 % is usual")
    return math.log1p(resolution)


def _alone(name: str, ratio: Ratio, resolution: float, looks: Looks) -> Answer:
    """Whether one ratio needs no further seed: narrow enough, only a bound, or a run diverged; None if it does."""
    logs = [log_of(one) for one in ratio.by_seed]
    interval, settled = look(logs, looks), None
    if -math.inf in logs:
        settled = Settled.DIVERGED
    elif interval is not None and ratio.side:
        settled = Settled.BOUND
    elif interval is not None and interval.half_width <= log_resolution(resolution) + ROUNDING:
        settled = Settled.PRECISE
    return Answer(
        name=name, num_seeds=len(logs), resolution=resolution, interval=interval, settled=settled, side=ratio.side
    )


def _different(found: Sequence[Answer], ratios: Mapping[str, Ratio], wanted: float, looks: Looks) -> set[str]:
    """Questions whose ratio is further than `wanted` from 1 at Holm's levels, PRECISE ones left as they are.

    A bound tells only in its own direction: values cut off above leave a mean that is too low.
    """
    rejected = set[str]()
    while True:
        level = replace(looks, alpha=looks.alpha / max(1, len(found) - len(rejected)))
        more = {one.name for one in found if one.name not in rejected and _is_apart(ratios[one.name], wanted, level)}
        if not more:
            return {one.name for one in found if one.name in rejected and one.settled is not Settled.PRECISE}
        rejected |= more


def _is_apart(ratio: Ratio, wanted: float, looks: Looks) -> bool:
    interval = look([log_of(one) for one in ratio.by_seed], looks)
    if interval is None or not interval.excludes(wanted):
        return False
    return ratio.side in ("", "above" if interval.value > 0.0 else "below")
