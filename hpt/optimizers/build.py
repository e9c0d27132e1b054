"""Building inner optimizers: parameter groups by role and decay, and one function for each name of the catalogue.

Decay is decoupled where there is a choice, and spares vectors, as AdamW's does. `adamw` follows Brown et al.
(arXiv:2005.14165, appendix B), `muon` Liu et al. (arXiv:2502.16982): updates of AdamW's size, one rate for both of its
optimizers. Constants that are not said here are the packages' own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from torch import nn
from torch.optim import SGD, AdamW, Muon, Optimizer

from hpt.errors import HptError
from hpt.optimizers.catalogue import LION_SCALE, find_entry
from hpt.optimizers.roles import Role, Roles, roles_of
from hpt.optimizers.single_precision import SinglePrecisionMuon
from hpt.plugins import failures_named, load_plugin

BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
SGD_DECAY = 5e-3  # over AdamW's; it is in the gradient, and the rate is so much larger


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
        HptError: a user's factory cannot be imported, fails, or returns something else.
    """
    entry = find_entry(name)
    lr, found = peak_lr * entry.lr_scale, roles_of(model, roles)
    training = Training(model, found, lr, weight_decay, total_steps, warmup_steps)
    return _by_factory(name, training) if ":" in name else globals()[entry.build](training)


def adamw_of(model: nn.Module, peak_lr: float) -> AdamW:
    """AdamW with two groups: tensors of two or more axes, which decay, and all others, which do not."""
    (made,) = build_optimizers("adamw", model, peak_lr=peak_lr, total_steps=1)
    return cast("AdamW", made)


def adamw(training: Training) -> list[Optimizer]:
    """AdamW over everything."""
    return [AdamW(training.groups(), lr=training.lr, betas=BETAS)]


def sgd(training: Training) -> list[Optimizer]:
    """SGD with Nesterov momentum over everything."""
    return [SGD(training.groups(decay=SGD_DECAY * training.decay), lr=training.lr, momentum=0.9, nesterov=True)]


def muon(training: Training) -> list[Optimizer]:
    """Muon on hidden matrices and AdamW on the rest; AdamW alone where there are none. On a CPU in single precision."""
    if not training.has(Role.HIDDEN):
        return adamw(training)
    matrices = training.groups([Role.HIDDEN])[:1]
    if matrices[0]["params"][0].device.type == "cpu":
        inner: Optimizer = SinglePrecisionMuon(matrices, lr=training.lr)
    else:
        inner = Muon(matrices, lr=training.lr, adjust_lr_fn="match_rms_adamw")
    others = training.groups(set(Role) - {Role.HIDDEN})
    return [inner, AdamW(others, lr=training.lr, betas=BETAS)]


def soap(training: Training) -> list[Optimizer]:
    """SOAP over everything; vectors are not preconditioned."""
    return [_peer("SOAP", training.groups(), lr=training.lr)]


def ademamix(training: Training) -> list[Optimizer]:
    """AdEMAMix over everything."""
    # the slow average of a run of T updates remembers no more than T of them; alpha and its warm-up as published
    slow = 1.0 - 1.0 / max(training.total_steps, 20)
    settings = {"betas": (0.9, 0.95, slow), "alpha": 5.0, "t_alpha_beta3": float(training.total_steps)}
    return [_peer("AdEMAMix", training.groups(), lr=training.lr, weight_decouple=True, **settings)]


def lion(training: Training) -> list[Optimizer]:
    """Lion over everything."""
    return [_peer("Lion", training.groups(decay=training.decay / LION_SCALE), lr=training.lr)]


def shampoo(training: Training) -> list[Optimizer]:
    """Shampoo over everything, its steps as long as those of RMSProp, preconditioners renewed every tenth step."""
    settings = {"betas": BETAS, "decoupled_weight_decay": True, "graft_type": 3, "nesterov": False}
    every = {"start_preconditioning_step": 10, "preconditioning_compute_steps": 10, "moving_average_for_momentum": True}
    return [_peer("ScalableShampoo", training.groups(), lr=training.lr, **settings, **every)]


def adopt(training: Training) -> list[Optimizer]:
    """ADOPT over everything."""
    return [_peer("ADOPT", training.groups(), lr=training.lr, weight_decouple=True)]


def mars(training: Training) -> list[Optimizer]:
    """MARS on tensors with two axes or more, AdamW on vectors."""
    matrices, vectors = training.groups()
    inner = _peer("MARS", [matrices], lr=training.lr)
    return [inner, AdamW([vectors], lr=training.lr, betas=BETAS)] if vectors["params"] else [inner]


def schedulefree(training: Training) -> list[Optimizer]:
    """Schedule-Free AdamW over everything, in training mode."""
    kind: Any = import_module("schedulefree").AdamWScheduleFree
    found = kind(training.groups(), lr=training.lr, betas=BETAS, warmup_steps=training.warmup_steps)
    found.train()
    return [found]


def _peer(kind: str, groups: Sequence[Mapping[str, Any]], **settings: Any) -> Optimizer:
    """An optimizer of the package pytorch-optimizer."""
    return getattr(import_module("pytorch_optimizer"), kind)([one for one in groups if one["params"]], **settings)


def _by_factory(name: str, training: Training) -> list[Optimizer]:
    with failures_named(f"optimizer {name} cannot be made"):
        made = load_plugin(name)(model=training.model, peak_lr=training.lr, total_steps=training.total_steps)
    several = cast("list[Any]", list(made)) if isinstance(made, (list, tuple)) else [made]
    wrong = next((one for one in several if not isinstance(one, Optimizer)), None)
    if wrong is not None or not several:
        kind = "empty list" if not several else type(wrong).__name__
        raise HptError(f"optimizer {name} returned a {kind}, it must be a torch.optim.Optimizer or a list; mend it")
    return cast("list[Optimizer]", several)
