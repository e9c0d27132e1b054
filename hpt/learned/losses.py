"""What the world model is trained on, term by term.

    forecast   negative log likelihood of the loss h ticks ahead, for every h, by every head
    dynamics   KL(posterior, stopped || prior): the prior learns to foresee                            weight 1
    represent  KL(posterior || prior, stopped): the posterior stays foreseeable                        weight 0.1
    reconstruct squared error of the symlog features
    value      squared error of measured arm values;  verdict  cross-entropy of good or bad

The KL terms, their weights and the free nats, below which a term costs nothing, are DreamerV3's (arXiv:2301.04104,
"World model learning"); the features and their symlog too.
"""

import torch
from torch import Tensor
from torch.nn import functional

from hpt.learned.scan import UNIMIX

DYNAMICS_SCALE = 1.0
REPRESENTATION_SCALE = 0.1
ERROR_CLIP = 3.0
"""Standard deviations beyond which the forecast's squared error turns linear (Huber 1964): batch losses have spikes."""


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|) (DreamerV3)."""
    return torch.sign(x) * torch.log1p(x.abs())


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


def value_error(values: Tensor, arms: Tensor, measured: Tensor, weights: Tensor) -> Tensor:
    """Weighted Huber error of the played arms' values: (N, E, A), (N,) indices, (N,) and (N, E) to a scalar."""
    played = values.gather(2, arms[:, None, None].expand(-1, values.shape[1], 1))[..., 0]
    errors = functional.huber_loss(played, measured[:, None].expand_as(played), reduction="none")
    return (errors * weights).sum() / weights.sum().clamp(min=1.0)


def verdict_error(bad_logits: Tensor, bad: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy of the verdicts: logits (N, E), labels (N,) in {0, 1}, weights (N, E) to a scalar."""
    errors = functional.binary_cross_entropy_with_logits(
        bad_logits, bad[:, None].expand_as(bad_logits), reduction="none"
    )
    return (errors * weights).sum() / weights.sum().clamp(min=1.0)
