"""May this run jump now? Window, progress of the loss, and a pause after a row of rejections.

Before its first jump a run must have made progress: where the loss does not fall there is nothing to accelerate, and a
jump would only add noise (`ProgressTest`). The path itself does not tell the two apart. Measured with K = N / 100, the
cosine of a displacement with the average of those before it is 0.3 to 0.5 on a byte-level GPT at batch 64, 0.3 falling
to 0.05 at batch 16, 0.03 on a CNN and -0.2 on an MLP, where jumps pay most; pure noise gives 0.
"""

from hpt.config import HybridConfig
from hpt.control.progress import ProgressTest
from hpt.numerics.stateful import Stateful

MIN_LR_FRAC = 0.1  # without a plan, jumps end where the learning rate has fallen below this share of the largest
# A predictor that is only wrong spends the probe's budget and then jumps unseen, so after this many jumps undone in a
# row it waits. Measured with jumps of ten displacements backwards: the plain loop's loss with the pause, 20 times it
# without.
PAUSE_AFTER_REJECTIONS = 5
PAUSE_CYCLES = 10


class JumpGate(Stateful):
    """Decides once a cycle whether a proposal may be asked for.

    Args:
        config: the trainer's settings.
        window: (f0, f1), progress between which jumps are allowed.

    Attributes:
        must_earn: the run jumps only once it has made progress.
    """

    _state = ("_rejections", "_pause", "progress")

    def __init__(self, config: HybridConfig, window: tuple[float, float]) -> None:
        self.must_earn = config.gate == "earned"
        self._window = window
        self._rejections = self._pause = 0
        self.progress = ProgressTest()

    def in_window(self, progress: float | None, lr_frac: float) -> bool:
        """Inside [f0, f1] of the planned run; without a plan, while the learning rate is high enough."""
        if progress is None:
            return lr_frac >= MIN_LR_FRAC
        return self._window[0] <= progress <= self._window[1]

    def opens(self, progress: float | None, lr_frac: float) -> bool:
        """A cycle is finished: whether a proposal may be asked for now."""
        self.progress.end_cycle()
        if self._pause > 0:
            self._pause -= 1
            return False
        has_earned = self.progress.passed or not self.must_earn
        return has_earned and self.in_window(progress, lr_frac)

    def judge(self, *, kept: bool) -> None:
        """A jump was kept through CORRECT, or was rejected or rolled back."""
        self._rejections = 0 if kept else self._rejections + 1
        if self._rejections >= PAUSE_AFTER_REJECTIONS:
            self._rejections, self._pause = 0, PAUSE_CYCLES
