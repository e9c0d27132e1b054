"""Rules that `hpt.compare.alpha_spending` was chosen over, each as factors: half-widths in standard errors by look."""

import math
from dataclasses import dataclass

from hpt.compare.alpha_spending import ALPHA, FIRST_LOOK, PLANNED_LOOKS, RESERVED_FRAC, Looks
from hpt.statistics import student_quantile, student_tail

LOOKED_AT = range(FIRST_LOOK, PLANNED_LOOKS + 1)
MIXTURE = 0.3
"""Seeds that the prior of the e-value is worth; of .01 to 1 this gives the narrowest intervals at 6 to 8 seeds."""


@dataclass(frozen=True, slots=True)
class OBrienFleming(Looks):
    """Lan & DeMets' function like O'Brien & Fleming's: almost nothing early, the same reserve for looks beyond."""

    def spent(self, num_seeds: int) -> float:
        """Error that the looks up to this one may make together."""
        share = min(1.0, num_seeds / self.planned)
        beyond = max(0.0, 1.0 - self.planned / num_seeds)
        # at 1e6 degrees of freedom Student's t is the normal distribution to 1e-6
        early = 2.0 * student_tail(student_quantile(1.0 - self.alpha / 2, 1e6) / math.sqrt(share), 1e6)
        return (1.0 - RESERVED_FRAC) * early + RESERVED_FRAC * self.alpha * beyond


def log_e_value(u: float, num_seeds: int, mixture: float = MIXTURE) -> float:
    """Of the scale-invariant t-test, effects in standard deviations mixed over a normal of variance 1 / mixture.

    The ratio of the densities of the differences up to scale (right Haar measure 1 / sigma on both sides):
    sqrt(c / (n + c)) (1 - u^2 / (n + c))^(-n/2) with c the mixture (Perez-Ortiz et al. 2022; Wang & Ramdas 2023).

    Args:
        u: sum over root of the sum of squares.
        num_seeds: n.
        mixture: c.
    """
    total = num_seeds + mixture
    return 0.5 * math.log(mixture / total) - 0.5 * num_seeds * math.log1p(-u * u / total)


def e_value_factor(num_seeds: int, mixture: float = MIXTURE, alpha: float = ALPHA) -> float:
    """Half-width of the interval whose means have an e-value below 1 / alpha; infinite where all have."""
    total = num_seeds + mixture
    square = -total * math.expm1(-2.0 / num_seeds * (-math.log(alpha) - 0.5 * math.log(mixture / total)))
    if square >= num_seeds:
        return math.inf
    return math.sqrt(square * (num_seeds - 1) / (num_seeds - square))


def rules() -> dict[str, tuple[str, list[float]]]:
    """By name what each is, and its factors at every look."""
    spending, fleming = Looks(), OBrienFleming()
    return {
        "plain": (
            "Student's t, looked at every time",
            [student_quantile(1.0 - ALPHA / 2, num - 1) for num in LOOKED_AT],
        ),
        "spending": ("t, alpha spent evenly (the rule in use)", list(map(spending.factor, LOOKED_AT))),
        "obrien-fleming": ("t, alpha spent late", list(map(fleming.factor, LOOKED_AT))),
        "e-value": ("t-test's mixture e-value", list(map(e_value_factor, LOOKED_AT))),
    }
