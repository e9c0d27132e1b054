"""A working folder for runs of `hpt train`, and one undisturbed run to compare with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from references.faulty_run import SETTINGS, train

TESTS = Path(__file__).parents[1]


@contextmanager
def _prepared(path: Path) -> Iterator[Path]:
    """Work in a folder with the settings file; all global state comes back afterwards."""
    (path / "settings.toml").write_text(SETTINGS)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)
        patch.chdir(path)
        yield path
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a test works."""
    with _prepared(tmp_path) as path:
        yield path


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a run that nothing disturbed."""
    with _prepared(tmp_path_factory.mktemp("whole")) as path:
        assert train() == 0
    return str(path / "out")
