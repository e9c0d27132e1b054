"""The architecture: attention against a loop, causality, tied head, initial spread."""

import math

import pytest
import torch
from torch import Tensor

from hpt.workloads.transformer import GPT, GPTShape, causal_attention
from hpt.workloads.workload import seeded_init

SHAPE = GPTShape(layers=2, heads=2, dim=16, vocabulary=11, context=80)


def loop_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One query at a time: softmax over itself and earlier positions, scores over sqrt(head_dim)."""
    result = torch.zeros_like(value)
    for place in range(query.shape[2]):
        scores = (query[:, :, place, None] * key[:, :, : place + 1]).sum(-1) / math.sqrt(query.shape[3])
        shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
        result[:, :, place] = (shares[..., None] * value[:, :, : place + 1]).sum(2)
    return result


@pytest.mark.parametrize("time", [1, 7, 64, 65])
def test_attention_matches_a_loop_on_both_sides_of_the_switch(time: int) -> None:
    """Plain and fused kernels both equal the definition; float64 leaves only rounding."""
    generator = torch.Generator().manual_seed(time)
    query, key, value = torch.randn(3, 2, 2, time, 4, generator=generator, dtype=torch.float64)
    expected = loop_attention(query, key, value)
    torch.testing.assert_close(causal_attention(query, key, value), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("time", [20, 80])
def test_logits_never_depend_on_later_tokens(time: int) -> None:
    """Changing tokens from position 10 on leaves all earlier logits bitwise alone and moves position 10's."""
    with seeded_init(0):
        model = GPT(SHAPE)
    tokens = torch.arange(time)[None] % 11
    changed = torch.where(torch.arange(time) < 10, tokens, (tokens + 1) % 11)
    with torch.no_grad():
        one, other = model(tokens), model(changed)
    assert torch.equal(one[:, :10], other[:, :10])
    assert not torch.equal(one[:, 10], other[:, 10])


def test_position_matters() -> None:
    """Position embeddings reach the logits: the same token at two places gets different ones."""
    with seeded_init(0):
        model = GPT(SHAPE)
    with torch.no_grad():
        logits = model(torch.zeros(1, 5, dtype=torch.int64))
    assert not torch.allclose(logits[0, 0], logits[0, 4])


def test_head_and_embedding_are_one_tensor() -> None:
    """Tied: one parameter, moved together, and its gradient collects both uses."""
    model = GPT(SHAPE)
    assert model.lm_head.weight is model.wte.weight
    assert model.to(torch.float64).lm_head.weight is model.wte.weight
    names = [name for name, _ in model.named_parameters()]
    assert "wte.weight" in names
    assert "lm_head.weight" not in names
    model(torch.zeros(1, 3, dtype=torch.int64)).sum().backward()
    gradient = model.wte.weight.grad
    assert gradient is not None
    assert gradient[1:].abs().sum() > 0  # rows of tokens that never entered: only the head reaches them


def test_initial_weights_have_the_published_spread() -> None:
    """Standard deviation 0.02, residual projections 0.02 / sqrt(2 layers), biases 0, norms 1."""
    shape = GPTShape(layers=2, heads=2, dim=128, vocabulary=500, context=100)
    with seeded_init(0):
        model = GPT(shape)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            expected = 0.02 / 2 if name.endswith("c_proj.weight") else 0.02
            assert float(parameter.detach().std()) == pytest.approx(expected, rel=0.05), name
        else:
            value = 0.0 if name.endswith("bias") else 1.0
            assert bool((parameter == value).all()), name
