"""AdamW as the workloads use it: weight decay on matrices, embeddings and filters, none on biases and norms.

Source: Loshchilov and Hutter, arXiv:1711.05101; betas (0.9, 0.95) and decay 0.1 from Brown et al.,
arXiv:2005.14165, appendix B.
"""

from torch import nn
from torch.optim import AdamW

BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
CLIP_NORM = 1.0


def adamw(model: nn.Module, peak_lr: float) -> AdamW:
    """AdamW with two groups: tensors of two or more axes, which decay, and all others, which do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in parameters if one.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=peak_lr, betas=BETAS)
