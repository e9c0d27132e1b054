"""Least-squares line through the last weights of the run, continued some cycles ahead.

Every weight gets its own line, but the fit is linear in the weights with factors that depend on time
alone, so it is one set of coefficients for all. With states s_0 .. s_c at the ends of the last cycles,
displacements u_j = s_j - s_{j-1}, the line at time c + h is s_c plus sum_j w_j u_j, where summing the
regression weights of s_0 .. s_{j-1} gives

    w_j = 6 (h + c/2) j (c + 1 - j) / (c (c + 1) (c + 2))  -  j / (c + 1)       j = 1 (oldest) .. c (newest)

c = 1 is two-point linear prediction (PLP, Ying et al., Scientific Reports 14:15197, 2024). We differ:
jumps made in between are left out of the path, so that a jump does not count as training.
"""

import numpy as np

from hpt.config import HybridConfig
from hpt.learned.facts import CycleFacts, FloatArray
from hpt.predictors.extrapolation import DEFAULT_WINDOW, capped_proposal, past_coefficients, window_of
from hpt.predictors.protocol import Proposal, Silent


def line_weights(num_displacements: int, ahead: float) -> FloatArray:
    """(c,) factors on the displacements, oldest first, of the line `ahead` cycles after the last state."""
    c = num_displacements
    j = np.arange(1, c + 1, dtype=np.float64)
    slope_part = 6.0 * (ahead + c / 2) * j * (c + 1 - j) / (c * (c + 1) * (c + 2))
    return slope_part - j / (c + 1)


class LineFit(Silent):
    """Jumps onto the continued line.

    Args:
        config: settings.
        num_displacements: c; the line goes through c + 1 states.
        ahead: cycles by which the line is continued.

    Attributes:
        window: first and last progress at which the trainer should let it jump.
    """

    name = "linefit"

    def __init__(self, config: HybridConfig, num_displacements: int = 5, ahead: float = 1.0) -> None:
        self.num_past = num_displacements
        self.ahead = ahead
        self.window = window_of(config, DEFAULT_WINDOW)

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """Propose the line's continuation once there are enough states; a long one is read off earlier."""
        if facts.cycle < self.num_past:
            return None
        # The line misses the last state, so going less far means a nearer point of it, not a shorter jump.
        ahead = min(self.ahead, max_horizon / facts.num_steps)
        coefficients = past_coefficients(line_weights(self.num_past, ahead))
        return capped_proposal(self.name, coefficients, ahead * facts.num_steps, max_horizon)
