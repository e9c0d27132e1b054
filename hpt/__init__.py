"""A hybrid predictive trainer for PyTorch, and the harness that measures whether it pays.

The public names are loaded on first use (PEP 562), so `hpt --help` and `hpt report` never import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpt.config import HybridConfig
    from hpt.memory.estimate import MemoryEstimate, estimate_memory
    from hpt.records import Phase, StepResult
    from hpt.trainer.hybrid import HybridTrainer

__version__ = "0.2.0"
__all__ = [
    "HybridConfig",
    "HybridTrainer",
    "MemoryEstimate",
    "Phase",
    "StepResult",
    "__version__",
    "estimate_memory",
]

_HOME = {
    "HybridConfig": "hpt.config",
    "HybridTrainer": "hpt.trainer.hybrid",
    "MemoryEstimate": "hpt.memory.estimate",
    "Phase": "hpt.records",
    "StepResult": "hpt.records",
    "estimate_memory": "hpt.memory.estimate",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'hpt' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
