"""The plain loop: no predictor at all. The trainer with it must be bit-identical to ordinary training."""

from hpt.config import HybridConfig
from hpt.predictors.protocol import Silent


class NoJump(Silent):
    """Never proposes and keeps nothing.

    Args:
        config: settings; none apply.
    """

    name = "none"

    def __init__(self, config: HybridConfig) -> None:
        del config
