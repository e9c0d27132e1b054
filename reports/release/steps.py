"""The steps of `hpt release-check`: what must pass, by which command, in which environment.

Two environments are used. The one that runs this command has the test tools; the fresh one is made on the way, holds
the built wheel and what the constraints pin, and is what a user has.
"""

import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpt.errors import PrerequisiteError

MINUTE_S = 60.0
PIP_WHEEL = ("-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")
PIP_INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt")
NEEDED = ("pyproject.toml", "constraints.txt", "tests", "hpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command.

    Attributes:
        name: short.
        what: for tables.
        command: words, the program first.
        limit_s: seconds after which it has failed.
        junit: file in which pytest leaves its counts.
        needs: names of steps that must have passed.
    """

    name: str
    what: str
    command: Sequence[str]
    limit_s: float
    junit: Path | None = None
    needs: tuple[str, ...] = ()


def steps_of(root: Path, work: Path) -> list[Step]:
    """All steps, in order.

    Args:
        root: of the checkout.
        work: folder for everything that the steps leave behind.

    Raises:
        PrerequisiteError: the folder is no checkout of the project.
    """
    lacking = [name for name in NEEDED if not (root / name).exists()]
    if lacking:
        raise PrerequisiteError(f"{root} has no {lacking[0]}; run hpt release-check in a checkout of the project")
    return [*_static_checks(), *_installation(root, work), *_measurements(work), *_tests(work)]


def _static_checks() -> list[Step]:
    """What needs only the sources."""
    python, scripts = sys.executable, Path(sys.executable).parent
    return [
        Step(
            name="format", what="formatting", command=[python, "-m", "ruff", "format", "--check", "."], limit_s=MINUTE_S
        ),
        Step(name="lint", what="lint", command=[python, "-m", "ruff", "check", "."], limit_s=MINUTE_S),
        Step(name="layers", what="import layers", command=[str(scripts / "lint-imports")], limit_s=2 * MINUTE_S),
        Step(name="types", what="types", command=[str(scripts / "pyright")], limit_s=6 * MINUTE_S),
    ]


def _installation(root: Path, work: Path) -> list[Step]:
    """The wheel, into an environment that a user would have."""
    python, fresh = sys.executable, work / "env" / "bin"
    return [
        Step(
            name="wheel",
            what="build of the wheel",
            command=[python, *PIP_WHEEL, "--wheel-dir", str(work / "wheel"), "."],
            limit_s=2 * MINUTE_S,
        ),
        Step(
            name="environment",
            what="fresh environment",
            command=[python, "-m", "venv", "--clear", str(work / "env")],
            limit_s=2 * MINUTE_S,
        ),
        Step(
            name="install",
            what="install of the wheel into the fresh environment",
            command=[str(fresh / "python"), *PIP_INSTALL, torch_pin(root), str(work / "wheel" / wheel_name(root))],
            limit_s=10 * MINUTE_S,
            needs=("wheel", "environment"),
        ),
        Step(
            name="version",
            what="the installed command answers",
            command=[str(fresh / "hpt"), "--version"],
            limit_s=MINUTE_S,
            needs=("install",),
        ),
    ]


def _measurements(work: Path) -> list[Step]:
    """The three measurements and their reports, by the installed command."""
    fresh, runs = work / "env" / "bin", work / "runs"
    return [
        Step(
            name="bench",
            what="all benchmarks, fast",
            command=[str(fresh / "hpt"), "bench", "all", "--fast", "--out", str(runs / "bench")],
            limit_s=5 * MINUTE_S,
            needs=("install",),
        ),
        Step(
            name="memory",
            what="memory validation of gpt2-nano",
            command=[str(fresh / "hpt"), "validate-vram", "--model", "gpt2-nano", "--out", str(runs / "vram")],
            limit_s=3 * MINUTE_S,
            needs=("install",),
        ),
        Step(
            name="compare",
            what="comparison, quick",
            command=[str(fresh / "hpt"), "compare", "--budget", "quick", "--out", str(runs / "compare")],
            limit_s=6 * MINUTE_S,
            needs=("install",),
        ),
        Step(
            name="report",
            what="reports from these runs",
            command=[str(fresh / "hpt"), "report", "all", "--runs", str(runs), "--out", str(work / "reports")],
            limit_s=MINUTE_S,
            needs=("install",),
        ),
    ]


def _tests(work: Path) -> list[Step]:
    """Examples, the whole suite, and the committed evidence."""
    python = sys.executable
    return [
        Step(
            name="examples",
            what="examples of README and docs, links of docs",
            command=[
                python,
                "-m",
                "pytest",
                "-q",
                "tests/docs",
                "tests/test_readme.py",
                f"--junitxml={work / 'examples.xml'}",
            ],
            limit_s=4 * MINUTE_S,
            junit=work / "examples.xml",
        ),
        Step(
            name="tests",
            what="the whole test suite",
            command=[python, "-m", "pytest", "-q", f"--junitxml={work / 'tests.xml'}"],
            limit_s=20 * MINUTE_S,
            junit=work / "tests.xml",
        ),
        Step(
            name="evidence",
            what="committed reports against the evidence, measured on these sources",
            command=[python, "-m", "hpt", "report", "all", "--check", "--fresh"],
            limit_s=MINUTE_S,
        ),
    ]


def wheel_name(root: Path) -> str:
    """File name of the wheel that this checkout builds; by its path no package of the same name can be meant."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"{project['name'].replace('-', '_')}-{project['version']}-py3-none-any.whl"


def torch_pin(root: Path) -> str:
    """The exact version of torch: a looser one may bring gigabytes of GPU libraries along.

    Raises:
        PrerequisiteError: the constraints pin none.
    """
    found = re.search(r"^torch==\S+$", (root / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise PrerequisiteError(f"{root / 'constraints.txt'} pins no torch; add its line")
    return found[0]
