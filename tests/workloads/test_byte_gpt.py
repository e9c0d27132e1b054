"""The byte-level GPT: its default sizes and that it learns."""

import math

import pytest
import torch
from torch import nn

from hpt.workloads.byte_gpt import SIZES, ByteGPT, ByteGPTSize

CPU = torch.device("cpu")
TINY = ByteGPTSize(dim=32, layers=1, heads=2, context=16, batch_size=16, peak_lr=1e-2)


def test_default_sizes_are_those_stated() -> None:
    """Width 64, two layers, 32 bytes, 64 windows: 2048 tokens a step; the count of weights written out."""
    workload = ByteGPT(seed=0, data=None, device=CPU)
    assert workload.batch(0).shape == (64, 33)
    assert workload.description["tokens_per_step"] == 2048
    block = 2 * 2 * 64 + (64 * 192 + 192) + (64 * 64 + 64) + (64 * 256 + 256) + (256 * 64 + 64)
    assert workload.description["parameters"] == 256 * 64 + 32 * 64 + 2 * block + 2 * 64


@pytest.mark.parametrize(("name", "weights", "context"), [("byte-gpt-1m", 1e6, 64), ("byte-gpt-10m", 1e7, 128)])
def test_a_name_says_the_number_of_weights(name: str, weights: float, context: int) -> None:
    """Within 10 %; and windows are as long as the context."""
    workload = ByteGPT(SIZES[name], seed=0, data=None, device=CPU)
    assert workload.description["parameters"] == pytest.approx(weights, rel=0.1)
    assert workload.batch(0).shape[1] == context + 1


def test_other_sizes_can_be_asked_for() -> None:
    """Every field of the size reaches the model or the batch."""
    workload = ByteGPT(TINY, seed=0, data=None, device=CPU)
    model = workload.build_model()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes["wte.weight"] == (256, 32)
    assert shapes["wpe.weight"] == (16, 32)
    assert sum(name.endswith("ln_1.weight") for name in shapes) == 1
    assert workload.batch(0).shape == (16, 17)
    assert {group["lr"] for group in workload.build_optimizer(model).param_groups} == {1e-2}


def test_initial_logits_have_the_spread_of_gpt2() -> None:
    """Scaled to the width, untrained logits vary as in GPT-2: standard deviation 0.02 sqrt(768)."""
    model = ByteGPT(seed=0, data=None, device=CPU).build_model()
    tokens = torch.randint(256, (8, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(tokens)
    logits.scatter_(2, tokens[..., None], math.nan)  # the tied head favours the token itself
    spread = float(logits[~logits.isnan()].std())
    assert spread == pytest.approx(0.02 * math.sqrt(768), rel=0.1)


def test_training_gets_below_chance() -> None:
    """60 updates of a tiny variant beat the byte frequencies of the standard library's sources."""
    workload = ByteGPT(TINY, seed=0, data=None, device=CPU)
    model = workload.build_model()
    optimizer = workload.build_optimizer(model)
    scheduler = workload.build_scheduler(optimizer, 60)
    assert workload.clip_norm is not None
    for index in range(60):
        workload.loss(model, workload.batch(index)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), workload.clip_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    assert workload.validation_loss(model) < workload.chance_loss - 0.1
