"""Decisions that are the same in every process: numbers averaged, alarms or-ed.

In one process everything is as it is, and nothing is sent.
"""

import numpy as np
import torch
import torch.distributed as dist

from hpt.history import FloatArray


class Together:
    """The processes that train one model on different data.

    Args:
        process_group: of torch.distributed; None: all processes, where there are several.

    Attributes:
        num_processes: how many.
    """

    def __init__(self, process_group: "dist.ProcessGroup | None" = None) -> None:
        is_on = dist.is_available() and dist.is_initialized()
        self._group = process_group
        self.num_processes = dist.get_world_size(process_group) if is_on else 1

    def mean(self, values: FloatArray) -> FloatArray:
        """The average over processes, (n,), the same bits in each; every process must ask at the same time."""
        if self.num_processes == 1:
            return values
        summed = torch.tensor(values, dtype=torch.float64, device=self._device())
        dist.all_reduce(summed, group=self._group)
        return np.asarray(summed.cpu().numpy() / self.num_processes, dtype=np.float64)

    def any(self, *, flag: bool) -> bool:
        """Whether it is true in some process; every process must ask at the same time."""
        return bool(self.mean(np.array([float(flag)]))[0] > 0.0)

    def agree(self, value: float) -> bool:
        """Whether it is the same number in all; every process must ask at the same time."""
        return not self.any(flag=bool(self.mean(np.array([value]))[0] != value))

    def _device(self) -> torch.device:
        """Where the group's backend sends from."""
        is_nccl = dist.get_backend(self._group) == "nccl"
        return torch.device("cuda", torch.cuda.current_device()) if is_nccl else torch.device("cpu")
