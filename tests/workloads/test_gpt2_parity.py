"""Our GPT-2 is the published one: the same random weights give the same logits and gradients as in `transformers`."""

import warnings
from typing import Any

import pytest
import torch

from hpt.workloads.transformer import GPT, GPTShape

SHAPE = GPTShape(layers=3, heads=4, dim=48, vocabulary=211, context=160)
CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


@pytest.fixture(scope="module")
def theirs() -> Any:
    """GPT-2 of `transformers` in the same sizes, without dropout, its weights drawn here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, on import
        from transformers import GPT2Config, GPT2LMHeadModel
    sizes: dict[str, Any] = {
        "n_layer": SHAPE.layers,
        "n_head": SHAPE.heads,
        "n_embd": SHAPE.dim,
        "n_positions": SHAPE.context,
    }
    quiet: dict[str, Any] = {
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    config = GPT2Config(**sizes, **quiet, vocab_size=SHAPE.vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = GPT2LMHeadModel(config)
        with torch.no_grad():
            for parameter in model.parameters():  # biases and norms too, which would otherwise all be 0 and 1
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


def _ours(theirs: Any) -> GPT:
    """Our model with their weights: names as published, the Conv1D matrices turned round."""
    model = GPT(SHAPE)
    state: dict[str, torch.Tensor] = {}
    for name, value in theirs.state_dict().items():
        short = name.removeprefix("transformer.")
        state[short] = value.T.contiguous() if short.endswith(CONV1D) else value
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == []
    assert all(name.endswith(("attn.bias", "attn.masked_bias")) for name in unexpected)  # masks of old versions
    return model


@pytest.mark.parametrize("time", [1, 17, 64, 160])
def test_logits_are_theirs(theirs: Any, time: int) -> None:
    """On both of our attention kernels, up to the full context; float32, so only the order of sums differs."""
    tokens = torch.randint(SHAPE.vocabulary, (2, time), generator=torch.Generator().manual_seed(time))
    with torch.no_grad():
        torch.testing.assert_close(_ours(theirs)(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)


def test_gradients_are_theirs(theirs: Any) -> None:
    """The tied embedding's gradient, which every part of the model reaches."""
    tokens = torch.randint(SHAPE.vocabulary, (2, 33), generator=torch.Generator().manual_seed(7))
    ours = _ours(theirs)
    theirs.zero_grad()
    logits = ours(tokens[:, :-1])
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
    theirs(tokens, labels=tokens).loss.backward()
    torch.testing.assert_close(ours.wte.weight.grad, theirs.transformer.wte.weight.grad, rtol=1e-3, atol=1e-6)
