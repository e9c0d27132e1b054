"""One small run with everything in it, measured once, and settings that make real runs short."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from references.brief_run import BRIEF, NAME, measured_in

from hpt.bench.plan import MODES


@pytest.fixture(scope="session", autouse=True)
def _brief() -> Iterator[None]:
    """Two processes of two values instead of three of three."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODES, NAME, BRIEF)
        yield


@pytest.fixture(scope="session")
def finished(_brief: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three scenarios; do not change it."""
    path = tmp_path_factory.mktemp("finished") / "run"
    measured_in(path)
    return path
