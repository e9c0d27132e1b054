"""AdamW's two groups."""

import torch
from torch import nn

from hpt.workloads.optimizer import adamw


def test_only_tensors_of_two_or_more_axes_decay() -> None:
    """With zero gradients an update scales a matrix by 1 - lr * decay and leaves a bias alone."""
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    optimizer = adamw(model, 0.5)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in model.named_parameters():
        scale = 1 - 0.5 * 0.1 if name == "0.weight" else 1.0
        torch.testing.assert_close(value.detach(), before[name] * scale)


def test_frozen_parameters_are_left_out() -> None:
    """A parameter that needs no gradient is in no group."""
    model = nn.Linear(3, 3)
    model.bias.requires_grad_(False)
    held = [parameter for group in adamw(model, 0.1).param_groups for parameter in group["params"]]
    assert held == [model.weight]
