"""Adaptive gradient clipping: a gradient may be at most a fixed share of the weights it changes.

Brock, De, Smith & Simonyan 2021 (arXiv:2102.06171), equation 3: G <- G min(1, ratio max(|W|, eps) / |G|), eps = 1e-3,
so that weights that start at zero can leave it. We take the norms over a parameter group where the paper takes them
over a row of a layer: groups are what the trainer measures at every step anyway.
"""

import math

_LEAST_WEIGHT_NORM = 1e-3  # eps of the paper


class AdaptiveClipper:
    """Clipping factors from gradient and weight norms.

    Args:
        ratio: largest gradient norm over weight norm.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio

    def factors(self, group_grad_norms: tuple[float, ...], group_weight_norms: tuple[float, ...]) -> tuple[float, ...]:
        """Factor in (0, 1] for the gradients of each parameter group; norms as they are at this step.

        A norm that is not finite gets 1: scaling would turn infinities into NaN, and such updates are
        skipped.
        """
        return tuple(
            self._factor(grad_norm, weight_norm)
            for grad_norm, weight_norm in zip(group_grad_norms, group_weight_norms, strict=True)
        )

    def _factor(self, grad_norm: float, weight_norm: float) -> float:
        limit = self._ratio * max(weight_norm, _LEAST_WEIGHT_NORM)
        if not math.isfinite(grad_norm) or grad_norm <= limit:
            return 1.0
        return limit / grad_norm
