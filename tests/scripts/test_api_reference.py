"""The API reference is written from the docstrings, without a network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpt

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)"')
BUILD = """
import runpy, socket, sys
from pathlib import Path
def refuse(*_):
    raise OSError("no network here")
socket.socket.connect = socket.getaddrinfo = refuse
build = runpy.run_path(sys.argv[1])["build"]
print(build(Path(sys.argv[2]), ["!hpt[.](?!errors)"]))
"""


def test_every_public_name_has_an_entry_and_no_page_loads_anything_from_elsewhere(tmp_path: Path) -> None:
    """Of two modules, built in a process that cannot reach a network; links to other sites are no loads."""
    pytest.importorskip("pdoc", reason="the extra docs is not installed")
    script = ROOT / "scripts" / "api_reference.py"
    words = [sys.executable, "-c", BUILD, str(script), str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}
    assert set(pages) == {"index.html", "hpt.html", "hpt/errors.html"}
    missing = [name for name in hpt.__all__ if f'id="{name}"' not in pages["hpt.html"]]
    assert missing == []
    assert "The requested device is not there." in pages["hpt/errors.html"]
    assert [found for text in pages.values() for found in LOADED.findall(text)] == []
