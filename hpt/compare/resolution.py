"""How many seeds a wanted resolution takes, and how long they run: the plan that is shown before they are spent.

The resolution is the half-width of the interval that will be reported, as a ratio: 3 % is log(1.03). The interval is
that of `alpha_spending`, so the plan knows that somebody looks after every seed; without looks fewer would do. With sd
the standard deviation of the logarithm over seeds, the plan is the least n with

    factor(n) sd / sqrt(n) <= log(1 + resolution)

The sd comes from the few seeds of a pilot, and the plan goes with its square: so it is also given at both ends of its
80 % interval, whose upper end, exceeded in one pilot of ten, is what Browne (Statistics in Medicine 14, 1995) advises
to plan with. Chi-square, so for normal logarithms. A pilot whose seeds agree entirely says nothing about the spread.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpt.compare.alpha_spending import FIRST_LOOK, Looks
from hpt.compare.stopping import log_resolution
from hpt.errors import ConfigError, UsageError
from hpt.statistics import ROUNDING, chi_square_quantile, student_quantile

SPREAD_CONFIDENCE = 0.8
MOST_SEEDS = 100
"""Plans end here: what takes more is said to take more."""
LEAST_PILOT = 2


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviation of a logarithm over seeds, and its interval of `SPREAD_CONFIDENCE`."""

    sd: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPlan:
    """Paired seeds that a resolution takes; None for more than `MOST_SEEDS`.

    Attributes:
        name: of the question, e.g. "hybrid on byte-gpt".
        resolution: .03 for 3 %.
        num_pilot: seeds that the spread is known from.
        spread: of the logarithm.
        num_seeds: at that spread.
        fewest, most: at the ends of its interval.
    """

    name: str
    resolution: float
    num_pilot: int
    spread: Spread
    num_seeds: int | None
    fewest: int | None
    most: int | None

    @property
    def sentence(self) -> str:
        """'resolving 3 % for hybrid on byte-gpt takes 7 paired seeds (4 to 15, spread known from 5)'."""
        head = f"resolving {100.0 * self.resolution:.3g} % for {self.name} takes"
        if self.fewest is None:
            return f"{head} more than {MOST_SEEDS} paired seeds; ask for less"
        ends = f"{self.fewest} to {_number(self.most)}" if self.fewest != self.most else f"{self.fewest}"
        return f"{head} {_number(self.num_seeds)} paired seeds ({ends}, spread known from {self.num_pilot})"


@dataclass(frozen=True, slots=True)
class Effort:
    """Cells still to be run, and seconds until the last is done."""

    num_cells: int
    wall_s: float

    @property
    def words(self) -> str:
        """'56 cells, 48 min'."""
        return f"{self.num_cells} cell{'s' if self.num_cells != 1 else ''}, {_duration(self.wall_s)}"


def spread_of(logs: Sequence[float], name: str = "the pilot") -> Spread:
    """From logarithms of ratios, one a seed.

    Raises:
        UsageError: fewer than two, a run diverged, or all are equal.
    """
    if len(logs) < LEAST_PILOT:
        raise UsageError(
            f"{name} has {len(logs)} paired seed{'s' if len(logs) != 1 else ''}, a plan needs the spread of at least "
            f"{LEAST_PILOT}; run {LEAST_PILOT} or more first (--seeds 3), or name a stored comparison"
        )
    if not all(map(math.isfinite, logs)):
        raise UsageError(f"{name} has a diverged run, a plan needs finite ratios; correct the arm or leave it out")
    sd, degrees, tail = float(np.std(logs, ddof=1)), len(logs) - 1, 0.5 * (1.0 - SPREAD_CONFIDENCE)
    if sd <= ROUNDING:
        raise UsageError(f"{name} has no spread over {len(logs)} seeds, a plan needs one; run more seeds, or none")
    ends = [sd * math.sqrt(degrees / chi_square_quantile(part, degrees)) for part in (1.0 - tail, tail)]
    return Spread(sd, *ends)


def seeds_for(sd: float, resolution: float, looks: Looks | None = None) -> int | None:
    """The least number of seeds whose interval is no wider than wanted; None if it is above `MOST_SEEDS`.

    Raises:
        UsageError: the resolution is not positive.
    """
    wanted, plan = log_resolution(resolution), looks or Looks()
    for num in range(FIRST_LOOK, MOST_SEEDS + 1):
        error = sd / math.sqrt(num)
        # no interval that is looked at is narrower than the plain one, which is quicker known
        if student_quantile(1.0 - plan.alpha / 2, num - 1) * error <= wanted and plan.factor(num) * error <= wanted:
            return num
    return None


def plan_seeds(name: str, logs: Sequence[float], resolution: float, looks: Looks | None = None) -> SeedPlan:
    """The plan for one question from the logarithms of its pilot, one a seed.

    Raises:
        UsageError: the pilot is too small, diverged or without spread; the resolution is not positive.
    """
    spread = spread_of(logs, name)
    num, fewest, most = (seeds_for(sd, resolution, looks) for sd in (spread.sd, spread.low, spread.high))
    return SeedPlan(
        name=name,
        resolution=resolution,
        num_pilot=len(logs),
        spread=spread,
        num_seeds=num,
        fewest=fewest,
        most=most,
    )


def plan_all(
    logs: Mapping[str, Sequence[float]], resolution: float, looks: Looks | None = None
) -> tuple[list[SeedPlan], dict[str, str]]:
    """Plans of every question that has one, the longest first, and why the others have none.

    Raises:
        UsageError: the resolution is not positive.
    """
    plans, refused = list[SeedPlan](), dict[str, str]()
    log_resolution(resolution)
    for name, values in logs.items():
        try:
            plans.append(plan_seeds(name, values, resolution, looks))
        except UsageError as error:
            refused[name] = str(error)
    return sorted(plans, key=lambda one: one.spread.sd, reverse=True), refused


def effort(num_seeds: int, seed_s: Sequence[float], *, num_done: int = 0, jobs: int = 1) -> Effort:
    """What the seeds beyond those done still take.

    Args:
        num_seeds: planned.
        seed_s: seconds of every cell that one seed consists of: the baseline's lengths, and the arms.
        num_done: seeds whose cells are there.
        jobs: cells at once; they are taken to run as fast as when `seed_s` was measured.

    Raises:
        ConfigError: fewer than one cell at once.
    """
    if jobs < 1:
        raise ConfigError(f"jobs is {jobs}, it must be at least 1; leave it out for one cell at a time")
    missing = max(0, num_seeds - num_done)
    wall_s = max(missing * sum(seed_s) / jobs, max(seed_s, default=0.0) if missing else 0.0)
    return Effort(missing * len(seed_s), wall_s)


def _number(num_seeds: int | None) -> str:
    return f"more than {MOST_SEEDS}" if num_seeds is None else str(num_seeds)


def _duration(seconds: float) -> str:
    """Rounded up, so that a plan is not shorter than what it foretells."""
    if seconds < 90.0:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60.0)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
