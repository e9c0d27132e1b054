"""How far the loss may rise right after a jump before it counts as a blow-up.

A good jump raises the loss at first (measured: 0.03 to 0.3 nats on a small GPT) and pays a hundred steps later, so the
bound is learned from the jumps that were kept: median + 6 robust standard deviations of their rises. Before enough
were seen it is a share of the loss itself.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

MAD_TO_SIGMA = 1.4826  # median absolute deviation to standard deviation, for a normal distribution
NUM_KEPT = 32
MIN_KEPT = 5
WIDTH_SIGMAS = 6.0


class RiseBound:
    """Largest tolerated rise, from the rises of kept jumps.

    Args:
        max_rise_frac: bound before enough jumps were kept, as a share of the loss's magnitude.
    """

    def __init__(self, max_rise_frac: float) -> None:
        self._max_rise_frac = max_rise_frac
        self._rises: deque[float] = deque(maxlen=NUM_KEPT)

    def bound(self, loss: float) -> float:
        """Tolerated rise above `loss`, never negative and never above the share of the loss it started from."""
        start = self._max_rise_frac * max(abs(loss), 1e-8)
        if len(self._rises) < MIN_KEPT:
            return start
        middle = median(self._rises)
        spread = MAD_TO_SIGMA * median(abs(rise - middle) for rise in self._rises)
        # A floor of a twentieth of the start keeps a run of equal rises from turning into a bound without slack.
        return min(start, max(0.0, middle) + WIDTH_SIGMAS * spread + 0.05 * start)

    def observe(self, rise: float) -> None:
        """Learn the rise of a jump that was kept."""
        self._rises.append(rise)

    def state_dict(self) -> dict[str, Any]:
        """The rises seen."""
        return {"rises": list(self._rises)}

    def load_state_dict(self, state: Mapping[str, Sequence[float]]) -> None:
        """Inverse of `state_dict`."""
        self._rises = deque((float(rise) for rise in state["rises"]), maxlen=NUM_KEPT)
