"""Inner optimizers by name: how each is built for a model from a peak learning rate, and what jumps need to know of it.

Rates are relative to AdamW's, so that a workload with one tuned rate has a place to start from for each of them. Decay
is decoupled where there is a choice, and spares vectors, as AdamW's does. `adamw` follows Brown et al.
(arXiv:2005.14165, appendix B), `muon` Liu et al. (arXiv:2502.16982): updates of AdamW's size, one rate for both of its
optimizers. Constants that are not said here are the packages' own.

Of your own: `package.module:factory`, called as `factory(model=, peak_lr=, total_steps=)`; it returns one optimizer or
a list of them, their rates at the peak.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from torch import nn
from torch.optim import SGD, AdamW, Muon, Optimizer

from hpt.errors import HptError, PrerequisiteError, UsageError
from hpt.optimizers.roles import Role, Roles, roles_of
from hpt.plugins import failures_named, load_plugin

BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
LION_SCALE = 0.2  # rate; its decay is as much larger, so that their product is AdamW's
SGD_SCALE, SGD_DECAY = 20.0, 5e-3  # rate and decay over AdamW's; the decay is in the gradient
PEERS = "pytorch-optimizer>=4.1"
SCHEDULE_FREE = "schedulefree>=1.4"
MATRICES = (Role.HIDDEN, Role.FILTER, Role.TABLE, Role.HEAD)


@dataclass(frozen=True, slots=True)
class Training:
    """What an optimizer is built for.

    Attributes:
        model: its trainable parameters.
        roles: of each of them.
        lr: peak learning rate, that of the optimizer itself.
        decay: decoupled weight decay of AdamW, of parameters with two axes or more.
        total_steps: planned updates.
        warmup_steps: of them, for an optimizer that makes its own schedule.
    """

    model: nn.Module
    roles: Roles
    lr: float
    decay: float
    total_steps: int
    warmup_steps: int

    def groups(self, roles: Iterable[Role] = Role, *, decay: float | None = None) -> list[dict[str, Any]]:
        """Trainable parameters of these roles, in two groups: those with two axes or more, which decay, and others."""
        chosen, decay = set(roles), self.decay if decay is None else decay
        trained = [one for one in self.model.parameters() if one.requires_grad and self.roles[one] in chosen]
        return [
            {"params": [one for one in trained if one.ndim >= 2], "weight_decay": decay},
            {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
        ]

    def has(self, *roles: Role) -> bool:
        """A trainable parameter has one of these roles."""
        return any(one.requires_grad and self.roles[one] in roles for one in self.model.parameters())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One inner optimizer.

    Attributes:
        build: makes it; the rates of all groups at their peak.
        lr_scale: its learning rate over AdamW's.
        package: what must be installed, "" if torch has it.
        no_jumps: why a jump makes no sense on it, "" if it does.
        has_schedule: it makes its own, and is given none.
        what: one line for help and tables.
    """

    build: Callable[[Training], list[Optimizer]]
    lr_scale: float
    what: str
    package: str = ""
    no_jumps: str = ""
    has_schedule: bool = False


def _adamw(training: Training) -> list[Optimizer]:
    return [AdamW(training.groups(), lr=training.lr, betas=BETAS)]


def _sgd(training: Training) -> list[Optimizer]:
    return [SGD(training.groups(decay=SGD_DECAY * training.decay), lr=training.lr, momentum=0.9, nesterov=True)]


def _muon(training: Training) -> list[Optimizer]:
    if not training.has(Role.HIDDEN):
        return _adamw(training)
    matrices = training.groups([Role.HIDDEN])[:1]
    muon = Muon(matrices, lr=training.lr, adjust_lr_fn="match_rms_adamw")
    others = training.groups(set(Role) - {Role.HIDDEN})
    return [muon, AdamW(others, lr=training.lr, betas=BETAS)]


def _soap(training: Training) -> list[Optimizer]:
    return [_peer("SOAP", training.groups(), lr=training.lr)]


def _ademamix(training: Training) -> list[Optimizer]:
    # the slow average of a run of T updates remembers no more than T of them; alpha and its warm-up as published
    slow = 1.0 - 1.0 / max(training.total_steps, 20)
    settings = {"betas": (0.9, 0.95, slow), "alpha": 5.0, "t_alpha_beta3": float(training.total_steps)}
    return [_peer("AdEMAMix", training.groups(), lr=training.lr, weight_decouple=True, **settings)]


def _lion(training: Training) -> list[Optimizer]:
    return [_peer("Lion", training.groups(decay=training.decay / LION_SCALE), lr=training.lr)]


def _shampoo(training: Training) -> list[Optimizer]:
    settings = {"betas": BETAS, "decoupled_weight_decay": True, "graft_type": 3, "nesterov": False}
    every = {"start_preconditioning_step": 10, "preconditioning_compute_steps": 10, "moving_average_for_momentum": True}
    return [_peer("ScalableShampoo", training.groups(), lr=training.lr, **settings, **every)]


def _adopt(training: Training) -> list[Optimizer]:
    return [_peer("ADOPT", training.groups(), lr=training.lr, weight_decouple=True)]


def _mars(training: Training) -> list[Optimizer]:
    matrices, vectors = training.groups()
    mars = _peer("MARS", [matrices], lr=training.lr)
    return [mars, AdamW([vectors], lr=training.lr, betas=BETAS)] if vectors["params"] else [mars]


def _schedulefree(training: Training) -> list[Optimizer]:
    kind = _installed(SCHEDULE_FREE, "schedulefree", "AdamWScheduleFree")
    found = kind(training.groups(), lr=training.lr, betas=BETAS, warmup_steps=training.warmup_steps)
    found.train()
    return [found]


CATALOGUE: dict[str, Entry] = {
    "adamw": Entry(build=_adamw, lr_scale=1.0, what="AdamW (arXiv:1711.05101)"),
    "sgd": Entry(build=_sgd, lr_scale=SGD_SCALE, what="SGD with Nesterov momentum 0.9"),
    "muon": Entry(build=_muon, lr_scale=1.0, what="Muon on hidden matrices, AdamW on the rest (arXiv:2502.16982)"),
    "soap": Entry(build=_soap, lr_scale=1.0, what="SOAP (arXiv:2409.11321)", package=PEERS),
    "ademamix": Entry(build=_ademamix, lr_scale=1.0, what="AdEMAMix (arXiv:2409.03137)", package=PEERS),
    "lion": Entry(build=_lion, lr_scale=LION_SCALE, what="Lion (arXiv:2302.06675)", package=PEERS),
    "shampoo": Entry(build=_shampoo, lr_scale=1.0, what="Shampoo, grafted (arXiv:2002.09018)", package=PEERS),
    "adopt": Entry(build=_adopt, lr_scale=1.0, what="ADOPT (arXiv:2411.02853)", package=PEERS),
    "mars": Entry(build=_mars, lr_scale=1.0, what="MARS-AdamW (arXiv:2411.10438)", package=PEERS),
    "schedulefree": Entry(
        build=_schedulefree,
        lr_scale=1.0,
        what="Schedule-Free AdamW (arXiv:2405.15682)",
        package=SCHEDULE_FREE,
        no_jumps="its weights are an average that step() makes anew from its own state, so a jump would be lost",
        has_schedule=True,
    ),
}


def find_entry(name: str) -> Entry:
    """The entry of that name, or one for `package.module:factory`.

    Raises:
        UsageError: there is none.
    """
    if ":" in name:
        return Entry(build=lambda training: _by_factory(name, training), lr_scale=1.0, what=name)
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, CATALOGUE, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(CATALOGUE)}"
        raise UsageError(f"optimizer {name!r} is unknown; {hint} (your own: package.module:factory)")
    return CATALOGUE[name]


def build_optimizers(
    name: str,
    model: nn.Module,
    *,
    peak_lr: float,
    total_steps: int,
    weight_decay: float = WEIGHT_DECAY,
    warmup_steps: int = 0,
    roles: Mapping[str, str] | None = None,
) -> list[Optimizer]:
    """The inner optimizers of a name over a model's trainable parameters, rates at their peak.

    Args:
        name: of the catalogue, or `package.module:factory`.
        model: whose parameters are trained.
        peak_lr: AdamW's peak learning rate on this problem; that of others is `lr_scale` times as much.
        total_steps: planned updates.
        weight_decay: AdamW's, decoupled, of parameters with two axes or more.
        warmup_steps: of the planned updates.
        roles: beats the roles that are found, see `roles_of`.

    Raises:
        UsageError: the name is unknown.
        PrerequisiteError: its package is not installed.
        HptError: the user's factory cannot be imported, fails, or returns something else.
    """
    entry = find_entry(name)
    lr, found = peak_lr * entry.lr_scale, roles_of(model, roles)
    return entry.build(Training(model, found, lr, weight_decay, total_steps, warmup_steps))


def adamw(model: nn.Module, peak_lr: float) -> AdamW:
    """AdamW with two groups: tensors of two or more axes, which decay, and all others, which do not."""
    (made,) = build_optimizers("adamw", model, peak_lr=peak_lr, total_steps=1)
    return cast("AdamW", made)


def _peer(kind: str, groups: Sequence[Mapping[str, Any]], **settings: Any) -> Optimizer:
    """An optimizer of the package pytorch-optimizer."""
    return _installed(PEERS, "pytorch_optimizer", kind)([one for one in groups if one["params"]], **settings)


def _installed(package: str, module: str, name: str) -> Callable[..., Any]:
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise PrerequisiteError(
            f"the optimizer {name} needs the package {package}, which is not installed; "
            "pip install 'hybrid-predict-trainer[peers]'"
        ) from error


def _by_factory(name: str, training: Training) -> list[Optimizer]:
    with failures_named(f"optimizer {name} cannot be made"):
        made = load_plugin(name)(model=training.model, peak_lr=training.lr, total_steps=training.total_steps)
    several = cast("list[Any]", list(made)) if isinstance(made, (list, tuple)) else [made]
    wrong = next((one for one in several if not isinstance(one, Optimizer)), None)
    if wrong is not None or not several:
        kind = "empty list" if not several else type(wrong).__name__
        raise HptError(f"optimizer {name} returned a {kind}, it must be a torch.optim.Optimizer or a list; mend it")
    return cast("list[Optimizer]", several)
