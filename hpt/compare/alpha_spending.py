"""Student's t looked at after every seed: how far the interval is widened so that all looks together err in 5 %.

The plain t interval, looked at after each of 3 to 20 seeds, misses the truth at some look in 23 % of all series. Here
the 5 % are spent look by look (Lan & DeMets 1983), as fast as their Pocock-like function says, a tenth of it kept
for looks beyond the planned ones: a comparison may be resumed with more seeds, and its interval stays what it says. An
interval at look n of mean +- factor(n) x standard error is a repeated confidence interval (Jennison & Turnbull 1989):
all looks at once hold the truth with 95 %, so that one may stop at any of them for any reason.

Chosen over the mixture e-value of the t-test (Lai 1976; Perez-Ortiz, Lardy, de Heide, Gruenwald 2022; Wang & Ramdas
2023), which needs no plan: for the width that 7 seeds give when nobody looks before, this takes 13 seeds and that 16,
and where 10 suffice 18 against more than 20 (`scripts/measure_stopping.py`). An O'Brien-Fleming-like function saves two
seeds late, and is of no use below 8.

The factors are exact for normal differences of unknown spread, by the recursion of Armitage, McPherson & Rowe (1969)
carried over to t. With S the sum and R the root of the sum of squares of n differences of mean zero, u = S / R tells t.
The direction of the differences is independent of R, so u is a Markov chain: with y = x_next / R, which is Student's
with n degrees over sqrt(n),

    u_next = (u + y) / sqrt(1 + y^2) = sqrt(1 + u^2) sin(theta + atan u)    where y = tan theta
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from hpt.errors import ConfigError
from hpt.statistics import CONFIDENCE, Floats, student_below, student_quantile

FIRST_LOOK = 3
"""Seeds below which no interval is given."""
PLANNED_LOOKS = 20
ALPHA = 1.0 - CONFIDENCE
RESERVED_FRAC = 0.1  # of alpha, for looks beyond the planned ones
NUM_CELLS = 200  # of |u| between zero and the boundary: factors are right to 0.1 %
NUM_ANGLES = 4001
HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Looks:
    """When one looks, and how much error the looks may make; to be fixed before the first one.

    Attributes:
        planned: seeds at the last planned look; the first is at `FIRST_LOOK`, one follows every seed. Looks beyond
            are allowed and cost wider intervals.
        alpha: probability that any interval of them all misses the truth.

    Raises:
        ConfigError: either is out of its range.
    """

    planned: int = PLANNED_LOOKS
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        if self.planned < FIRST_LOOK:
            raise ConfigError(
                f"looks.planned is {self.planned}, it must be at least {FIRST_LOOK}, the first look; plan more seeds"
            )
        if not 0.0 < self.alpha < 0.5:
            raise ConfigError(f"looks.alpha is {self.alpha:g}, it must lie between 0 and 0.5; 0.05 is usual")

    def spent(self, num_seeds: int) -> float:
        """Error that the looks up to this one may make together."""
        share = min(1.0, num_seeds / self.planned)
        beyond = max(0.0, 1.0 - self.planned / num_seeds)
        pocock = math.log(1.0 + (math.e - 1.0) * share)
        return self.alpha * ((1.0 - RESERVED_FRAC) * pocock + RESERVED_FRAC * beyond)

    def factor(self, num_seeds: int) -> float:
        """Half-width of the interval at this look, in standard errors; infinite before the first look."""
        return math.inf if num_seeds < FIRST_LOOK else _boundary(self).factor(num_seeds)


@cache
def _boundary(looks: Looks) -> "_Boundary":
    return _Boundary(looks)


class _Boundary:
    """Factors look by look, and how |u| is distributed among the series that no look has stopped yet."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._factors: list[float] = []
        self._mass = self._places = np.empty(0)  # (NUM_CELLS,): of cells of |u|, and their middles

    def factor(self, num_seeds: int) -> float:
        while len(self._factors) <= num_seeds - FIRST_LOOK:
            self._advance(FIRST_LOOK + len(self._factors))
        return self._factors[num_seeds - FIRST_LOOK]

    def _advance(self, num: int) -> None:
        """One look more, at `num` seeds."""
        if num == FIRST_LOOK:
            t = student_quantile(1.0 - self._looks.spent(num) / 2, num - 1)
            edges, self._places = _cells(t, num)
            self._mass = 2.0 * np.diff(student_below(_t_of(edges, num), num - 1))
        else:
            law, spent = _angles(num - 1), self._looks.spent(num) - self._looks.spent(num - 1)
            t = float(_t_of(np.asarray(self._crossed_by(spent, num, law)), num))
            edges, middles = _cells(t, num)
            beyond = _beyond(edges[None, :], self._places[:, None], law)
            self._mass, self._places = self._mass @ (beyond[:, :-1] - beyond[:, 1:]), middles
        self._factors.append(t)

    def _crossed_by(self, share: float, num: int, law: tuple[Floats, Floats]) -> float:
        """The boundary of |u| that this share of all series crosses at this look first."""
        low, high = 0.0, math.sqrt(num)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            is_crossed_by_more = float(self._mass @ _beyond(middle, self._places, law)) > share
            low, high = (middle, high) if is_crossed_by_more else (low, middle)
        return high


def _t_of(u: Floats, num: int) -> Floats:
    """Student's t of `num` differences."""
    return u * np.sqrt((num - 1) / (num - u * u))


def _cells(t: float, num: int) -> tuple[Floats, Floats]:
    """Edges (NUM_CELLS + 1,) and middles (NUM_CELLS,) of cells of |u| up to the boundary, equal in the angle."""
    angle, shares = math.atan(t / math.sqrt(num - 1)), np.linspace(0.0, 1.0, 2 * NUM_CELLS + 1)
    points = math.sqrt(num) * np.sin(angle * shares)
    return points[::2], points[1::2]


def _angles(degrees: int) -> tuple[Floats, Floats]:
    """Distribution of theta on a grid: sqrt(degrees) tan(theta) is Student's."""
    angles = np.linspace(-0.5 * math.pi, 0.5 * math.pi, NUM_ANGLES)
    return angles, student_below(math.sqrt(degrees) * np.tan(angles), degrees)


def _beyond(bound: float | Floats, u: Floats, law: tuple[Floats, Floats]) -> Floats:
    """P(|u_next| > bound) given u, elements broadcast; the bound is not negative."""
    return _above(bound, u, law) + _above(bound, -u, law)


def _above(bound: float | Floats, u: Floats, law: tuple[Floats, Floats]) -> Floats:
    """P(u_next > bound): theta lies between the two angles at which the sine meets it."""
    turn, meets = np.arctan(u), np.arcsin(np.minimum(bound / np.sqrt(1.0 + u * u), 1.0))
    return np.interp(math.pi - meets - turn, *law) - np.interp(meets - turn, *law)
