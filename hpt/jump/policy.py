"""The choice that a run has: how far to jump, and whether the matrices keep their norms.

A policy is a share of the gain and the pull-back that a preset wants, played at the end of every cycle. With norms
kept each matrix is brought back to the norm it had, so that it turns and does not grow: with weight decay that is
decoupled and updates of a fixed size, longer weights turn more slowly for the rest of the run.
"""

from dataclasses import dataclass, replace

from hpt.jump.delta import WeightDelta


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to jump at the end of every cycle.

    Attributes:
        name: in records, tables and settings.
        gain_frac: of the preset's gain and pull-back; 0 is no jump.
        keeps_norm: each matrix is brought back to the norm it had.
    """

    name: str
    gain_frac: float
    keeps_norm: bool

    def delta(self, full: WeightDelta) -> WeightDelta:
        """What the policy makes of a preset's delta."""
        return replace(full.shortened(self.gain_frac), keeps_norm=self.keeps_norm)


NONE = "none"
POLICIES = {
    one.name: one
    for one in (
        Policy("quarter", 0.25, keeps_norm=False),
        Policy("quarter-kept", 0.25, keeps_norm=True),
        Policy("half", 0.5, keeps_norm=False),
        Policy("half-kept", 0.5, keeps_norm=True),
        Policy("full", 1.0, keeps_norm=False),
        Policy("full-kept", 1.0, keeps_norm=True),
    )
}
"""By name; `NONE` is always a choice, too."""
NUM_POLICIES = len(POLICIES)
