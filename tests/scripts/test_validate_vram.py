"""scripts/validate_vram.sh on a stub machine: every part runs, every failure counts, and no GPU is no pass."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "validate_vram.sh"
ENVIRONMENT = """
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv"
say() { printf '%s\\n' "$*" >&2; }
ensure_environment() { echo "environment $1" >>"$ROOT/calls"; }
"""
# The driver: tells the memory of the device, or that there is none; the dtype chosen; and how pytest ended.
PYTHON = """#!/usr/bin/env bash
here="$(cd "$(dirname "$0")/../.." && pwd)"
if [[ "$1" == -m ]]; then echo "pytest ${*:3}" >>"$here/calls"; exit "${STUB_TESTS:-0}"; fi
if [[ $# -eq 2 ]]; then [[ -n "${STUB_GIB-}" ]] && echo "$STUB_GIB" || exit 6; else echo "$3 bf16"; fi
"""
HPT = """#!/usr/bin/env bash
here="$(cd "$(dirname "$0")/../.." && pwd)"
echo "hpt $*" >>"$here/calls"
if [[ "$*" == *--estimate* ]]; then [[ " ${STUB_FITS:-} " == *" $3 "* ]] && exit 0 || exit 3; fi
[[ " ${STUB_FAILS:-} " == *" $5 "* ]] && exit 3 || exit 0
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout whose environment, interpreter and command are stubs that write down how they were called."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "scripts" / "environment.sh").write_text(ENVIRONMENT)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name, text in (("python", PYTHON), ("hpt", HPT)):
        path = tmp_path / ".venv" / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path


def _run(machine: Path, **stub: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the calls that were made."""
    done = subprocess.run(
        ["bash", "scripts/validate_vram.sh", str(machine / "out")],
        cwd=machine,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **{f"STUB_{name.upper()}": value for name, value in stub.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, (machine / "calls").read_text().splitlines()


def test_every_part_runs_and_passes(machine: Path) -> None:
    """Environment, CUDA tests, gpt2, the largest size by estimate in the precision it fits, and a summary."""
    code, said, calls = _run(machine, gib="16.00", fits="gpt2-large gpt2-medium gpt2")
    assert code == 0
    assert calls[:3] == [
        "environment test",
        "pytest -q -m cuda",
        f"hpt validate-vram --device cuda --model gpt2 --steps 200 --out {machine}/out/gpt2",
    ]
    assert [one.split()[3] for one in calls if "--estimate" in one] == ["gpt2-xl", "gpt2-large"]
    assert calls[-1] == (
        f"hpt validate-vram --device cuda --model gpt2-large --dtype bf16 --steps 50 --out {machine}/out/gpt2-large"
    )
    assert said.count("passed  ") == 3
    assert (machine / "out" / "summary.txt").read_text().count("passed") == 3


def test_without_a_gpu_nothing_is_validated(machine: Path) -> None:
    """No driver answers: exit 6, no test and no training is run, and nothing says passed."""
    code, said, calls = _run(machine)
    assert code == 6
    assert calls == ["environment test"]
    assert "passed" not in said.lower()


@pytest.mark.parametrize(
    ("stub", "failed"),
    [
        ({"tests": "1"}, "tests that need CUDA (exit 1)"),
        ({"tests": "5"}, "tests that need CUDA (exit 5)"),  # pytest's code for "no test was found"
        ({"fails": "gpt2"}, "validation of gpt2 (exit 3)"),
        ({"fails": "gpt2-xl"}, "validation of gpt2-xl (bf16), the largest that fits (exit 3)"),
    ],
)
def test_one_failing_part_fails_the_whole_and_the_others_still_run(
    machine: Path, stub: dict[str, str], failed: str
) -> None:
    """Exit 1, the part is named, and two others passed."""
    code, said, _ = _run(machine, gib="80.00", fits="gpt2-xl gpt2", **stub)
    assert code == 1
    assert f"FAILED  {failed}" in said
    assert said.count("passed  ") == 2


def test_a_device_too_small_for_any_size_fails(machine: Path) -> None:
    """When not even gpt2 is estimated to fit, that part has failed."""
    code, said, _ = _run(machine, gib="0.50")
    assert code == 1
    assert "FAILED  largest size that fits" in said
