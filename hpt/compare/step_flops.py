"""Floating-point operations of one full step: what orthogonal factors are charged against.

Counted by torch while forward and backward run once: matrix products, convolutions and attention, two operations a
multiply-add. What is done number by number is not in the count, so a factor's share of a step is rather over- than
understated.
"""

from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hpt.workloads.workload import Workload, kept_rng

PASSES = 6  # operations of a step a weight and sample, at the least: two forward, four backward


def step_flops(workload: Workload, model: nn.Module, batch: Any) -> int:
    """Operations of forward and backward on a batch.

    Args:
        workload: whose loss is taken.
        model: its gradients are added to, its weights left alone; torch's generators stay as they were.
        batch: of the training data.

    Returns:
        The count, and at least six for every trained weight: not all operations of a user's model are known to torch.
    """
    with kept_rng(workload.device), FlopCounterMode(display=False) as counter:
        workload.loss(model, batch).backward()
    least = PASSES * sum(one.numel() for one in model.parameters() if one.requires_grad)
    return max(counter.get_total_flops(), least)
