"""The arms that there are: the tuned baseline, methods, the controls that they must beat, ablations and calibrations.

What each part means is told in `arms`. An ablation is the default without one of its parts, at its own tuned settings:
one that does as well says that its part can go.
"""

import difflib
from typing import Any

from hpt.compare.arms import BASELINE, SIMPLER, WITHOUT, Arm
from hpt.errors import UsageError
from hpt.jump.policy import POLICIES

# Mean |jump| over |displacement of the last cycle| of the default preset: .58 to .75, by workload. A boost by as much
# again over the window in which it jumps walks a path of about equal length.
JUMP_RATIO = 0.67
FEWER_FRAC = 0.8  # what is left of a run that counts a fifth of its steps as predicted and does not make them
TAIL = {"ema_decay": 0.99}
# Only the last planned update lies in this window, and after it nothing is called: the trainer observes, learns and
# forecasts as always, and its weights are the plain loop's.
NO_JUMPS = {"window_start_frac": 1.0 - 1e-6, "window_end_frac": 1.0}
FULL = "full"  # what the fixed rule plays by itself
PREDICTORS_ALONE = ("ema_nesterov", "lookahead", "mlp", "linear", "ridge")
PLANTED_RATIO = 1.3
LEAVE_ONE_OUT = "leave-one-out"
_REMOVED: dict[str, tuple[str, dict[str, Any]]] = {
    "pull-back": ("nothing of the last displacement is taken back", {"predict": {"preset": "no-pull-back"}}),
    "ramp": ("the gain does not fall over the run", {"predict": {"preset": "no-ramp"}}),
    "orthogonal": ("jumps along the trend as it is", {"predict": {"preset": "not-orthogonal"}}),
    "window": (
        "jumps from the first cycles to the last update",
        {"predict": {"window_start_frac": 0.0, "window_end_frac": 1.0}},
    ),
    "cycle-length": ("K = 30 whatever the length of the run", {"full_steps": 30}),
    "probe": (
        "no jump is undone for its loss, at once or in CORRECT",
        {"probe": {"budget_frac": 0.0, "max_rise_frac": 10.0, "band_sigmas": 50.0}},
    ),
    "gate": ("whatever is proposed is done", {"gate": "always"}),
}


def _baseline() -> list[Arm]:
    return [Arm(name=BASELINE, role="baseline", what="the workload's own optimizer with decay", like=BASELINE)]


def _methods() -> list[Arm]:
    def shadow(name: str, what: str, **changed: Any) -> Arm:
        return Arm(name=name, role="method", what=what, like="hybrid", **changed)

    arms = [
        shadow("hybrid", "the trainer as it comes (rssm)", config={}),
        shadow("unlearned", "hybrid without learned models: prior and forks", config={"learner": {"enabled": False}}),
        shadow("hybrid-ema", "hybrid, weights averaged at the end", config={}, changes=TAIL),
        shadow("no-forks", "hybrid by its prior alone", config={"value": {"fork_budget_frac": 0.0}}),
        shadow("attached", "hybrid by hpt.attach in a loop by hand", config={}, changes={"loop": "attached"}),
        shadow(
            "attached-silent",
            "the same in a loop that shows no losses",
            config={"predictor": "prior"},
            changes={"loop": "silent"},
        ),
    ]
    fixed: dict[str, tuple[str, dict[str, Any]]] = {
        "nesterov": ("fixed preset orthogonal at its full gain, norms free", {"predictor": "nesterov"})
    }
    for policy in (one for one in POLICIES if one != FULL):
        config = {"predictor": "nesterov", "predict": {"policy": policy}}
        fixed[f"always-{policy}"] = (f"the same with policy {policy}", config)
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


def _ablations() -> list[Arm]:
    return [
        Arm(name=f"{WITHOUT}{part}", role="ablation", what=what, config=config, like="hybrid")
        for part, (what, config) in _REMOVED.items()
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


ARMS: dict[str, Arm] = {
    arm.name: arm for arm in [*_baseline(), *_methods(), *_controls(), *_ablations(), *_calibrations()]
}
CALIBRATIONS = tuple(name for name, arm in ARMS.items() if arm.role == "calibration")
ABLATIONS = tuple(name for name, arm in ARMS.items() if arm.role == "ablation")
STANDARD = ("hybrid", *SIMPLER, "nesterov-short", "fewer-steps", "frozen", "random", "lr-x1.25", "lr-boost")
QUICK = ("hybrid", "frozen", "lr-boost")
ALONE_AND_ABLATED = ("hybrid", "never", LEAVE_ONE_OUT)
SEVERAL = ("hybrid", "never", "fewer-steps", "lr-boost")
"""Where inner optimizers are compared: `ON_EACH` on each of them, the others on the best."""


def arms_of(names: str | None, default: tuple[str, ...]) -> list[Arm]:
    """Arms from a comma-separated list, the baseline first and always there.

    "all" stands for every method and control; "standard", "quick", "several", "calibration" and "leave-one-out" for
    theirs.

    Raises:
        UsageError: an arm is unknown.
    """
    groups: dict[str, tuple[str, ...]] = {
        "all": tuple(name for name, arm in ARMS.items() if arm.role not in ("calibration", "ablation")),
        "standard": STANDARD,
        "quick": QUICK,
        "several": SEVERAL,
        "calibration": CALIBRATIONS,
        LEAVE_ONE_OUT: ABLATIONS,
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
