"""The arms of a comparison: the tuned baseline, the methods, the controls that methods must beat, and calibrations.

    baseline     the workload's own optimizer (AdamW; momentum SGD on `regression`), or the first one that was named,
                 with a decaying schedule, tuned
    peer         another inner optimizer by itself, tuned with as many trials
    method       something a claim may be made for; tuned with as many trials as the baseline
    control      does less than a method, or what a method may secretly be: it must lose to the method
    calibration  an arm whose true ratio is known; the harness is right when it finds that ratio

Recipes are relative: a method starts from its own tuned settings, a control from those of the arm it shadows. Every arm
exists on every inner optimizer (`Arm.on`); what is on another one than the baseline's has that in its name.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from hpt.compare.cells import Recipe
from hpt.errors import UsageError
from hpt.optimizers.catalogue import OWN

BASELINE = "baseline"
DISJOINT_SEEDS = 10_000  # added to a seed, it gives one that no other arm uses
# Mean |jump| over |displacement of the last cycle| of the default preset: .58 to .75, by workload. A boost by as much
# again over the window in which it jumps walks a path of about equal length.
JUMP_RATIO = 0.67
FEWER_FRAC = 0.8  # what is left of a run that counts a fifth of its steps as predicted and does not make them
TAIL = {"ema_decay": 0.99}
# A fork in the middle of a run says less: its branch without the jump lives on the jumps before it.
FIRST_JUMP = {"predict": {"window_start_frac": 0.333}, "fork": {"budget_frac": 0.05, "at_fracs": [0.3333]}}
# Only the last planned update lies in this window, and after it nothing is called: the trainer observes, learns and
# forecasts as always, and its weights are the plain loop's.
NO_JUMPS = {"window_start_frac": 1.0 - 1e-6, "window_end_frac": 1.0}
PREDICTORS_ALONE = ("ema_nesterov", "lookahead", "mlp", "linear", "ridge")
PLANTED_RATIO = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to train.

    Attributes:
        name: as users call it.
        role: baseline, peer, method, control or calibration.
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
        """It gets tuning trials of its own."""
        return self.like == self.name

    def recipe(self, tuned: Recipe) -> Recipe:
        """How it trains, given the tuned settings of `like`."""
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

    def claimed_work(self, work: float) -> float:
        """Full-step equivalents, gradient evaluations or seconds it is charged for, given those it took."""
        return work / self.steps_frac if self.relabels else work

    def trained_steps(self, steps: int) -> int:
        """Updates it makes where the others make `steps`."""
        return max(1, round(self.steps_frac * steps))

    def trained_seed(self, seed: int) -> int:
        """Seed it trains on in the pair `seed`."""
        return seed + DISJOINT_SEEDS if self.disjoint else seed


def _baseline() -> list[Arm]:
    return [Arm(name=BASELINE, role="baseline", what="the workload's own optimizer with decay", like=BASELINE)]


def _methods() -> list[Arm]:
    def shadow(name: str, what: str, **changed: Any) -> Arm:
        return Arm(name=name, role="method", what=what, like="hybrid", **changed)

    arms = [
        shadow("hybrid", "the trainer as it comes (rssm)", config={}),
        shadow("unlearned", "hybrid without learned models", config={"learner": {"enabled": False}}),
        shadow("hybrid-ema", "hybrid, weights averaged at the end", config={}, changes=TAIL),
        shadow("first-jump", "hybrid from a third of the run on, its first jump forked", config=FIRST_JUMP),
    ]
    fixed: dict[str, tuple[str, dict[str, Any]]] = {
        "nesterov": ("fixed preset orthogonal, the default", {"predictor": "nesterov"})
    }
    for preset in ("ramp", "short", "long"):
        config = {"predictor": "nesterov", "predict": {"preset": preset}}
        fixed[f"nesterov-{preset}"] = (f"fixed preset {preset}", config)
    fixed |= {name: (f"predictor {name}", {"predictor": name}) for name in PREDICTORS_ALONE}
    arms += [
        Arm(name=name, role="method", what=what, config=config, like=name) for name, (what, config) in fixed.items()
    ]
    return arms


def _controls() -> list[Arm]:
    arms = [
        Arm(
            name="never",
            role="control",
            what="hybrid, observing and learning, without a jump",
            config={"predict": NO_JUMPS},
            like="hybrid",
        ),
        Arm(name="frozen", role="control", what="jumps that move nothing", config={"predictor": "frozen"}),
        Arm(name="random", role="control", what="jumps in a random direction", config={"predictor": "random"}),
        Arm(name="fewer-steps", role="control", what=f"{FEWER_FRAC:g} T steps, called T", steps_frac=FEWER_FRAC),
        Arm(
            name="lr-boost",
            role="control",
            what=f"learning rate x {1 + JUMP_RATIO:g} where jumps are allowed",
            changes={"boost": 1.0 + JUMP_RATIO},
        ),
        Arm(name="constant-lr", role="control", what="no decay", changes={"shape": "constant"}),
        Arm(name="baseline-ema", role="control", what="baseline, weights averaged at the end", changes=TAIL),
    ]
    return arms + [
        Arm(name=f"lr-x{factor:g}", role="control", what=f"learning rate x {factor:g}", lr_factor=factor)
        for factor in (1.25, 1.5, 2.0)
    ]


def _calibrations() -> list[Arm]:
    return [
        Arm(name="self", role="calibration", what="baseline on other seeds", disjoint=True, known_ratio=1.0),
        Arm(
            name="planted",
            role="calibration",
            what=f"baseline on other seeds with {PLANTED_RATIO:g} T steps, called T",
            steps_frac=PLANTED_RATIO,
            relabels=True,
            disjoint=True,
            known_ratio=PLANTED_RATIO,
        ),
        Arm(
            name="boost-as-method",
            role="calibration",
            what="the boosted learning rate, posing as a method",
            changes={"boost": 1.0 + JUMP_RATIO},
        ),
    ]


ARMS: dict[str, Arm] = {arm.name: arm for arm in [*_baseline(), *_methods(), *_controls(), *_calibrations()]}
CALIBRATIONS = tuple(name for name, arm in ARMS.items() if arm.role == "calibration")
SIMPLER = ("nesterov", "unlearned", "never")
"""What a learned method must beat for learning to pay: the fixed rule, the same without its models, no jump at all."""
STANDARD = ("hybrid", *SIMPLER, "nesterov-short", "fewer-steps", "frozen", "random", "lr-x1.25", "lr-boost")
QUICK = ("hybrid", "frozen", "lr-boost")
SEVERAL = ("hybrid", "never", "fewer-steps", "lr-boost")
"""Where inner optimizers are compared: `ON_EACH` on each of them, the others on the best."""
ON_EACH = (BASELINE, "hybrid")


def arms_of(names: str | None, default: tuple[str, ...]) -> list[Arm]:
    """Arms from a comma-separated list, the baseline first and always there.

    "all" stands for every method and control; "standard", "quick", "several" and "calibration" for theirs.

    Raises:
        UsageError: an arm is unknown.
    """
    groups: dict[str, tuple[str, ...]] = {
        "all": tuple(name for name, arm in ARMS.items() if arm.role != "calibration"),
        "standard": STANDARD,
        "quick": QUICK,
        "several": SEVERAL,
        "calibration": CALIBRATIONS,
    }
    wanted: dict[str, None] = {BASELINE: None}
    for part in default if names is None else [one.strip() for one in names.split(",") if one.strip()]:
        wanted.update(dict.fromkeys(groups.get(part, (part,))))
    for name in wanted:
        if name not in ARMS:
            near = difflib.get_close_matches(name, ARMS, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(ARMS)}"
            raise UsageError(f"--arms names {name!r}, which is no arm; {hint}")
    return [ARMS[name] for name in wanted]
