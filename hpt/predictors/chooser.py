"""Which policy a run plays, by what it is worth: prior, forks of this run, and the rule of `control.value`.

The belief of every cycle is the value model's, revised by each fork of this run in turn, less what jumps cost by
themselves. Where the largest mean is not positive nothing jumps. A fork is asked for when what it may change is worth
more than the steps of its losing branch, within the budget; its branches end inside the window. Where a fork was
dropped (its batches cannot be had again, or are too large) no further one is asked for.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hpt.config import HybridConfig
from hpt.control.value import Prospect, best_fork, best_policy
from hpt.history import FloatArray, StepStats
from hpt.jump.policy import NONE, POLICIES
from hpt.jump.stats import CycleStats
from hpt.learned.belief import Belief
from hpt.learned.confidence import Calibrator, Reliability
from hpt.learned.forecast_model import Vector
from hpt.learned.loss_curve import LossCurve
from hpt.learned.prior import fork_reading
from hpt.learned.value_models import ValueModel
from hpt.numerics.stateful import Stateful
from hpt.predictors.protocol import ForkOutcome, ForkRequest
from hpt.records import DecisionRecord

NAMES = tuple(POLICIES)
PRIOR_RATE = 0.5  # of a positive value, before the calibration has seen any


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a fork of this run said of a policy.

    Attributes:
        step: net updates at the fork.
        policy: name.
        value: loss saved a jump; -inf for a branch that broke down.
        value_se: its standard error.
        worth: log work ratio over a whole window that it stands for.
        variance: of the error of that.
        probability: that the value is positive, as it was stated before.
    """

    step: int
    policy: str
    value: float
    value_se: float
    worth: float
    variance: float
    probability: float


class PolicyChooser(Stateful):
    """Plays, forks, learns.

    Args:
        config: of the run.
        model: says what the policies are worth before this run's forks.
        window: first and last progress at which jumps are wanted.
        jump_cost: of one jump, in full steps.

    Attributes:
        measurements: of this run's forks.
        decisions: each that differed from the one before, or came after a fork.
    """

    _state = ("model", "_curve", "_calibrator", "_reliability", "_spent_steps", "_open", "_gives_up")

    def __init__(
        self, config: HybridConfig, model: ValueModel, window: tuple[float, float], jump_cost: float = 0.0
    ) -> None:
        self.model = model
        self.measurements: list[Measurement] = []
        self.decisions: list[DecisionRecord] = []
        self._config, self._window = config, window
        self._cost = jump_cost * (window[1] - window[0]) / config.cycle_steps  # of a whole window, in runs
        self._reading = fork_reading()
        self._curve = LossCurve()
        self._calibrator, self._reliability = Calibrator(PRIOR_RATE), Reliability()
        self._spent_steps = 0
        self._open = self._gives_up = False  # a fork was asked for; one was dropped, and so would others be

    def observe(self, steps: StepStats, features: Vector, actions: Vector) -> None:
        """Take in the full steps of a cycle, and their ticks: features (n, 64), the actions (n, 3) that led there."""
        self._curve.observe(steps)
        self.model.tick(features, actions)

    def belief(self, features: FloatArray) -> Belief:
        """What the policies are worth beyond their cost, given the run's features (64,) as they are, and its forks."""
        belief = self.model.belief(features)
        for one in self.measurements:
            belief = belief.revised(NAMES.index(one.policy), one.worth, one.variance)
        return belief.less(self._cost)

    def choose(self, stats: CycleStats, features: FloatArray) -> str | ForkRequest:
        """The policy to play now, or a fork."""
        belief = self.belief(features)
        self._gives_up = self._gives_up or self._open
        request = None if self._gives_up else self._fork(belief, stats)
        self._open = request is not None
        if request is not None:
            self._spent_steps += request.work(stats.num_steps)
            return request
        return self._play(stats, belief)

    def _play(self, stats: CycleStats, belief: Belief) -> str:
        """The policy of the largest mean, or none, as a decision that is kept."""
        place = best_policy(belief)
        policy = NONE if place is None else NAMES[place]
        self._note(stats, policy, belief)
        return policy

    def confidence(self, features: FloatArray) -> float:
        """Calibrated probability that the policy of the largest mean is worth more than nothing."""
        belief = self.belief(features)
        return self._calibrator.calibrated(belief.probability_positive(int(belief.mean.argmax())))

    def _fork(self, belief: Belief, stats: CycleStats) -> ForkRequest | None:
        """A fork over one policy, where one pays."""
        total, fall = self._config.total_steps, self._curve.fall()
        if total is None or stats.progress is None or fall is None or fall <= 0.0:
            return None
        reading = self._reading
        request = ForkRequest(NAMES[:1], reading.num_jumps, reading.settle_steps)
        steps = request.num_steps(stats.num_steps)
        left, after = self._share_left(stats.progress), self._share_left(stats.progress + steps / total)
        within = self._spent_steps + request.work(stats.num_steps) <= self._config.value.fork_budget_frac * total
        if not within or after <= 0.0:
            return None
        found = best_fork(belief, left, [self._prospect(place, steps / total, after) for place in range(len(NAMES))])
        return None if found is None else ForkRequest((NAMES[found[0]],), reading.num_jumps, reading.settle_steps)

    def _prospect(self, place: int, cost: float, share_after: float) -> Prospect:
        return Prospect(self._reading.expected_variance(place), cost, share_after)

    def _share_left(self, progress: float) -> float:
        """Of the window, what is left of it."""
        start, end = self._window
        return min(1.0, max(0.0, (end - progress) / (end - start)))

    def settle(self, outcome: ForkOutcome, features: FloatArray) -> str:
        """Learn what a fork measured; the policy that goes on.

        Args:
            outcome: of the fork.
            features: as they were when it was asked for.
        """
        self._open = False
        for policy, measured in outcome.values.items():
            place = NAMES.index(policy)
            raw = self.belief(features).probability_positive(place)
            stated = self._calibrator.calibrated(raw)
            self._reliability.add(stated, measured.value > 0.0)
            self._calibrator.observe(raw, measured.value > 0.0)
            worth, variance = self._worth(place, measured.value, measured.value_se, outcome.stats)
            self.measurements.append(
                Measurement(outcome.step, policy, measured.value, measured.value_se, worth, variance, stated)
            )
        return self._play(outcome.stats, self.belief(features))

    def _worth(self, place: int, value: float, value_se: float, stats: CycleStats) -> tuple[float, float]:
        """Log work ratio that a measured value stands for, and the variance of its error."""
        if not math.isfinite(value):
            return -1.0, 1e-6  # a branch that broke down: certainly worse than a run of a third of the length
        total, fall = self._config.total_steps, self._curve.fall()
        assert total is not None, "a fork needs a run of known length"
        assert fall is not None, "a fork needs a loss curve"
        start, end = self._window
        num_jumps = (end - start) * total / stats.num_steps
        return self._reading.worth(place, value, value_se, num_jumps / fall)

    def _note(self, stats: CycleStats, policy: str, belief: Belief) -> None:
        """Keep a decision that differs from the one before or follows a fork."""
        forked = bool(self.measurements) and (
            not self.decisions or self.decisions[-1].step < self.measurements[-1].step
        )
        if self.decisions and self.decisions[-1].policy == policy and not forked:
            return
        means, sds = (dict(zip(NAMES, map(float, row), strict=True)) for row in (belief.mean, _sds(belief)))
        why = self._why(policy, means, sds)
        self.decisions.append(DecisionRecord(stats.step, stats.progress, policy, means, sds, why))

    def _why(self, policy: str, means: Mapping[str, float], sds: Mapping[str, float]) -> str:
        """One sentence: where the belief comes from, and what it is about the policy, or the best one if none pays."""
        best = max(means, key=lambda name: means[name])
        played = "no jumps" if policy == NONE else policy
        forks = "".join(
            f"; fork at update {one.step}: {one.policy} {one.value:+.4f} +- {one.value_se:.4f} a jump"
            for one in self.measurements
        )
        worth = f"{best} is worth {means[best]:+.3f} +- {sds[best]:.3f} in log work ratio"
        return f"{played}: {self.model.basis}{forks}; {worth}"

    def summary(self) -> dict[str, Any]:
        """What was believed, measured and played, and how calibrated the confidence was."""
        return {
            "model": self.model.name,
            "prior": self.model.describe(),
            "measurements": [_finite(asdict(one)) for one in self.measurements],
            "decisions": [asdict(one) for one in self.decisions],
            "confidence": self._reliability.summary(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        lists = {name: [asdict(one) for one in getattr(self, name)] for name in ("measurements", "decisions")}
        return {**super().state_dict(), **lists}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self.measurements = [Measurement(**one) for one in state["measurements"]]
        self.decisions = [DecisionRecord(**one) for one in state["decisions"]]


def _sds(belief: Belief) -> list[float]:
    return [belief.sd(place) for place in range(len(belief.mean))]


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers that are not finite are not known."""
    return {key: None if isinstance(one, float) and not math.isfinite(one) else one for key, one in values.items()}
