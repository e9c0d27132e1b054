"""An ensemble of heads on one trunk: next loss, value of every arm, probability of a bad verdict.

All heads read one hidden layer of the latent state; each sees its own bootstrap resample of the run, so where data
were scarce they differ, and their disagreement is the epistemic uncertainty (Osband et al. 2016, "Deep Exploration via
Bootstrapped DQN"; Sekar et al. 2020, "Planning to Explore"). The predicted scale is the aleatoric one; neither is
derived from the other. Resampling is double-or-nothing (Owen & Eckles 2012) in blocks of one cycle, because
neighbouring ticks share their noise (Kuensch 1989).

The loss heads start at zero: an untrained model says exactly what the constant forecaster says. Besides the latent they
read *anchors*: how far the loss's slower averages lie from its level, and the trend's own drift. How much of that gap
closes is a property of the run that a few dozen updates can learn; the latent is for what takes longer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hpt.learned.rssm import UNSET, Sizes, initialise

NUM_ANCHORS = 5
"""Four slower averages minus the level, and the trend's own expected change: see `replay.anchors`."""
MAX_LOG_SCALE = 1.5
"""A head may widen or narrow the trend's scale by at most e^1.5 = 4.5."""
BASE_BAD_LOGIT = -2.1972246
"""log(0.1 / 0.9): nine jumps in ten are good until there is evidence."""


@dataclass(frozen=True, slots=True)
class HeadOutputs:
    """What E heads say of (...) states: shift, log_scale and bad_logit (..., E), values (..., E, A)."""

    shift: Tensor
    log_scale: Tensor
    values: Tensor
    bad_logit: Tensor


class EnsembleHeads(nn.Module):
    """Trunk and heads; rows of `heads` are [shifts | raw log scales | bad logits | values], head by head in each."""

    def __init__(self, sizes: Sizes, num_arms: int, generator: torch.Generator) -> None:
        super().__init__()
        self.size, self.num_arms = sizes.ensemble, num_arms
        self.trunk = nn.Linear(sizes.deter + sizes.stoch, sizes.trunk, device=UNSET)
        self.heads = nn.Linear(sizes.trunk, self.size * (3 + num_arms), device=UNSET)
        self.anchors = nn.Linear(NUM_ANCHORS, self.size, bias=False, device=UNSET)
        initialise(self, generator)
        with torch.no_grad():
            for parameter in (*self.heads.parameters(), *self.anchors.parameters()):
                parameter.zero_()
            self.heads.bias[2 * self.size : 3 * self.size] = BASE_BAD_LOGIT

    def forward(self, deter: Tensor, stoch: Tensor) -> HeadOutputs:
        """Judge states (..., D) and (..., S); the shift is without its anchored part."""
        hidden = torch.tanh(self.trunk(torch.cat((deter, stoch), dim=-1)))
        size = self.size
        shift, raw_scale, bad, values = self.heads(hidden).split((size, size, size, size * self.num_arms), dim=-1)
        log_scale = MAX_LOG_SCALE * torch.tanh(raw_scale / MAX_LOG_SCALE)
        return HeadOutputs(shift, log_scale, values.unflatten(-1, (size, self.num_arms)), bad)
