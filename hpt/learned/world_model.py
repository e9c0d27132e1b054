"""The trainable whole: RSSM and heads, what one replay update minimises, and the optimizer that does it.

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

from hpt.learned import losses
from hpt.learned.ensemble import EnsembleHeads, HeadOutputs
from hpt.learned.labels import Labelled
from hpt.learned.replay import Windows
from hpt.learned.rssm import RSSM, Filtered, Sizes

_BETAS = (0.9, 0.99)
_ANCHOR_BETAS = (0.5, 0.99)  # little momentum, or the anchors would press against the bounds of [0, 1]
_ANCHOR_RATE = 20.0  # times the learning rate: five numbers that matter from the first cycles on
_WEIGHT_DECAY = 0.01


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
        num_arms: A.
        generator: of the initial weights.
    """

    def __init__(self, sizes: Sizes, num_arms: int, generator: torch.Generator) -> None:
        super().__init__()
        self.rssm = RSSM(sizes, generator)
        self.heads = EnsembleHeads(sizes, num_arms, generator)

    def loss(self, windows: Windows, uniforms: Tensor | None, free_nats: float) -> tuple[Tensor, Outlook]:
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
        first = losses.forecast_nll(anchored, torch.zeros_like(anchored), errors, weights)
        second = losses.forecast_nll(anchored.detach() + latent.shift, latent.log_scale, errors, weights)
        outlook = _outlook(errors, anchored, latent)
        return first + second + self._world(seen, features, free_nats), outlook

    def _world(self, seen: Filtered, features: Tensor, free_nats: float) -> Tensor:
        """KL and reconstruction on the observed ticks."""
        num_classes = self.rssm.sizes.num_classes
        kl = losses.kl_balance(seen.posterior_logits, seen.prior_logits, num_classes, free_nats)
        return kl + losses.reconstruction(self.rssm.decode(seen.deter, seen.stoch), features)

    def value_loss(self, labelled: Labelled) -> Tensor:
        """Error of the measured arm values."""
        judged = self._judge(labelled)
        targets, masks = self._tensor(labelled.targets), self._tensor(labelled.masks)
        return losses.value_error(judged.values, torch.from_numpy(labelled.arms), targets, masks)

    def verdict_loss(self, labelled: Labelled) -> Tensor:
        """Error of the probabilities of a bad verdict; targets are 1 for bad."""
        judged = self._judge(labelled)
        return losses.verdict_error(judged.bad_logit, self._tensor(labelled.targets), self._tensor(labelled.masks))

    def _judge(self, labelled: Labelled) -> HeadOutputs:
        return self.heads(self._tensor(labelled.deter), self._tensor(labelled.stoch))

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

    def __init__(self, model: WorldModel, learning_rate: float, max_grad_norm: float) -> None:
        self._max_grad_norm = max_grad_norm
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
        norm = nn.utils.clip_grad_norm_(self._body, self._max_grad_norm)
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
