"""Recurrent state-space model of a training run: what the run is doing now, and what it will do under given actions.

A small world model in the sense of DreamerV3 (Hafner et al. 2023, arXiv:2301.04104), one tick per optimizer update:

    h_t = GRU(h_{t-1}, s_{t-1}, a_t)        deterministic state; a_t is what was done right before tick t
    s_t ~ posterior(h_t, features_t)        categoricals with learned logits and 1 % uniform mixture
    s_t ~ prior(h_t)                        the same without looking: what imagination goes by
    features_t ~ decoder(h_t, s_t)          in symlog space

Where we differ: sizes fit a single run's few thousand ticks; every network but the GRU is one layer; imagination
carries the prior's probabilities instead of samples, since only the mean forecast is wanted of it.

An ensemble of heads on one trunk forecasts the loss from the latent state. Each head sees its own bootstrap resample of
the run, so where data were scarce they differ, and their disagreement is the epistemic uncertainty (Osband et al. 2016,
"Deep Exploration via Bootstrapped DQN"; Sekar et al. 2020, "Planning to Explore"). The predicted scale is the aleatoric
one; neither is derived from the other. Resampling is double-or-nothing (Owen & Eckles 2012) in blocks of one cycle,
because neighbouring ticks share their noise (Kuensch 1989).

The heads start at zero: an untrained model says exactly what the constant forecaster says. Besides the latent they
read *anchors*: how far the loss's slower averages lie from its level, and the trend's own drift. How much of that gap
closes is a property of the run that a few dozen updates can learn; the latent is for what takes longer.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpt.learned.actions import ACTION_SIZE
from hpt.learned.scan import latent_scan

PLACE: dict[str, Any] = {"device": "cpu", "dtype": torch.float32}
"""Of all that is learned here, whatever the defaults of the process are."""
UNSET: dict[str, Any] = PLACE | {"device": "meta"}
"""Of layers before `initialise`: on "meta", torch's own initialisation cannot draw from the global generator."""
NUM_ANCHORS = 5
"""Four slower averages minus the level, and the trend's own expected change: see `replay.anchors`."""
MAX_LOG_SCALE = 1.5
"""A head may widen or narrow the trend's scale by at most e^1.5 = 4.5."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Widths of the model.

    Attributes:
        features: observed numbers per tick.
        deter: deterministic state D.
        num_categoricals: categorical variables G of the stochastic state.
        num_classes: classes C of each; the stochastic state is their concatenation, S = G C.
        embed: encoded features.
        trunk: hidden layer shared by all heads.
        ensemble: heads E.
    """

    features: int = 64
    deter: int = 48
    num_categoricals: int = 4
    num_classes: int = 8
    embed: int = 32
    trunk: int = 48
    ensemble: int = 3

    @property
    def stoch(self) -> int:
        """S, length of the stochastic state."""
        return self.num_categoricals * self.num_classes


SIZES = {"default": Sizes(), "reference": Sizes(deter=256, embed=64, trunk=64)}
"""`reference` has the dimensions that hybrid-predict-trainer-rs 0.2.0 benchmarks (and fakes in part)."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """T observed ticks of B windows: states (T, B, D) and (T, B, S), and the logits (T, B, S) of both distributions."""

    deter: Tensor
    stoch: Tensor
    prior_logits: Tensor
    posterior_logits: Tensor


class RSSM(nn.Module):
    """Encoder, recurrence, prior, posterior and decoder."""

    def __init__(self, sizes: Sizes, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = nn.Linear(sizes.features, sizes.embed, **UNSET)
        self.cell = nn.GRUCell(sizes.stoch + ACTION_SIZE, sizes.deter, **UNSET)
        self.prior = nn.Linear(sizes.deter, sizes.stoch, **UNSET)
        self.posterior = nn.Linear(sizes.deter + sizes.embed, sizes.stoch, **UNSET)
        self.decoder = nn.Linear(sizes.deter + sizes.stoch, sizes.features, **UNSET)
        initialise(self, generator)

    def observe(
        self, state: tuple[Tensor, Tensor], features: Tensor, actions: Tensor, uniforms: Tensor | None
    ) -> Filtered:
        """Filter T ticks from `state` with the posterior.

        Args:
            state: (B, D) and (B, S) before the first tick.
            features: (T, B, 64).
            actions: (T, B, 3).
            uniforms: (T, B, G) in [0, 1) to draw the samples with; None keeps probabilities.
        """
        size = self.sizes.deter
        weight = self.posterior.weight
        seen = functional.linear(self.embed(features), weight[:, size:], self.posterior.bias)
        deter, stoch = latent_scan(
            state, self._action_inputs(actions), seen, self.cell, weight[:, :size], self.sizes.num_classes, uniforms
        )
        return Filtered(deter, stoch, self.prior(deter), functional.linear(deter, weight[:, :size]) + seen)

    def imagine(self, state: tuple[Tensor, Tensor], actions: Tensor) -> tuple[Tensor, Tensor]:
        """States (H, B, D) and (H, B, S) under actions (H, B, 3), by the prior's probabilities."""
        bias = self.prior.bias.expand(*actions.shape[:2], -1)
        return latent_scan(
            state, self._action_inputs(actions), bias, self.cell, self.prior.weight, self.sizes.num_classes
        )

    def embed(self, features: Tensor) -> Tensor:
        """Encode (..., 64) features; bounded, so that no outlier saturates the posterior for good."""
        return torch.tanh(self.encoder(symlog(features)))

    def decode(self, deter: Tensor, stoch: Tensor) -> Tensor:
        """Symlog features (..., 64) that the state stands for."""
        return self.decoder(torch.cat((deter, stoch), dim=-1))

    def _action_inputs(self, actions: Tensor) -> Tensor:
        return functional.linear(actions, self.cell.weight_ih[:, self.sizes.stoch :], self.cell.bias_ih)


@dataclass(frozen=True, slots=True)
class HeadOutputs:
    """What E heads say of (...) states: shift and log_scale, (..., E) each."""

    shift: Tensor
    log_scale: Tensor


class EnsembleHeads(nn.Module):
    """Trunk and heads; rows of `heads` are [shifts | raw log scales], head by head in each."""

    def __init__(self, sizes: Sizes, generator: torch.Generator) -> None:
        super().__init__()
        self.trunk = nn.Linear(sizes.deter + sizes.stoch, sizes.trunk, **UNSET)
        self.heads = nn.Linear(sizes.trunk, 2 * sizes.ensemble, **UNSET)
        self.anchors = nn.Linear(NUM_ANCHORS, sizes.ensemble, bias=False, **UNSET)
        initialise(self, generator)
        with torch.no_grad():
            for parameter in (*self.heads.parameters(), *self.anchors.parameters()):
                parameter.zero_()

    def forward(self, deter: Tensor, stoch: Tensor) -> HeadOutputs:
        """Judge states (..., D) and (..., S); the shift is without its anchored part."""
        hidden = torch.tanh(self.trunk(torch.cat((deter, stoch), dim=-1)))
        shift, raw_scale = self.heads(hidden).chunk(2, dim=-1)
        return HeadOutputs(shift, MAX_LOG_SCALE * torch.tanh(raw_scale / MAX_LOG_SCALE))


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|) (DreamerV3)."""
    return torch.sign(x) * torch.log1p(x.abs())


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Give weights made on `UNSET` their memory: uniform with variance 1 / inputs (LeCun et al. 1998), biases zero."""
    module.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim < 2:
                parameter.zero_()
            else:
                bound = (3 / parameter.shape[1]) ** 0.5
                parameter.uniform_(-bound, bound, generator=generator)
