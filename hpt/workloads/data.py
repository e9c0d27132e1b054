"""Text as bytes: where it comes from, what is held out, and what knowing only byte frequencies is worth.

By default the text is the Python standard library's own sources: real, structured, and on every machine that
runs this. Left out are installed packages, test suites, and two folders of generated tables (`encodings`,
`pydoc_data`). The version of Python decides the exact bytes, so the record names their number and SHA-256.

Held out: the text is cut into 160 contiguous blocks of nearly equal length, and every sixteenth is
validation. Training windows are cut from the remaining blocks joined end to end, so no training window holds
a held-out byte.
"""

import hashlib
import os
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt.errors import DataError
from hpt.workloads.workload import marginal_entropy

Bytes = NDArray[np.uint8]

MAX_BYTES = 64_000_000  # stays below a second to read, hash and count
NUM_BLOCKS = 160
HELD_OUT_EVERY = 16
SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "test", "tests", "encodings", "pydoc_data"}
)


@dataclass(frozen=True)
class Text:
    """A text and its split.

    Attributes:
        train: training bytes, shape (train_bytes,).
        validation: held-out bytes, shape (validation_bytes,).
        unigram_entropy: nats per byte of the whole text's byte frequencies.
        source: what was read, for the record.
        num_files: files read.
        num_bytes: bytes read.
        sha256: hex digest of the bytes read, so that two runs can tell whether they saw the same text.
        is_truncated: reading stopped at `MAX_BYTES`.
    """

    train: Bytes
    validation: Bytes
    unigram_entropy: float
    source: str
    num_files: int
    num_bytes: int
    sha256: str
    is_truncated: bool

    def describe(self) -> dict[str, Any]:
        """Plain facts about the text for a run's record."""
        return {
            "source": self.source,
            "num_files": self.num_files,
            "num_bytes": self.num_bytes,
            "sha256": self.sha256,
            "is_truncated": self.is_truncated,
            "train_bytes": len(self.train),
            "validation_bytes": len(self.validation),
            "split": f"every {HELD_OUT_EVERY}th of {NUM_BLOCKS} contiguous blocks is held out",
        }


def load_text(path: Path | None, min_bytes: int) -> Text:
    """The user's file or folder, or the standard library's sources when `path` is None.

    Raises:
        DataError: the path is missing or unreadable, or holds fewer than `min_bytes` bytes.
    """
    text = _standard_library() if path is None else _text_of(path, _user_files(path), str(path))
    if text.num_bytes < min_bytes:
        raise DataError(f"{text.source} holds {text.num_bytes} bytes, the workload needs {min_bytes}; give more text")
    return text


def unigram_entropy(text: Bytes) -> float:
    """Entropy of the byte frequencies, nats per byte: the loss of a model that knows nothing else."""
    counts = np.zeros(256, dtype=np.int64)
    for block in np.array_split(text, NUM_BLOCKS):
        counts += np.bincount(block, minlength=256)
    return marginal_entropy(counts)


def split(text: Bytes) -> tuple[Bytes, Bytes]:
    """Training and validation bytes, as the module's docstring describes."""
    blocks = np.array_split(text, NUM_BLOCKS)
    held_out = [block for i, block in enumerate(blocks) if i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1]
    kept = [block for i, block in enumerate(blocks) if i % HELD_OUT_EVERY != HELD_OUT_EVERY - 1]
    return np.concatenate(kept), np.concatenate(held_out)


@lru_cache(maxsize=1)
def _standard_library() -> Text:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in _files_below(root, SKIPPED_FOLDERS) if path.suffix == ".py"]
    version = sysconfig.get_python_version()
    return _text_of(root, files, f"standard library sources of Python {version}")


def _user_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        return _files_below(path, frozenset())
    raise DataError(f"data path {path} does not exist; give a text file or a folder of them")


def _files_below(root: Path, skipped: frozenset[str]) -> list[Path]:
    """Regular files below a folder in the order of their relative names, hidden ones left out."""
    found: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in skipped and not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted((path for path in found if path.is_file()), key=lambda path: path.relative_to(root).as_posix())


def _text_of(root: Path, files: list[Path], source: str) -> Text:
    """Read files in order until `MAX_BYTES`."""
    pieces: list[bytes] = []
    room = MAX_BYTES
    for path in files:
        if room <= 0:
            break
        pieces.append(_read(path, room))
        room -= len(pieces[-1])
    joined = b"".join(pieces)
    if not joined:
        raise DataError(f"no text was found in {root}; give a text file or a folder that holds some")
    text = np.frombuffer(joined, dtype=np.uint8)
    train, validation = split(text)
    return Text(
        train=train,
        validation=validation,
        unigram_entropy=unigram_entropy(text),
        source=source,
        num_files=len(pieces),
        num_bytes=len(joined),
        sha256=hashlib.sha256(joined).hexdigest(),
        is_truncated=room <= 0,
    )


def _read(path: Path, at_most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(at_most)
    except OSError as error:
        raise DataError(f"data file {path} cannot be read ({error.strerror}); check its permissions") from error
