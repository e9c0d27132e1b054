"""Stored runs by name: a copy of the pyperf file, which carries all that a comparison needs."""

import re
from pathlib import Path

from hpt.bench.measurement import Measurement, read_measurements, read_suite, write_suite
from hpt.errors import UsageError
from hpt.jsonfiles import disk_errors

FOLDER = Path("runs") / "baselines"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def save_baseline(name: str, suite_file: Path) -> Path:
    """Keep a run under a name, in place of what had it before; returns the file.

    Raises:
        UsageError: the name cannot be a file's, or the run cannot be read.
        DiskError: it cannot be written.
    """
    path = _file_of(name)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_suite(path, read_suite(suite_file).get_benchmarks())
    return path


def check_name(name: str) -> None:
    """Refuse a name before hours of measuring.

    Raises:
        UsageError: it cannot be a file's.
    """
    _file_of(name)


def _file_of(name: str) -> Path:
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise UsageError(f"baseline is {name!r}; a name has letters, digits, '_', '.', '-' only")
    return FOLDER / f"{name}.json"


def load_baseline(name: str) -> dict[str, Measurement]:
    """The measurements of a baseline.

    Raises:
        UsageError: there is none of that name, or it cannot be read.
    """
    path = _file_of(name)
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in FOLDER.glob("*.json"))) or "none"
        raise UsageError(f"baseline {name!r} is not in {FOLDER} (there: {known}); make it with --save-baseline {name}")
    return read_measurements(path)


def load_run(word: str) -> dict[str, Measurement]:
    """The measurements of a run: its folder, a pyperf file, or the name of a baseline.

    Raises:
        UsageError: nothing of that name can be read.
    """
    path = Path(word)
    if path.is_dir():
        return read_measurements(path / "bench.json")
    if path.exists() or "/" in word or path.suffix == ".json":
        return read_measurements(path)
    return load_baseline(word)
