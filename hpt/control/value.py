"""What jumping is worth, and whether to find out: beliefs about the policies, forks that revise them, and the choice.

The worth of a policy is theta, the logarithm of the work ratio that playing it through the whole window brings: with
theta = 0.2 the run ends where it would have ended after e^0.2 = 1.22 times as many steps without jumps; "none" is worth
0 for certain. Worth and cost are then in one unit: n steps spent on a losing branch of a run of T are worth n / T.

Beliefs are normal over all policies together (`hpt.learned.belief`). A fork over one of them measures its theta with a
normal error and revises all, by as much as they go together. A fork is worth what the best
choice is expected to gain by it, less its cost. After it the means are m_i + s_i Z with one standard normal Z, so the
expectation of their maximum is closed form over the upper envelope of lines; for one policy it is the unit normal
linear loss of Raiffa and Schlaifer ("Applied Statistical Decision Theory", 1961, chapter 5), for several correlated
ones the knowledge gradient of Frazier, Powell and Dayanik ("The Knowledge-Gradient Policy for Correlated Normal
Beliefs", INFORMS J. Computing 2009, algorithm 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpt.history import FloatArray
from hpt.learned.belief import TINY, Belief, normal_cdf


@dataclass(frozen=True, slots=True)
class Prospect:
    """A fork that could be made now.

    Attributes:
        variance: of the error with which it measures theta.
        cost: steps of the losing branch over the steps of the run.
        share_after: of the window, what is left of it when the fork is over.
    """

    variance: float
    cost: float
    share_after: float


def best_policy(belief: Belief) -> int | None:
    """Place of the largest mean; None where none is above 0, that of "none"."""
    place = int(np.argmax(belief.mean))
    return place if belief.mean[place] > 0.0 else None


def best_fork(belief: Belief, share_left: float, prospects: Sequence[Prospect]) -> tuple[int, float] | None:
    """The policy whose measurement is worth most beyond its cost, and by how much; None if none is worth it.

    Args:
        belief: about the worth over a whole window.
        share_left: of the window, what is left of it now.
        prospects: what a fork over each policy measures and costs.
    """
    worth = [fork_value(belief, place, share_left, one) for place, one in enumerate(prospects)]
    place = int(np.argmax(worth))
    return (place, worth[place]) if worth[place] > 0.0 else None


def fork_value(belief: Belief, place: int, share_left: float, prospect: Prospect) -> float:
    """Expected gain of a fork over one policy, in the unit of theta: information less cost.

    While the fork goes on one branch plays that policy and the other does not; the better one is gone on with, so
    nothing but the losing branch's steps is lost.
    """
    now = max(0.0, float(belief.mean.max())) * share_left
    later = expected_maximum(np.append(belief.mean, 0.0), np.append(belief.spread(place, prospect.variance), 0.0))
    played = max(0.0, float(belief.mean.max())) * (share_left - prospect.share_after)
    return later * prospect.share_after + played - now - prospect.cost


def expected_maximum(means: FloatArray, spreads: FloatArray) -> float:
    """E max_i (means_i + spreads_i Z) for one standard normal Z, closed form."""
    lines, starts = upper_envelope(means, spreads)
    ends = [*starts[1:], math.inf]
    total = 0.0
    for line, start, end in zip(lines, starts, ends, strict=True):
        chance = normal_cdf(end) - normal_cdf(start)
        total += float(means[line]) * chance + float(spreads[line]) * (normal_density(start) - normal_density(end))
    return total


def upper_envelope(means: FloatArray, spreads: FloatArray) -> tuple[list[int], list[float]]:
    """Lines means_i + spreads_i z that are highest somewhere, by growing slope, and the z from which each is."""
    lines: list[int] = []
    starts: list[float] = []
    for line in sorted(range(len(means)), key=lambda i: float(spreads[i])):
        start = -math.inf
        while lines:
            steeper = float(spreads[line] - spreads[lines[-1]])
            higher = float(means[lines[-1]] - means[line])
            start = higher / steeper if steeper > TINY else math.copysign(math.inf, higher)
            if start > starts[-1]:
                break
            lines.pop()
            starts.pop()
            start = -math.inf
        if start < math.inf:
            lines.append(line)
            starts.append(start)
    return lines, starts


def normal_density(z: float) -> float:
    """Standard normal density; 0 at infinity."""
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) if math.isfinite(z) else 0.0
