"""The choices of the learned predictors: time scales times gain multipliers, and "none".

An arm is a time scale mu and a multiplier on the gain. The preset's own mu at multiplier 1 is the base arm; its other
multipliers scale the preset's gain. A time scale the preset does not use borrows the constants measured for one like
it (291 paired runs against a tuned AdamW): pull-back .25 and gain 2 for a slow one, as in `long`, .5 and 2 for a fast
one, as in `short`; both fall through the window as the preset's own gain falls, because every workload that was
measured wants less of it later.
"""

from dataclasses import dataclass

from hpt.learned.facts import CycleFacts
from hpt.predictors.nesterov import PRESETS, Nesterov, proposal_of
from hpt.predictors.protocol import Proposal

NONE = "none"
GAIN_MULTIPLIERS = (0.5, 1.0, 1.5)
SLOW_SCALE = 0.9  # half-way in log(1 - mu) between the measured .8 and .95


@dataclass(frozen=True, slots=True)
class Arm:
    """One time scale at one multiple of its gain."""

    mu: float
    multiplier: float

    @property
    def name(self) -> str:
        """Name under which the arm's value is learned."""
        return f"{self.mu:g}x{self.multiplier:g}"


class ArmSet:
    """Every arm around one base predictor.

    Args:
        base: the preset; its time scale at multiplier 1 is the base arm.
        scales: time scales to choose from; the base's own is added where it is missing.
    """

    def __init__(self, base: Nesterov, scales: tuple[float, ...]) -> None:
        self._base = base
        self.scales = tuple(sorted({*scales, base.preset.scale}))
        self.arms = tuple(Arm(mu, times) for mu in self.scales for times in GAIN_MULTIPLIERS)
        self._index = {arm.name: index for index, arm in enumerate(self.arms)}
        self.base_index = self._index[Arm(base.preset.scale, 1.0).name]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all choices; "none" is the last and has no index in `arms`."""
        return (*(arm.name for arm in self.arms), NONE)

    def index_of(self, name: str) -> int | None:
        """Place of an arm in `arms`; None for "none" and for names that are no arm."""
        return self._index.get(name)

    def coefficients(self, index: int, facts: CycleFacts) -> tuple[float, float, float]:
        """Pull-back a, gain g and time scale mu of one arm at this point of the run."""
        arm = self.arms[index]
        a, g, mu = self._base.coefficients(facts)
        if arm.mu != mu:
            start = self._base.preset.start[1][mu]
            borrowed = PRESETS["long" if arm.mu >= SLOW_SCALE else "short"]
            a, first_g = borrowed.start[0], borrowed.start[1][borrowed.scale]
            g = first_g * (g / start)
        return a, g * arm.multiplier, arm.mu

    def proposal(self, index: int, name: str, facts: CycleFacts, max_horizon: int) -> Proposal:
        """The jump of one arm, made by predictor `name`, within `max_horizon` full steps."""
        a, g, mu = self.coefficients(index, facts)
        trend = f"{self._base.preset.letter}{mu:g}"
        return proposal_of(name, a, g, trend, facts.num_steps, max_horizon, self.arms[index].name)
