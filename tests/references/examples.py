"""The files of examples/, run as they are."""

import re
import runpy
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples"


def jumps_told_by(name: str) -> int:
    """Jumps that were kept in its 600 updates, as its last line tells."""
    with redirect_stdout(StringIO()) as told:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    last = told.getvalue().splitlines()[-1]
    found = re.fullmatch(r"600 updates, (\d+) jumps of \d+; .+", last)
    assert found is not None, last
    return int(found[1])
