"""The README's example runs as it stands."""

import re
from pathlib import Path

import pytest
from references.fresh_process import run_fresh

README = Path(__file__).parents[1] / "README.md"


def example() -> str:
    match = re.search(r"<!-- example -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None, "README.md has no example"
    return match.group(1)


def test_the_example_is_short_trains_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most fifteen statements' lines; it learns, jumps are kept, and the checkpoint is there."""
    code = example()
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 15
    check = (
        "\nassert result.loss < 0.5, result.loss"
        "\nassert trainer.summary()['counters']['jumps_accepted'] >= 5, trainer.summary()\n"
    )
    monkeypatch.chdir(tmp_path)
    done = run_fresh("builtins:exec", code + check, {})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run.ckpt").stat().st_size > 0
