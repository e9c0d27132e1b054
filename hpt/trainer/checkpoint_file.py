"""One file that a run can go on from, written so that a crash at any moment leaves a good one.

A checkpoint is a single safetensors file: tensors as tensors, everything else as JSON in its metadata, and a
sha256 over both. It is written to a temporary place in the same folder, synced to the disk and renamed, so
that a name either holds the whole new state or the whole old one. A file that is cut short, altered, foreign
or of another schema than this program's is refused.
"""

import errno
import hashlib
import re
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from hpt.errors import CheckpointError, DiskError
from hpt.jsonfiles import owner, sync
from hpt.trainer.codec import decode, encode

SCHEMA_VERSION = 3
_HEADER_LIMIT_BYTES = 100_000_000  # safetensors reads no longer header
_SLACK_BYTES = 1024 * 1024  # header fields and the folder's own growth, on top of tensors and text
_PARTIAL = re.compile(r"\..+\.(?P<host>[^.]+)\.(?P<pid>\d+)\.partial")


def write_checkpoint(path: str | Path, state: object, *, schema_version: int = SCHEMA_VERSION) -> int:
    """Write `state` to `path`, whole or not at all, and return the bytes written.

    Raises:
        CheckpointError: a value in the state cannot be stored.
        DiskError: too little space, or the folder cannot be written; an earlier file at `path` is untouched.
    """
    path = Path(path)
    tensors, text = encode(state)
    metadata = {"hpt_schema": str(schema_version), "state": text}
    metadata["sha256"] = _digest(tensors, metadata)
    if 2 * len(text) > _HEADER_LIMIT_BYTES:
        raise CheckpointError(f"{path}: {len(text)} bytes of plain values are too many; keep long lists as arrays")
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_partials(path.parent)
        _check_space(path, sum(one.nbytes for one in tensors.values()) + 2 * len(text) + _SLACK_BYTES)
        _write_whole(path, tensors, metadata)
        return path.stat().st_size


def read_checkpoint(path: str | Path) -> Any:
    """The state that was written to `path`, with its tensors on the CPU.

    Raises:
        CheckpointError: the file is missing, cut short, altered, foreign or of another schema.
    """
    path = Path(path)
    try:
        _check_padding(path)
        with cast("Any", safe_open(path, framework="pt")) as file:
            metadata = _checked_metadata(path, file.metadata())
            names: list[str] = list(file.keys())
            # Fresh memory: a mapped tensor may be unaligned, and sums over it would differ in the last bit.
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name).clone() for name in names}
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}); give another file") from error
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is cut short, altered or no checkpoint ({error}); use another") from error
    if metadata["sha256"] != _digest(tensors, metadata):
        raise CheckpointError(f"{path} was altered: its contents do not match its checksum; use another")
    return decode(tensors, metadata["state"])


@dataclass(frozen=True, slots=True)
class SaveReport:
    """A finished write: where, how much, how long."""

    path: Path
    num_bytes: int
    wall_s: float


class CheckpointFolder:
    """The checkpoints of one run, named by step.

    Args:
        directory: made at the first save.
        keep: checkpoints that stay, the newest ones.
    """

    def __init__(self, directory: str | Path, keep: int) -> None:
        self.directory = Path(directory)
        self._keep = keep

    def path_for(self, step: int) -> Path:
        """File of one step."""
        return self.directory / f"step-{step:08d}.safetensors"

    def steps(self) -> list[int]:
        """Steps that have a file, ascending."""
        names = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in self.directory.glob("step-*"))
        return sorted(int(name[1]) for name in names if name is not None)

    def save(self, state: object, step: int) -> SaveReport:
        """Write the checkpoint of a step, then drop the oldest beyond `keep`.

        Files of later steps go too: written before a rollback or a resume, they hold another future.

        Raises:
            CheckpointError: a value in the state cannot be stored.
            DiskError: the disk is full or the folder cannot be written; earlier checkpoints are untouched.
        """
        began = time.perf_counter()
        path = self.path_for(step)
        num_bytes = write_checkpoint(path, state)
        earlier = [one for one in self.steps() if one <= step]
        with _disk_errors(path):
            for one in set(self.steps()) - set(earlier[-self._keep :]):
                self.path_for(one).unlink(missing_ok=True)
        return SaveReport(path, num_bytes, time.perf_counter() - began)

    def latest(self) -> Path | None:
        """File of the last step, unread; None when there is none."""
        steps = self.steps()
        return self.path_for(steps[-1]) if steps else None


def _digest(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """sha256 over schema, JSON text, and each tensor's name, type, shape and bytes in the order of names."""
    digest = hashlib.sha256(f"{metadata['hpt_schema']}\n{metadata['state']}\n".encode())
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _checked_metadata(path: Path, metadata: Mapping[str, str] | None) -> Mapping[str, str]:
    if metadata is None or set(metadata) != {"hpt_schema", "state", "sha256"}:
        raise CheckpointError(f"{path} is no checkpoint of hpt; give a file that hpt wrote")
    schema = metadata["hpt_schema"]
    if not schema.isdecimal():
        raise CheckpointError(f"{path} was altered: its schema is {schema!r}; use another")
    if int(schema) != SCHEMA_VERSION:
        other = "a newer" if int(schema) > SCHEMA_VERSION else "an older"
        raise CheckpointError(f"{path} has schema {schema}, this hpt reads {SCHEMA_VERSION}; load it with {other} hpt")
    return metadata


def _check_padding(path: Path) -> None:
    """Refuse a header that was altered where no parser looks: it ends in '}' and spaces, nothing else."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, _HEADER_LIMIT_BYTES))
    if not header.rstrip(b" ").endswith(b"}"):
        raise ValueError("its header is damaged")


def _check_space(path: Path, needed_bytes: int) -> None:
    available_bytes = shutil.disk_usage(path.parent).free
    if available_bytes < needed_bytes:
        raise DiskError(
            f"{path} needs {needed_bytes} bytes and {path.parent} has {available_bytes} left; "
            "free some space, or set checkpoint.dir to another disk"
        )


def _write_whole(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    # A folder, because safetensors makes a temporary file of its own beside the one it is asked for.
    partial = path.with_name(f".{path.name}.{owner()}.partial")
    partial.mkdir(exist_ok=True)
    try:
        file = partial / path.name
        save_file(tensors, file, metadata)
        file.chmod(partial.stat().st_mode & 0o666)  # readable as the user's own files are; safetensors makes it 0600
        sync(file)
        file.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync(path.parent)


def _remove_partials(directory: Path) -> None:
    """Remove what killed processes of this machine left half-written; what other machines write here is theirs."""
    host, _, own = owner().partition(".")
    for path in directory.glob(".*.partial"):
        name = _PARTIAL.fullmatch(path.name)
        if name is None or name["host"] != host:
            continue
        if name["pid"] == own or not psutil.pid_exists(int(name["pid"])):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _disk_errors(path: Path) -> Generator[None]:
    """Turn what the operating system says into a DiskError that names the file and what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        is_full = getattr(error, "errno", None) == errno.ENOSPC or f"os error {errno.ENOSPC}" in str(error)
        reason = "the disk is full" if is_full else getattr(error, "strerror", None) or str(error)
        raise DiskError(
            f"{path} cannot be written ({reason}); free some space or set checkpoint.dir to another folder"
        ) from error
