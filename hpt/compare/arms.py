"""What an arm of a comparison is: one way to train, with the part that it plays.

    baseline     the workload's own optimizer (AdamW; momentum SGD on `regression`), or the first one that was named,
                 with a decaying schedule, tuned
    peer         another inner optimizer by itself, tuned with as many trials
    method       something a claim may be made for; tuned with as many trials as the baseline
    control      does less than a method, or what a method may secretly be: it must lose to the method
    ablation     the default without one of its parts
    calibration  an arm whose true ratio is known; the harness is right when it finds that ratio

Recipes are relative: a method starts from its own tuned settings, a control from those of the arm it shadows. Every arm
exists on every inner optimizer (`Arm.on`); what is on another one than the baseline's has that in its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from hpt.compare.cells import Recipe
from hpt.optimizers.catalogue import OWN

BASELINE = "baseline"
DISJOINT_SEEDS = 10_000  # added to a seed, it gives one that no other arm uses
WITHOUT = "without-"  # begins the name of an ablation
ON_EACH = (BASELINE, "hybrid")
"""What runs on every inner optimizer that is compared; everything else runs on the best."""
SIMPLER = ("nesterov", "unlearned", "never")
"""What a learned method must beat for learning to pay: the fixed rule, the same without its models, no jump at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to train.

    Attributes:
        name: as users call it.
        role: baseline, peer, method, control, ablation or calibration.
        what: one line for tables and help.
        config: trainer settings, the predictor first.
        changes: fields of the recipe that differ from the tuned ones.
        lr_factor: on the tuned learning rate.
        steps_frac: length trained over the length claimed.
        relabels: its work, too, is counted as that of the length claimed.
        disjoint: trains on seeds of its own.
        like: arm whose tuned settings it uses; itself for baseline and methods.
        known_ratio: the true ratio of a calibration.
        optimizer: inner optimizer by name.
    """

    name: str
    role: str
    what: str
    config: Mapping[str, Any] = field(default_factory=lambda: {"predictor": "none"})
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lr_factor: float = 1.0
    steps_frac: float = 1.0
    relabels: bool = False
    disjoint: bool = False
    like: str = BASELINE
    known_ratio: float | None = None
    optimizer: str = OWN

    @property
    def is_tuned(self) -> bool:
        """Its learning rate and schedule are searched for it; other arms use those of the arm `like`."""
        return self.like == self.name

    def recipe(self, tuned: Recipe) -> Recipe:
        """The complete recipe, from the tuned settings of the arm `like`."""
        own = {"config": dict(self.config), "optimizer": self.optimizer}
        return replace(tuned, lr_factor=tuned.lr_factor * self.lr_factor, **{**own, **self.changes})

    def on(self, optimizer: str, reference: str) -> Self:
        """The same on an inner optimizer; `reference` is the baseline's, whose arms have no optimizer in their name."""
        if optimizer == reference:
            return replace(self, optimizer=optimizer)
        named = {one: optimizer if one == BASELINE else f"{one}-{optimizer}" for one in (self.name, self.like)}
        is_alone = self.name == BASELINE
        return replace(
            self,
            name=named[self.name],
            like=named[self.like],
            role="peer" if is_alone else self.role,
            what=f"{optimizer} by itself" if is_alone else f"{self.what}, on {optimizer}",
            optimizer=optimizer,
        )

    def on_reference(self, name: str) -> str:
        """What an arm on this one's optimizer is called on the reference: its name without the optimizer."""
        return name.removesuffix(f"-{self.optimizer}")

    def claimed_work(self, work: float) -> float:
        """Full-step equivalents, gradient evaluations or seconds it is charged for, given those it took."""
        return work / self.steps_frac if self.relabels else work

    def trained_steps(self, steps: int) -> int:
        """Updates it makes where the others make `steps`."""
        return max(1, round(self.steps_frac * steps))

    def trained_seed(self, seed: int) -> int:
        """Seed it trains on in the pair `seed`."""
        return seed + DISJOINT_SEEDS if self.disjoint else seed
