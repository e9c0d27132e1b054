"""Text: what is read, what is held out, and every way it can be refused."""

import hashlib
import sysconfig
import time
from collections import Counter
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.errors import DataError
from hpt.workloads import data
from hpt.workloads.data import load_text, split, unigram_entropy


def test_standard_library_is_real_text_with_the_known_entropy() -> None:
    """Megabytes of this interpreter's sources, about 3.15 nats per byte, named in the facts."""
    text = load_text(None, 1)
    facts = text.describe()
    assert text.unigram_entropy == pytest.approx(3.15, abs=0.05)
    assert facts["num_bytes"] > 5_000_000
    assert facts["num_files"] > 300
    assert sysconfig.get_python_version() in facts["source"]
    source = Path(sysconfig.get_paths()["stdlib"], "argparse.py").read_bytes()
    assert source[50_000:50_100] in text.train.tobytes() + text.validation.tobytes()


def test_standard_library_leaves_out_tests_and_installed_packages() -> None:
    """Reading exactly the files a plain walk with the documented exclusions finds gives the same digest."""
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "encodings", "pydoc_data"}
    names = {path.relative_to(root).as_posix() for path in root.glob("[!.]*.py")}
    for folder in root.iterdir():
        if folder.is_dir() and folder.name not in left_out and not folder.name.startswith("."):
            names |= {path.relative_to(root).as_posix() for path in folder.rglob("*.py")}
    kept = sorted(name for name in names if not left_out & set(name.split("/")))
    digest = hashlib.sha256(b"".join((root / name).read_bytes() for name in kept)).hexdigest()
    text = load_text(None, 1)
    assert (text.sha256, text.num_files) == (digest, len(kept))


def test_standard_library_is_read_once() -> None:
    """The second call returns the text in memory: the same object, in no time."""
    first = load_text(None, 1)
    start_s = time.perf_counter()
    assert load_text(None, 1) is first
    assert time.perf_counter() - start_s < 0.05


@given(content=st.binary(min_size=1, max_size=2000))
@settings(max_examples=30)
def test_entropy_equals_the_sum_over_a_counter(content: bytes) -> None:
    """Counting in blocks of numpy equals minus the mean log share of each byte, one at a time."""
    counts = Counter(content)
    expected = -sum(log(counts[byte] / len(content)) for byte in content) / len(content)
    assert unigram_entropy(np.frombuffer(content, dtype=np.uint8)) == pytest.approx(expected, abs=1e-12)


@given(size=st.integers(1, 5000))
@settings(max_examples=30)
def test_split_keeps_every_byte_in_one_half(size: int) -> None:
    """Together the halves hold each position once, and a sixteenth is held out up to block rounding."""
    places = np.arange(size, dtype=np.int64)
    train, validation = split(places)  # pyright: ignore[reportArgumentType] (positions stand for bytes)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), places)
    assert abs(len(validation) - size / 16) <= 10


def test_held_out_blocks_are_spread_over_the_text() -> None:
    """Of 1,600 places every sixteenth block of ten is held out, written out here."""
    places = np.arange(1600, dtype=np.int64)
    _, validation = split(places)  # pyright: ignore[reportArgumentType] (positions stand for bytes)
    expected = [start + offset for start in range(150, 1600, 160) for offset in range(10)]
    assert validation.tolist() == expected


def test_a_file_of_the_user_is_read_whole(tmp_path: Path) -> None:
    """Any bytes are text; count, digest and entropy are those of the file."""
    content = bytes(range(256)) * 10
    path = tmp_path / "own.bin"
    path.write_bytes(content)
    text = load_text(path, 100)
    assert (text.num_bytes, text.num_files, text.is_truncated) == (2560, 1, False)
    assert text.sha256 == hashlib.sha256(content).hexdigest()
    assert text.unigram_entropy == pytest.approx(log(256))
    assert text.source == str(path)


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    """Subfolders included, hidden files and folders and dangling links not."""
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    for name, content in {
        "c": "third",
        "b/z": "second",
        "a": "first",
        ".hidden": "no",
        ".git/x": "no",
    }.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    text = load_text(tmp_path, 1)
    assert text.sha256 == hashlib.sha256(b"firstsecondthird").hexdigest()
    assert text.num_files == 3


def test_reading_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit the rest is left, and the record says so."""
    monkeypatch.setattr(data, "MAX_BYTES", 7)
    for name in "abc":
        (tmp_path / name).write_text(name * 5)
    text = load_text(tmp_path, 1)
    assert text.sha256 == hashlib.sha256(b"aaaaabb").hexdigest()
    assert (text.num_bytes, text.num_files, text.is_truncated) == (7, 2, True)


def test_missing_path_is_refused(tmp_path: Path) -> None:
    """A path that is not there names itself and the remedy."""
    with pytest.raises(DataError, match=r"nothing does not exist; give a text file or a folder"):
        load_text(tmp_path / "nothing", 1)


def test_empty_folder_and_empty_file_are_refused(tmp_path: Path) -> None:
    """Nothing to read is no text."""
    with pytest.raises(DataError, match=r"no text was found in .*; give"):
        load_text(tmp_path, 1)
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match=r"no text was found in .*; give"):
        load_text(tmp_path / "empty", 1)


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    """The message says how much there is and how much is needed."""
    (tmp_path / "short").write_text("x" * 99)
    with pytest.raises(DataError, match=r"holds 99 bytes, the workload needs 100; give more text"):
        load_text(tmp_path / "short", 100)


def test_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the system becomes one line that names the file."""
    path = tmp_path / "locked"
    path.write_text("secret")

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"locked cannot be read \(Permission denied\); check its permissions"):
        load_text(path, 1)
