"""Tests that cannot fail by what they check: no assertion, no expected error, no call of a function that checks."""

import ast
from pathlib import Path

CHECKING = ("assert", "check", "raises", "warns", "fail")
"""Beginnings or whole names of calls that check something."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def vacuous_tests(folder: Path) -> list[str]:
    """Names of such tests under a folder, as `file::test`."""
    functions: dict[str, list[Function]] = {}
    tests: list[tuple[str, Function]] = []
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                functions.setdefault(node.name, []).append(node)
                if node.name.startswith("test_") and file.name.startswith("test_"):
                    tests.append((f"{file.relative_to(folder).as_posix()}::{node.name}", node))
    checking = _checking(functions)
    return [name for name, node in tests if not _checks(node, checking)]


def _checking(functions: dict[str, list[Function]]) -> set[str]:
    """Names of functions that check, themselves or through others."""
    known: set[str] = set()
    while True:
        more = {name for name, nodes in functions.items() if any(_checks(node, known) for node in nodes)}
        if more <= known:
            return known
        known |= more


def _checks(function: Function, checking: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = _name(node.func)
            if name.startswith(CHECKING) or name in checking:
                return True
    return False


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
