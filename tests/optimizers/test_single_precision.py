"""Muon in the weights' own number format against torch's, whose products are in bf16."""

import pytest
import torch
from torch.optim import Muon, Optimizer

from hpt.optimizers.single_precision import SinglePrecisionMuon

SHAPES = ((6, 9), (9, 6), (7, 7), (1, 4))


def trained(kind: type[Optimizer], **settings: object) -> list[torch.Tensor]:
    """Weights after twelve updates along gradients that are the same for everybody; the rate changes on the way."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    optimizer = kind(weights, lr=0.03, weight_decay=0.1, **settings)  # pyright: ignore[reportCallIssue]
    for step in range(12):
        optimizer.param_groups[0]["lr"] = 0.03 / (1 + step)
        for one in weights:
            one.grad = torch.randn(one.shape, generator=generator)
        optimizer.step()
    return [one.detach() for one in weights]


@pytest.mark.parametrize("nesterov", [True, False])
def test_is_torchs_muon_to_the_last_bit_where_that_computes_in_single_precision(
    monkeypatch: pytest.MonkeyPatch, nesterov: bool
) -> None:
    """Its conversion to bf16 is made a plain copy; the rest of its code stays as it is."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    theirs = trained(Muon, adjust_lr_fn="match_rms_adamw", nesterov=nesterov)
    ours = trained(SinglePrecisionMuon, nesterov=nesterov)
    assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))


def test_differs_from_torchs_muon_by_the_rounding_of_bf16() -> None:
    """Twelve updates of about 0.2 x 0.03 x 3 each, to one part in fifty, and not by nothing."""
    theirs, ours = trained(Muon, adjust_lr_fn="match_rms_adamw"), trained(SinglePrecisionMuon)
    distance = max(float((one - other).abs().max()) for one, other in zip(ours, theirs, strict=True))
    assert 0.0 < distance < 0.02 * 12 * 0.2 * 0.03 * 3


def test_its_state_is_torchs() -> None:
    """Each loads what the other stored."""
    weights = [torch.nn.Parameter(torch.ones(3, 4))]
    ours, theirs = SinglePrecisionMuon(weights), Muon(weights, adjust_lr_fn="match_rms_adamw")
    weights[0].grad = torch.ones(3, 4)
    ours.step()
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(theirs.state[weights[0]]["momentum_buffer"], ours.state[weights[0]]["momentum_buffer"])
    ours.load_state_dict(theirs.state_dict())
    assert ours.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]
