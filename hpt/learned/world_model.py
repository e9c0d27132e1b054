"""The trainable whole: RSSM and heads, what one replay update minimises, and the optimizer that does it.

    forecast   negative log likelihood of the loss h ticks ahead, for every h, by every head
    dynamics   KL(posterior, stopped || prior): the prior learns to foresee                            weight 1
    represent  KL(posterior || prior, stopped): the posterior stays foreseeable                        weight 0.1
    reconstruct squared error of the symlog features

The KL terms, their weights and the free nats, below which a term costs nothing, are DreamerV3's (arXiv:2301.04104,
"World model learning"); the features and their symlog too.

The forecast is learned in stages, as in boosting (Friedman 2001): the anchors alone first, then the latent on what they
leave over, with the anchors' part held fixed. Were they fitted together, the latent, which overfits sooner, would take
from the anchors what they can do by themselves. Anchors move in [0, 1]: a forecast may close none to all of a gap.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hpt.learned.replay import Windows
from hpt.learned.rssm import RSSM, EnsembleHeads, Filtered, HeadOutputs, Sizes, symlog
from hpt.learned.scan import UNIMIX

DYNAMICS_SCALE = 1.0
REPRESENTATION_SCALE = 0.1
ERROR_CLIP = 3.0
"""Standard deviations beyond which the forecast's squared error turns linear (Huber 1964): batch losses have spikes."""
_BETAS = (0.9, 0.99)
_ANCHOR_BETAS = (0.5, 0.99)  # little momentum, or the anchors would press against the bounds of [0, 1]
_ANCHOR_RATE = 20.0  # times the learning rate: five numbers that matter from the first cycles on
_WEIGHT_DECAY = 0.01
_LEARNING_RATE = 3e-3
_MAX_GRAD_NORM = 1.0
FREE_NATS = 1.0
"""KL below which a tick costs nothing (DreamerV3)."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Forecasts of a batch as they were before the update, (H, B) each, means over heads.

    Attributes:
        residuals: standardised errors less the anchored part.
        shifts: the latent's part.
        log_scales: its log scale.
    """

    residuals: NDArray[Any]
    shifts: NDArray[Any]
    log_scales: NDArray[Any]


class WorldModel(nn.Module):
    """RSSM and ensemble of heads.

    Args:
        sizes: widths.
        generator: of the initial weights.
    """

    def __init__(self, sizes: Sizes, generator: torch.Generator) -> None:
        super().__init__()
        self.rssm = RSSM(sizes, generator)
        self.heads = EnsembleHeads(sizes, generator)

    def loss(self, windows: Windows, uniforms: Tensor | None, free_nats: float = FREE_NATS) -> tuple[Tensor, Outlook]:
        """What a batch of windows costs, and its forecasts.

        Args:
            windows: B of them, O observed and H imagined ticks.
            uniforms: (O, B, G) that draw the posterior's samples; None keeps probabilities.
            free_nats: KL below which a tick costs nothing.
        """
        features, actions, anchors, errors = (
            self._tensor(one) for one in (windows.features, windows.actions, windows.anchors, windows.errors)
        )
        state = self._tensor(windows.deter), self._tensor(windows.stoch)
        seen = self.rssm.observe(state, features, actions[: len(features)], uniforms)
        latent = self.heads(*self.rssm.imagine((seen.deter[-1], seen.stoch[-1]), actions[len(features) :]))
        anchored = self.heads.anchors(anchors)
        weights = self._tensor(windows.valid)[..., None] * self._tensor(windows.masks)
        first = forecast_nll(anchored, torch.zeros_like(anchored), errors, weights)
        second = forecast_nll(anchored.detach() + latent.shift, latent.log_scale, errors, weights)
        outlook = _outlook(errors, anchored, latent)
        return first + second + self._world(seen, features, free_nats), outlook

    def _world(self, seen: Filtered, features: Tensor, free_nats: float) -> Tensor:
        """KL and reconstruction on the observed ticks."""
        num_classes = self.rssm.sizes.num_classes
        kl = kl_balance(seen.posterior_logits, seen.prior_logits, num_classes, free_nats)
        return kl + reconstruction(self.rssm.decode(seen.deter, seen.stoch), features)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.heads.trunk.weight.dtype)


def _outlook(errors: Tensor, anchored: Tensor, latent: HeadOutputs) -> Outlook:
    residuals = errors - anchored.detach().mean(-1)
    means = (one.detach().mean(-1).numpy() for one in (latent.shift, latent.log_scale))
    return Outlook(residuals.numpy(), *means)


class ModelOptimizer:
    """AdamW (Loshchilov & Hutter 2019) over a world model, with a rate of its own for the anchors.

    The gradient of all but the anchors is clipped together; an update whose gradient is not finite is left out.
    """

    def __init__(self, model: WorldModel, learning_rate: float = _LEARNING_RATE) -> None:
        self._anchors = model.heads.anchors.weight
        self._body = [one for one in model.parameters() if one is not self._anchors]
        anchors = {
            "params": [self._anchors],
            "lr": _ANCHOR_RATE * learning_rate,
            "betas": _ANCHOR_BETAS,
            "weight_decay": 0.0,
        }
        self._adam = torch.optim.AdamW(
            [{"params": self._body}, anchors],
            lr=learning_rate,
            betas=_BETAS,
            weight_decay=_WEIGHT_DECAY,
            fused=True,
        )

    def step(self, loss: Tensor) -> None:
        """One update."""
        self._adam.zero_grad()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        norm = nn.utils.clip_grad_norm_(self._body, _MAX_GRAD_NORM)
        if bool(torch.isfinite(norm)):
            self._adam.step()
            with torch.no_grad():
                self._anchors.clamp_(0.0, 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Moments by parameter number; the settings come from the constructor."""
        return {
            str(number): {name: value.clone() for name, value in moments.items()}
            for number, moments in self._adam.state_dict()["state"].items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        moments = {int(number): dict(values) for number, values in state.items()}
        self._adam.load_state_dict({**self._adam.state_dict(), "state": moments})


def log_probabilities(logits: Tensor, num_classes: int) -> Tensor:
    """Log of the unimix probabilities: (..., G C) logits to (..., G, C)."""
    softmax = functional.softmax(logits.unflatten(-1, (-1, num_classes)), dim=-1)
    return torch.log((1 - UNIMIX) * softmax + UNIMIX / num_classes)


def categorical_kl(first: Tensor, second: Tensor) -> Tensor:
    """KL(first || second) in nats, summed over G categoricals: log probabilities (..., G, C) to (...)."""
    return (first.exp() * (first - second)).sum((-2, -1))


def kl_balance(posterior_logits: Tensor, prior_logits: Tensor, num_classes: int, free_nats: float) -> Tensor:
    """Balanced KL with free nats, averaged over ticks and windows: logits (..., S) to a scalar."""
    posterior = log_probabilities(posterior_logits, num_classes)
    prior = log_probabilities(prior_logits, num_classes)
    dynamics = categorical_kl(posterior.detach(), prior).clamp(min=free_nats).mean()
    representation = categorical_kl(posterior, prior.detach()).clamp(min=free_nats).mean()
    return DYNAMICS_SCALE * dynamics + REPRESENTATION_SCALE * representation


def forecast_nll(shift: Tensor, log_scale: Tensor, errors: Tensor, weights: Tensor) -> Tensor:
    """Gaussian negative log likelihood of standardised errors, up to a constant; robust beyond 3 sigmas.

    Args:
        shift: (H, B, E) forecast means, in units of the trend's scale.
        log_scale: (H, B, E).
        errors: (H, B) what the trend left over, in the same units.
        weights: (H, B, E) of each horizon, window and head; 0 where nothing was observed yet.

    Returns:
        Weighted mean over everything.
    """
    distance = (errors[..., None] - shift) * torch.exp(-log_scale)
    nll = functional.huber_loss(distance, torch.zeros_like(distance), reduction="none", delta=ERROR_CLIP) + log_scale
    return (nll * weights).sum() / weights.sum().clamp(min=1.0)


def reconstruction(decoded: Tensor, features: Tensor) -> Tensor:
    """Mean squared error of decoded against symlog features, halved: a unit Gaussian per feature."""
    return 0.5 * functional.mse_loss(decoded, symlog(features))
