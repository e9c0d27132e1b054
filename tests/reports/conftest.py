"""Folders of stored runs: real files, made by really measuring something small."""

import shutil
from pathlib import Path

import pytest
from references.stored_runs import write_timings

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


@pytest.fixture
def checkout(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with some evidence and pages that hold blocks; the working directory."""
    root = tmp_path / "checkout"
    evidence = root / "reports" / "evidence"
    for part in ("vram", "train", "bench-default"):
        shutil.copytree(stored / part, evidence / part)
    shutil.copy(stored / "overhead_byte_gpt.json", evidence)
    (root / "docs").mkdir()
    for page in (
        "README.md",
        "docs/engineering_spec.md",
        "constraints.txt",
        "reports/claims.toml",
        "reports/targets.toml",
    ):
        shutil.copy(ROOT / page, root / page)
    monkeypatch.chdir(root)
    return root
