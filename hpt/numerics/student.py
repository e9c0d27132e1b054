"""Student's t distribution, by quadrature.

With t = sqrt(nu) tan(angle) its density becomes cos(angle)^(nu - 1), up to a constant, on (-pi/2, pi/2): bounded and
smooth for nu >= 1, so that a sum over a grid is exact to more digits than any test of significance needs.
"""

import numpy as np

_ANGLES = np.linspace(-np.pi / 2, np.pi / 2, 20_001)
_MIDDLES = (_ANGLES[1:] + _ANGLES[:-1]) / 2


def upper_tail(t: float, degrees: float) -> float:
    """P(T > t) with so many degrees of freedom, 1 or more."""
    return float(np.interp(np.arctan2(t, np.sqrt(degrees)), _ANGLES, 1 - _cumulated(degrees)))


def quantile(probability: float, degrees: float) -> float:
    """The t that T exceeds with probability 1 - `probability`, which lies in (0, 1)."""
    angle = np.interp(probability, _cumulated(degrees), _ANGLES)
    return float(np.sqrt(degrees) * np.tan(angle))


def _cumulated(degrees: float) -> np.ndarray:
    """Distribution function at `_ANGLES`."""
    assert degrees >= 1, f"degrees is {degrees}, it must be at least 1"
    sums = np.concatenate(([0.0], np.cumsum(np.cos(_MIDDLES) ** (degrees - 1))))
    return sums / sums[-1]
