"""Folders of stored runs: real files, made by really measuring something small."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from references.stored_runs import write_timings

from hpt.cli.main import run

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of every kind; do not change it, copy it."""
    folder = tmp_path_factory.mktemp("stored") / "runs"
    shutil.copytree(DATA, folder)
    for preset in ("default", "reference"):
        write_timings(folder / f"bench-{preset}", preset=preset)
    return folder


@pytest.fixture
def runs(stored: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change."""
    return Path(shutil.copytree(stored, tmp_path / "runs"))


def _checked_out(stored: Path, root: Path, parts: Sequence[str] = ("vram", "train", "bench-default")) -> Path:
    """Some evidence, and pages that hold blocks."""
    evidence = root / "reports" / "evidence"
    evidence.mkdir(parents=True)
    for part in parts:
        shutil.copytree(stored / part, evidence / part)
    shutil.copy(stored / "overhead_byte_gpt.json", evidence)
    (root / "docs").mkdir()
    (root / "hpt" / "learned").mkdir(parents=True)
    for page in (
        "README.md",
        "docs/engineering_spec.md",
        "constraints.txt",
        "reports/claims.toml",
        "reports/targets.toml",
        "hpt/learned/prior.json",
    ):
        shutil.copy(ROOT / page, root / page)
    return root


@pytest.fixture
def checkout(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with some evidence and pages that hold blocks; the working directory."""
    root = _checked_out(stored, tmp_path / "checkout")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def light_checkout(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a run of training alone, for tests that build reports several times: few figures to draw."""
    root = _checked_out(stored, tmp_path / "checkout", ["train"])
    monkeypatch.chdir(root)
    return root


@pytest.fixture(scope="session")
def _reported(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout after `hpt report all`; do not change it, copy it."""
    root = _checked_out(stored, tmp_path_factory.mktemp("reported") / "checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert run(["report", "all"]) == 0
    return root


@pytest.fixture
def reported(_reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose reports are written; the working directory."""
    root = Path(shutil.copytree(_reported, tmp_path / "checkout"))
    monkeypatch.chdir(root)
    return root
