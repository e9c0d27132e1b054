"""May this run jump now? Window, progress of the loss, confidence, and a pause after a row of rejections.

Before its first jump a run must have made progress: where the loss does not fall there is nothing to accelerate, and a
jump would only add noise (`FallTest`). The path itself does not tell the two apart. Measured with K = N / 100, the
cosine of a displacement with the average of those before it is 0.3 to 0.5 on a byte-level GPT at batch 64, 0.3 falling
to 0.05 at batch 16, 0.03 on a CNN and -0.2 on an MLP, where jumps pay most; pure noise gives 0.
"""

from collections.abc import Mapping
from typing import Any

from hpt.config import HybridConfig
from hpt.control.fall import FallTest

VETOES_BEFORE_TRIAL = 4  # refused for low confidence in a row, then one acts


class JumpGate:
    """Decides once a cycle whether a proposal may be asked for, and whether it may act.

    Args:
        config: the trainer's settings.
        window: (f0, f1), progress between which jumps are allowed.
    """

    def __init__(self, config: HybridConfig, window: tuple[float, float]) -> None:
        self._config = config
        self._window = window
        self._rejections = 0
        self._pause = 0
        self._vetoes = 0
        self.fall = FallTest(config.predict.noise_sigmas)

    def in_window(self, progress: float | None, lr_frac: float) -> bool:
        """Inside [f0, f1] of the planned run; without a plan, while the learning rate is high enough."""
        if progress is None:
            return lr_frac >= self._config.predict.min_lr_frac
        return self._window[0] <= progress <= self._window[1]

    def observe(self, loss: float) -> None:
        """Take in the loss of one full step."""
        self.fall.observe(loss)

    def end_cycle(self, progress: float | None, lr_frac: float) -> str:
        """A cycle is finished; returns why no proposal may be asked for now, or ""."""
        self.fall.end_cycle()
        if self._pause > 0:
            self._pause -= 1
            return "pause after rejections"
        if not self.in_window(progress, lr_frac):
            return "outside the window"
        if self._config.gate == "earned" and not self.fall.passed:
            return "the loss has not fallen beyond noise"
        return ""

    def admits(self, confidence: float | None) -> bool:
        """Whether a proposal of this confidence may act; None (no opinion) counts as the base preset, earned.

        What never acts is never judged, so a veto could not be shown to be wrong: after `VETOES_BEFORE_TRIAL` in a
        row one proposal acts on trial.
        """
        if self._config.gate == "always" or confidence is None or confidence >= self._config.confidence_threshold:
            self._vetoes = 0
            return True
        self._vetoes = (self._vetoes + 1) % (VETOES_BEFORE_TRIAL + 1)
        return self._vetoes == 0

    def rejected(self) -> None:
        """A jump was rejected or rolled back."""
        self._rejections += 1
        if self._rejections >= self._config.predict.pause_after_rejections:
            self._rejections, self._pause = 0, self._config.predict.pause_cycles

    def accepted(self) -> None:
        """A jump was kept through CORRECT."""
        self._rejections = 0

    def state_dict(self) -> dict[str, Any]:
        """Counts and the test of progress."""
        return {
            "rejections": self._rejections,
            "pause": self._pause,
            "vetoes": self._vetoes,
            "fall": self.fall.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._rejections = int(state["rejections"])
        self._pause = int(state["pause"])
        self._vetoes = int(state["vetoes"])
        self.fall.load_state_dict(state["fall"])
