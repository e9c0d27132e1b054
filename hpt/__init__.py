"""A hybrid predictive trainer for PyTorch, and the harness that measures whether it pays.

The public names are loaded on first use (PEP 562), so `hpt --help` and `hpt report` never import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from hpt.version import __version__

if TYPE_CHECKING:
    from hpt.bench.scenario import Scenario
    from hpt.config import HybridConfig
    from hpt.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DeviceError,
        DiskError,
        HptError,
        InconclusiveError,
        ModelError,
        NothingMeasured,
        OutOfMemory,
        PrerequisiteError,
        TrainingDiverged,
        UsageError,
    )
    from hpt.hooks.jumps import Jumps, attach
    from hpt.memory.estimate import MemoryEstimate, estimate_memory
    from hpt.predictors.protocol import Predictor, Proposal
    from hpt.records import Phase, StepResult
    from hpt.trainer.hybrid import HybridTrainer
    from hpt.workloads.workload import Workload


_HOME = {
    "attach": "hpt.hooks.jumps",
    "HybridConfig": "hpt.config",
    "HybridTrainer": "hpt.trainer.hybrid",
    "Jumps": "hpt.hooks.jumps",
    "MemoryEstimate": "hpt.memory.estimate",
    "Phase": "hpt.records",
    "Predictor": "hpt.predictors.protocol",
    "Proposal": "hpt.predictors.protocol",
    "Scenario": "hpt.bench.scenario",
    "StepResult": "hpt.records",
    "Workload": "hpt.workloads.workload",
    **dict.fromkeys(
        (
            *("HptError", "UsageError", "ConfigError", "ModelError", "TrainingDiverged", "InconclusiveError"),
            *("NothingMeasured", "PrerequisiteError", "DataError", "DeviceError", "DiskError", "OutOfMemory"),
            "CheckpointError",
        ),
        "hpt.errors",
    ),
    "estimate_memory": "hpt.memory.estimate",
}

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "DiskError",
    "HptError",
    "HybridConfig",
    "HybridTrainer",
    "InconclusiveError",
    "Jumps",
    "MemoryEstimate",
    "ModelError",
    "NothingMeasured",
    "OutOfMemory",
    "Phase",
    "Predictor",
    "PrerequisiteError",
    "Proposal",
    "Scenario",
    "StepResult",
    "TrainingDiverged",
    "UsageError",
    "Workload",
    "__version__",
    "attach",
    "estimate_memory",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'hpt' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
