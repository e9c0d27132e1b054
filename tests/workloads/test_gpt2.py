"""The GPT-2 family: published sizes, names and initial loss."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from hpt.workloads.gpt2 import SIZES, VOCABULARY, GPT2Text
from hpt.workloads.transformer import GPT

CPU = torch.device("cpu")
LN_VOCABULARY = math.log(50257)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_sizes_have_the_published_parameter_counts(name: str, parameters: int) -> None:
    """The counts of the released checkpoints, the tied head counted once, with no memory used."""
    with torch.device("meta"):
        model = GPT(SIZES[name].shape())
    assert sum(one.numel() for one in model.parameters()) == parameters


def test_module_names_are_those_of_the_released_checkpoints() -> None:
    """Names and shapes of block 0 as published (linear layers stored the other way round), plus the ends."""
    with torch.device("meta"):
        entries = {name: tuple(value.shape) for name, value in GPT(SIZES["gpt2"].shape()).state_dict().items()}
    block = {name: shape for name, shape in entries.items() if name.startswith("h.0.")}
    assert block == {
        "h.0.ln_1.weight": (768,),
        "h.0.ln_1.bias": (768,),
        "h.0.attn.c_attn.weight": (2304, 768),
        "h.0.attn.c_attn.bias": (2304,),
        "h.0.attn.c_proj.weight": (768, 768),
        "h.0.attn.c_proj.bias": (768,),
        "h.0.ln_2.weight": (768,),
        "h.0.ln_2.bias": (768,),
        "h.0.mlp.c_fc.weight": (3072, 768),
        "h.0.mlp.c_fc.bias": (3072,),
        "h.0.mlp.c_proj.weight": (768, 3072),
        "h.0.mlp.c_proj.bias": (768,),
    }
    outside = {name: shape for name, shape in entries.items() if not re.match(r"h\.\d+\.", name)}
    assert outside == {
        "wte.weight": (50257, 768),
        "wpe.weight": (1024, 768),
        "ln_f.weight": (768,),
        "ln_f.bias": (768,),
        "lm_head.weight": (50257, 768),
    }


def test_initial_loss_is_that_of_a_uniform_guess() -> None:
    """Untrained GPT-2 on its own text: ln 50257 and half the variance of its logits, less what repetitions spare it."""
    workload = GPT2Text("gpt2", seed=0, data=None, device=CPU, batch_size=2, seq_len=64)
    with torch.no_grad():
        loss = workload.loss(workload.build_model(), workload.batch(0))
    spread = 768 * 0.02**2 / 2  # of unit activations over rows of weights with a standard deviation of 0.02
    assert LN_VOCABULARY - 0.05 <= float(loss) <= LN_VOCABULARY + spread + 0.05


def test_initial_loss_of_the_tiny_member_on_all_of_the_vocabulary() -> None:
    """On random ids, where guessing a repetition does not help, it is within 0.1 nats of ln 50257."""
    workload = GPT2Text("gpt2-nano", seed=0, data=None, device=CPU)
    tokens = torch.randint(VOCABULARY, (2, 65), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        loss = workload.loss(workload.build_model(), tokens)
    assert float(loss) == pytest.approx(LN_VOCABULARY, abs=0.1)


def test_record_says_that_text_enters_as_bytes() -> None:
    """The facts name byte ids, and the batches hold nothing else."""
    workload = GPT2Text("gpt2-nano", seed=0, data=None, device=CPU)
    assert "byte ids 0..255" in workload.description["tokenizer"]
    assert workload.description["vocabulary"] == 50257
    batch = workload.batch(0)
    assert batch.shape == (2, 65)
    assert 0 <= int(batch.min()) <= int(batch.max()) <= 255


def test_training_gets_below_chance(tmp_path: Path) -> None:
    """80 updates of the tiny member beat ln 256 on a text of all bytes in order, over and over."""
    path = tmp_path / "ordered"
    path.write_bytes(bytes(range(256)) * 43)
    workload = GPT2Text("gpt2-nano", seed=0, data=path, device=CPU, batch_size=2, seq_len=16)
    assert workload.chance_loss == pytest.approx(math.log(256))
    model = workload.build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    for index in range(80):
        workload.loss(model, workload.batch(index)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert workload.validation_loss(model) < workload.chance_loss
