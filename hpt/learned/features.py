"""The state of a training run as 64 numbers, all live, each on its own running scale; docs/features.md lists them.

Nothing here reads a clock or free memory, so a run repeats bit for bit. A feature is centred and scaled by its running
mean and standard deviation over the last 1000 or so of its moves and clipped to +-5; before its first move it is 0.
`log_step` has a fixed scale, for its own statistics would cancel it: log t stands one standard deviation above its mean
over 1..t at any t.
"""

import numpy as np
from numpy.typing import NDArray

from hpt.history import FloatArray, StepStats
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.cycle_features import CYCLE_NAMES, JUMP_NAMES, CycleFeatures, JumpFeatures
from hpt.learned.step_features import STEP_NAMES, StepFeatures
from hpt.numerics.running import ema_scan
from hpt.numerics.stateful import Stateful

FEATURE_NAMES = STEP_NAMES + JUMP_NAMES + CYCLE_NAMES
NUM_FEATURES = len(FEATURE_NAMES)

_STEP = slice(0, len(STEP_NAMES) + 2)  # the first two of the jump features move from the start
_JUMP = slice(_STEP.stop, len(STEP_NAMES) + len(JUMP_NAMES))
_OFTEN = slice(0, _JUMP.stop)  # what may move with every step
_CYCLE = slice(_JUMP.stop, NUM_FEATURES)
_LIMIT = 5.0  # standard deviations
_MEMORY = 1000  # moves
_WARMUP_STEPS = 8  # until then logarithms of averages that hold next to nothing would set the scale
_LOG_STEP = FEATURE_NAMES.index("log_step")
_LOG_STEP_MEAN, _LOG_STEP_STD = 6.0, 2.0  # puts 1 .. 100,000 steps between -2.7 and 2.8
_LEAST_VARIANCE = 1e-24


class FeatureEncoder(Stateful):
    """The 64 features of a run.

    Args:
        cycle_steps: K, full steps in a cycle.
    """

    _state = ("_steps", "_jumps", "_cycles", "_num_moves", "_has_jumped", "_raw", "_means", "_variances")

    def __init__(self, cycle_steps: int) -> None:
        self._steps = StepFeatures()
        self._jumps = JumpFeatures(cycle_steps)
        self._cycles = CycleFeatures()
        self._num_moves = {"step": 0, "jump": 0, "cycle": 0}
        self._has_jumped = False
        self._raw, self._means, self._variances = np.zeros((3, NUM_FEATURES))
        self._means[_LOG_STEP], self._variances[_LOG_STEP] = _LOG_STEP_MEAN, _LOG_STEP_STD**2

    def observe_steps(self, steps: StepStats) -> NDArray[np.float32]:
        """Take in n full steps, n >= 1; the features (n, 64) after each, in standard deviations, within +-5.

        The first eight steps of a run have zeros.
        """
        rows = self._steps.observe(steps)
        self._cycles.observe_steps(steps)
        often = np.concatenate((rows.values, self._jumps.observe_steps(steps, rows)), axis=1)
        self._raw[_OFTEN] = often[-1]
        vectors = np.zeros((len(steps), NUM_FEATURES), dtype=np.float32)
        num_cold = max(0, _WARMUP_STEPS - (self._steps.num_steps - len(steps)))
        if num_cold < len(steps):
            warm = often[num_cold:]
            means, variances = self._rescale(_OFTEN, warm, self._step_gains(len(warm)))
            vectors[num_cold:, _OFTEN] = _standardised(warm, means, variances)
            vectors[num_cold:, _CYCLE] = _standardised(self._raw[_CYCLE], self._means[_CYCLE], self._variances[_CYCLE])
        return vectors

    def observe_cycle(self, stats: CycleStats) -> None:
        """Take in a finished cycle; the features move with the next full step."""
        self._cycles.observe(stats, self._steps.noise)
        if stats.cycle > 1:
            self._raw[_CYCLE] = self._cycles.values
            gains = np.broadcast_to(self._count("cycle", 1)[:, None], (1, len(CYCLE_NAMES)))
            self._rescale(_CYCLE, self._raw[None, _CYCLE], gains)

    def observe_jump(self, outcome: JumpOutcome) -> None:
        """Take in what became of a proposal; the features move with the next full step."""
        self._jumps.observe(outcome, self._steps.noise)
        self._has_jumped = True

    def raw(self) -> FloatArray:
        """The features (64,) in their own units."""
        return self._raw.copy()

    def _count(self, moved: str, num_moves: int) -> FloatArray:
        """Count moves of these features; the weights (n,) that they have in running means and variances."""
        count = self._num_moves[moved]
        self._num_moves[moved] = count + num_moves
        return 1 / np.minimum(_MEMORY, np.arange(count + 1, count + 1 + num_moves))

    def _step_gains(self, num_steps: int) -> FloatArray:
        """Weights (n, 49) of full steps; 0 for what does not move."""
        gains = np.zeros((num_steps, _OFTEN.stop))
        gains[:, _STEP] = self._count("step", num_steps)[:, None]
        if self._has_jumped:
            gains[:, _JUMP] = self._count("jump", num_steps)[:, None]
        gains[:, _LOG_STEP] = 0.0
        return gains

    def _rescale(self, part: slice, raw: FloatArray, gains: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Means and variances (n, w) after each row (n, w), with exponential weights (Finch 2009)."""
        before = self._means[part]
        means = ema_scan(before, raw, gains)
        deviations = raw - np.concatenate((before[None], means[:-1]))
        variances = _scaled_sums(self._variances[part], gains * deviations * deviations, 1 - gains)
        self._means[part], self._variances[part] = means[-1], variances[-1]
        return means, variances


def _scaled_sums(start: FloatArray, terms: FloatArray, factors: FloatArray) -> FloatArray:
    """The sums after each row (n, w): add the term, then multiply by the factor."""
    sums, before = np.empty_like(terms), start
    for term, factor, after in zip(terms, factors, sums, strict=True):
        np.add(before, term, after)
        np.multiply(after, factor, after)
        before = after
    return sums


def _standardised(raw: FloatArray, means: FloatArray, variances: FloatArray) -> FloatArray:
    return np.clip((raw - means) / np.sqrt(variances + _LEAST_VARIANCE), -_LIMIT, _LIMIT)
