"""A user's inner optimizers: momentum SGD for the first half of the weights, AdamW for the others."""

from torch import nn
from torch.optim import SGD, AdamW, Optimizer


def make(*, model: nn.Module, peak_lr: float, total_steps: int) -> list[Optimizer]:
    """Factory for `--optimizer references.two_optimizers:make`."""
    parameters = list(model.parameters())
    half = len(parameters) // 2
    return [SGD(parameters[:half], lr=peak_lr / 10, momentum=0.5), AdamW(parameters[half:], lr=peak_lr)]
