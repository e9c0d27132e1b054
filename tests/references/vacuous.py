"""Tests that cannot fail by what they check: no assertion, no expected error, no call of a function that checks."""

import ast
from pathlib import Path

CHECKING = ("assert", "check", "raises", "warns", "fail")
"""Beginnings or whole names of calls that check something."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def vacuous_tests(folder: Path) -> list[str]:
    """Names of such tests under a folder, as `file::test`."""
    functions: dict[str, list[set[str]]] = {}
    tests: list[tuple[str, set[str]]] = []
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                called = _called(node)
                functions.setdefault(node.name, []).append(called)
                if node.name.startswith("test_") and file.name.startswith("test_"):
                    tests.append((f"{file.relative_to(folder).as_posix()}::{node.name}", called))
    checking = _checking(functions)
    return [name for name, called in tests if not _checks(called, checking)]


def _checking(functions: dict[str, list[set[str]]]) -> set[str]:
    """Names of functions that check, themselves or through others."""
    known: set[str] = set()
    while True:
        more = {name for name, each in functions.items() if any(_checks(called, known) for called in each)}
        if more <= known:
            return known
        known |= more


def _called(function: Function) -> set[str]:
    """Names of what a function calls; an assertion counts as a call of `assert`."""
    nodes = list(ast.walk(function))
    asserts = {"assert" for node in nodes if isinstance(node, ast.Assert)}
    return asserts | {_name(node.func) for node in nodes if isinstance(node, ast.Call)}


def _checks(called: set[str], checking: set[str]) -> bool:
    return not called.isdisjoint(checking) or any(name.startswith(CHECKING) for name in called)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
