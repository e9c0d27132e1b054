"""Where a process computes: the device that a flag names, and on a machine with several processes its own GPU."""

import torch

from hpt.errors import DeviceError, UsageError
from hpt.run.launch import Launch


def find_device(name: str | None, launch: Launch | None = None) -> torch.device:
    """The device of that name; None: CUDA where there is one, else the CPU.

    Args:
        name: as torch calls it.
        launch: of several processes each takes the GPU of its number on its machine, whichever GPU is named.

    Raises:
        UsageError: torch knows no such device.
        DeviceError: it is not in this machine.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device is {name!r}, which torch does not know; use cpu, cuda or cuda:1") from error
    if launch is not None and launch.are_several and device.type == "cuda":
        device = torch.device("cuda", launch.local_rank)
    try:
        torch.zeros(1, device=device).item()
    except Exception as error:
        raise DeviceError(f"--device {device} is not available on this machine; use --device cpu") from error
    return device
