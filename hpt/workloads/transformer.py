"""The GPT-2 architecture as published: pre-norm blocks, learned positions, tanh GELU, biases, tied head.

Source: Radford et al., "Language models are unsupervised multitask learners" (2019); initialisation of
section 2.3 and of the released code: normal with standard deviation 0.02, residual projections divided by
sqrt(2 layers). There is no dropout, because runs must repeat.

Module names are those of the published checkpoints (`wte`, `wpe`, `h.3.attn.c_attn`, `ln_f`), so a stored
state dict maps name by name; the published `Conv1D` stores weights as (in, out), our `Linear` as (out, in):
transpose the four matrices of each block. The weight of `lm_head` is the tensor of `wte`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpt.errors import UsageError

INIT_STD = 0.02
SHORT_CONTEXT = 64  # up to here plain kernels beat the fused one on a CPU: 25 against 31 ms a step, measured


@dataclass(frozen=True)
class GPTShape:
    """Sizes of a model.

    Raises:
        UsageError: `dim` is not a multiple of `heads`.
    """

    layers: int
    heads: int
    dim: int
    vocabulary: int
    context: int
    init_std: float = INIT_STD

    def __post_init__(self) -> None:
        """Refuse heads of unequal width."""
        if self.dim % self.heads:
            raise UsageError(f"dim is {self.dim}, no multiple of heads, which is {self.heads}; change one of them")


class Attention(nn.Module):
    """Causal self-attention over (batch, time, dim)."""

    def __init__(self, shape: GPTShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.c_attn = nn.Linear(shape.dim, 3 * shape.dim)
        self.c_proj = nn.Linear(shape.dim, shape.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, dim) to the same."""
        batch, time, dim = x.shape
        parts = self.c_attn(x).view(batch, time, 3, self.heads, dim // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = causal_attention(query, key, value)
        return self.c_proj(mixed.transpose(1, 2).reshape(batch, time, dim))


class MLP(nn.Module):
    """The block's feed-forward half, four times as wide inside."""

    def __init__(self, shape: GPTShape) -> None:
        super().__init__()
        self.c_fc = nn.Linear(shape.dim, 4 * shape.dim)
        self.c_proj = nn.Linear(4 * shape.dim, shape.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, dim) to the same."""
        return self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """Attention and MLP, each added to a normalised residual stream."""

    def __init__(self, shape: GPTShape) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(shape.dim)
        self.attn = Attention(shape)
        self.ln_2 = nn.LayerNorm(shape.dim)
        self.mlp = MLP(shape)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, dim) to the same."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Token ids (batch, time) to logits (batch, time, vocabulary); time may be anything up to the context."""

    def __init__(self, shape: GPTShape) -> None:
        super().__init__()
        self.wte = nn.Embedding(shape.vocabulary, shape.dim)
        self.wpe = nn.Embedding(shape.context, shape.dim)
        self.h = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.ln_f = nn.LayerNorm(shape.dim)
        self.lm_head = nn.Linear(shape.dim, shape.vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight
        self._initialise(shape)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at every position."""
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))

    def _initialise(self, shape: GPTShape) -> None:
        """Draw from torch's generator; biases start at zero, norms at unit scale."""
        residual_std = shape.init_std / math.sqrt(2 * shape.layers)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, std=residual_std)
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=shape.init_std)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention to this and earlier positions; all (batch, heads, time, head_dim)."""
    time = query.shape[-2]
    if query.device.type != "cpu" or time > SHORT_CONTEXT:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    later = torch.full((time, time), -math.inf, device=query.device, dtype=query.dtype).triu(1)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2) + later
    return torch.softmax(scores, dim=-1) @ value
