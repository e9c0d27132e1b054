"""The state of a training run as 64 numbers, all live, each on its own running scale.

Nothing here reads a clock or free memory, so a run repeats bit for bit. Every feature moves in an ordinary
run, no two have the same ranks, and one only, `log_step`, creeps one way all run long. Averages are
exponential with their time scale in steps in the name; "noise" is the standard deviation of the loss noise;
d is the displacement over a cycle, E its average over cycles; "short" and "long" are the smallest and
largest time scale of E. The last column says when a feature moves. What stands in with one scale, one or
two groups: `step_features`, `cycle_features`.

    name                 meaning                                                                       moves
    loss                 loss of the step                                                              step
    loss_now_2           loss minus its average of scale 2, in noise                                   step
    loss_2_4             average of scale 2 minus that of scale 4, in noise                            step
    loss_4_8             scale 4 minus 8, in noise                                                     step
    loss_8_16            scale 8 minus 16, in noise                                                    step
    loss_16_32           scale 16 minus 32, in noise                                                   step
    loss_32_64           scale 32 minus 64, in noise                                                   step
    loss_64_128          scale 64 minus 128, in noise                                                  step
    loss_128_256         scale 128 minus 256, in noise                                                 step
    loss_above_low       average of scale 4 minus the lowest loss so far, in noise                     step
    loss_since_low       log of 1 + steps since the lowest loss                                        step
    loss_rank            rank of the loss among the last 64, in (0, 1)                                 step
    loss_streak          losses in a row above (+) or below (-) the average of scale 16                step
    loss_falls           average (scale 32) of the sign of the loss's fall                             step
    loss_spread_8        log ratio of the noise's standard deviation, scale 8 to 64                    step
    loss_spread_32       the same, scale 32 to 128                                                     step
    loss_noise           log of noise / |loss|                                                         step
    loss_skew            mean cube of the loss noise, in noise cubed                                   step
    loss_acf_1           autocorrelation of the loss noise at lag 1                                    step
    loss_acf_2           at lag 2                                                                      step
    loss_acf_4           at lag 4                                                                      step
    grad                 log of the gradient norm                                                      step
    grad_now_2           that minus its average of scale 2                                             step
    grad_2_8             scale 2 minus 8                                                               step
    grad_8_32            scale 8 minus 32                                                              step
    grad_32_128          scale 32 minus 128                                                            step
    grad_rank            rank of the gradient norm among the last 64, in (0, 1)                        step
    grad_spread_16       log ratio of the standard deviation of its log, scale 16 to 64                step
    grad_spread          log of that standard deviation, scale 64 (about the coefficient of variation) step
    grad_acf_1           autocorrelation of the log norm's noise at lag 1                              step
    grad_loss            correlation of loss noise and log norm's noise                                step
    grad_loss_lag        correlation of loss noise with the norm's of the step before                  step
    group_fast           log ratio of the first two groups' gradient norms minus its average           step
    group_slow           that average, scale 16, minus the one of scale 128                            step
    group_spread         log of the ratio's standard deviation                                         step
    group_loss           correlation of the ratio's noise with the loss noise                          step
    group_other          log ratio of the third group to the second, scale 16                          step
    log_step             log of 1 + optimizer updates                                                  step
    lr_grad              log of learning rate x gradient norm, scale 2                                 step
    lr_grad_change       that minus its average of scale 64                                            step
    noise_per_grad       log of noise / gradient norm                                                  step
    trend_strength       log of |average of scale 16 minus that of 64| in noise                        step
    descent_per_grad     fall of the loss (those two) per learning rate x gradient norm                step
    jump_recency         exp(-cycles since the last jump; before it, since the cycle's start)          step
    jump_settling        loss (scale 4) minus its level (16) back then, in noise                       step
    jump_size            |jump| / |d| of the last kept jump                                            jump
    jump_effect          loss after it minus before, in noise                                          jump
    jump_gain            gains of all kept jumps, forgotten over two cycles                            step
    jump_verdicts        sizes of the good jumps minus those of the bad, forgotten over eight cycles   step
    short_angle          cosine of d and the short E                                                   cycle
    short_size           log of |E| / |d|                                                              cycle
    short_lagged_angle   cosine of d and the short E before this cycle                                 cycle
    short_coherence      mean cosine between the displacements averaged in the short E                 cycle
    long_angle           cosine of d and the long E                                                    cycle
    long_size            log of |E| / |d|                                                              cycle
    long_lagged_angle    cosine of d and the long E before this cycle                                  cycle
    long_coherence       mean cosine between the displacements averaged in the long E                  cycle
    trend_angle          cosine of the short and the long E                                            cycle
    displacement_growth  log of |d| per learning rate minus that of the cycle before                   cycle
    displacement_speed   log of |d| / |weights| per learning rate                                      cycle
    lagged_angle_slow    short_lagged_angle averaged over ten cycles                                   cycle
    group_displacement   log ratio of the first two groups' |d|                                        cycle
    group_trend          difference of the first two groups' lagged angles                             cycle
    cycle_loss           mean loss of the cycle minus that of the one before, in noise                 cycle

A feature is centred and scaled by its running mean and standard deviation over the last 1000 or so of its
moves and clipped to +-5; before its first move it is 0. `log_step` has a fixed scale, for its own
statistics would cancel it: log t stands one standard deviation above its mean over 1..t at any t.
"""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt.learned.cycle_features import CYCLE_NAMES, CycleFeatures
from hpt.learned.facts import CycleFacts, FloatArray, JumpOutcome, StepFacts
from hpt.learned.jump_features import JUMP_NAMES, JumpFeatures
from hpt.learned.step_features import STEP_NAMES, StepFeatures

FEATURE_NAMES = STEP_NAMES + JUMP_NAMES + CYCLE_NAMES
NUM_FEATURES = len(FEATURE_NAMES)

_STEP = slice(0, len(STEP_NAMES) + 2)  # the first two of the jump features move from the start
_JUMP = slice(_STEP.stop, len(STEP_NAMES) + len(JUMP_NAMES))
_OFTEN = slice(0, _JUMP.stop)  # what may move with every step
_CYCLE = slice(_JUMP.stop, NUM_FEATURES)
_UPPER = np.full(NUM_FEATURES, 5.0)  # standard deviations
_LOWER = -_UPPER
_MEMORY = 1000  # moves
_WARMUP_STEPS = 8  # until then logarithms of averages that hold next to nothing would set the scale
_LOG_STEP = FEATURE_NAMES.index("log_step")
_LOG_STEP_MEAN, _LOG_STEP_STD = 6.0, 2.0  # puts 1 .. 100,000 steps between -2.7 and 2.8
_LEAST_VARIANCE = np.full(NUM_FEATURES, 1e-24)


class FeatureEncoder:
    """The 64 features of a run.

    Args:
        num_groups: parameter groups of the optimizer.
        scales: decays mu of the trajectory's averages over cycles, at least one above 0.
        cycle_steps: K, full steps in a cycle.

    Raises:
        ConfigError: no time scale above 0.
    """

    def __init__(self, num_groups: int, scales: tuple[float, ...], cycle_steps: int) -> None:
        self._steps = StepFeatures(num_groups)
        self._jumps = JumpFeatures(cycle_steps)
        self._cycles = CycleFeatures(num_groups, scales)
        self._num_moves = {"step": 0, "jump": 0, "cycle": 0}
        self._has_jumped = False
        self._rows = np.zeros((5, NUM_FEATURES))
        self._raw, self._means, self._variances, self._gains, self._keeps = self._rows
        self._work = tuple(np.zeros((2, NUM_FEATURES)))
        self._often = _Part(self._rows[:, _OFTEN])
        self._rarely = _Part(self._rows[:, _CYCLE])
        self._means[_LOG_STEP], self._variances[_LOG_STEP] = _LOG_STEP_MEAN, _LOG_STEP_STD**2
        self._keeps[:] = 1.0

    def observe_step(self, facts: StepFacts) -> None:
        """Take in one full step."""
        steps = self._steps
        steps.observe(facts)
        self._jumps.observe_step(facts, steps.level_before, steps.fast_loss, steps.noise)
        self._cycles.observe_step(facts.loss, facts.lr_frac)
        self._often.set((*steps.values, *self._jumps.values))
        if steps.history.num_steps > _WARMUP_STEPS:
            self._count("step", _STEP)
            if self._has_jumped:
                self._count("jump", _JUMP)
            self._often.rescale()

    def observe_cycle(self, facts: CycleFacts) -> None:
        """Take in a finished cycle."""
        self._cycles.observe(facts, self._steps.noise)
        if facts.cycle > 1:
            self._rarely.set(self._cycles.values)
            self._count("cycle", _CYCLE)
            self._rarely.rescale()

    def observe_jump(self, outcome: JumpOutcome) -> None:
        """Take in what became of a proposal; the features move with the next full step."""
        self._jumps.observe(outcome, self._steps.noise)
        self._has_jumped = True

    def vector(self) -> NDArray[np.float32]:
        """The features (64,), each in standard deviations from its running mean, within +-5; 0 for eight steps."""
        if not self._num_moves["step"]:
            return np.zeros(NUM_FEATURES, dtype=np.float32)
        stds, scaled = self._work
        np.add(self._variances, _LEAST_VARIANCE, stds)
        np.sqrt(stds, stds)
        np.subtract(self._raw, self._means, scaled)
        np.divide(scaled, stds, scaled)
        np.minimum(scaled, _UPPER, out=scaled)
        np.maximum(scaled, _LOWER, out=scaled)
        return scaled.astype(np.float32)

    def raw(self) -> FloatArray:
        """The features (64,) in their own units."""
        return self._raw.copy()

    def _count(self, moved: str, part: slice) -> None:
        """Count a move of these features and set the weight it has in their running means and variances."""
        count = self._num_moves[moved] + 1
        self._num_moves[moved] = count
        if count <= _MEMORY:
            self._gains[part] = 1 / count
            self._keeps[part] = 1 - 1 / count
            self._gains[_LOG_STEP], self._keeps[_LOG_STEP] = 0.0, 1.0

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {
            "steps": self._steps.state_dict(),
            "jumps": self._jumps.state_dict(),
            "cycles": self._cycles.state_dict(),
            "num_moves": dict(self._num_moves),
            "has_jumped": self._has_jumped,
            "rows": self._rows.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._steps.load_state_dict(state["steps"])
        self._jumps.load_state_dict(state["jumps"])
        self._cycles.load_state_dict(state["cycles"])
        self._num_moves = {name: int(count) for name, count in state["num_moves"].items()}
        self._has_jumped = bool(state["has_jumped"])
        self._rows[:] = state["rows"]


class _Part:
    """Features that move together: views (5, n) of raw values, means, variances, gains and 1 - gains."""

    def __init__(self, rows: FloatArray) -> None:
        self._raw, self._means, self._variances, self._gains, self._keeps = rows
        self._deviations, self._moves = np.zeros((2, rows.shape[1]))
        self._buffer = self._raw.data
        self._pack = struct.Struct(f"{rows.shape[1]}d").pack_into  # half the time of assigning a tuple to a slice

    def set(self, values: tuple[float, ...]) -> None:
        """Replace the raw values."""
        self._pack(self._buffer, 0, *values)

    def rescale(self) -> None:
        """Update means and variances by the raw values, with exponential weights (Finch 2009)."""
        deviations, moves = self._deviations, self._moves
        np.subtract(self._raw, self._means, deviations)
        np.multiply(self._gains, deviations, moves)
        self._means += moves
        moves *= deviations
        self._variances += moves
        self._variances *= self._keeps
