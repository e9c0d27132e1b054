"""Devices that a command line names: looked for before anything starts on them."""

from hpt.errors import DeviceError


def require_device(name: str) -> None:
    """Refuse a GPU that is not there before any cell starts.

    Raises:
        DeviceError: it is not in this machine.
    """
    if name == "cpu":
        return
    from hpt.run.device import find_device  # noqa: PLC0415 - imports torch, which takes seconds

    try:
        find_device(name)
    except DeviceError as error:
        raise DeviceError(f"{error}, or choose --budget quick or standard") from error
