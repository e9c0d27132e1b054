"""The user's own code: found by `package.module:NAME`, and named with its file and line when it fails."""

import importlib
import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from hpt.errors import HptError

FAILURES = (Exception, SystemExit)
"""What a plug-in may fail with: one that calls sys.exit has failed, whatever status it asks for."""
_loaded: set[str] = set()  # top-level names, so that a traceback can be searched for them


def load_plugin(path: str) -> Any:
    """What `package.module:NAME` names; dots after the colon are followed.

    A module that is not installed is looked for in the working directory, which comes last on the path, so that no file
    there stands in for a module of anybody else.

    Raises:
        Exception: whatever its import raises, SystemExit among them; see `failures_named`.
    """
    module_name, _, attribute = path.partition(":")
    top = module_name.partition(".")[0]
    _loaded.add(top)
    if top and find_spec(top) is None:
        sys.path.append(os.getcwd())  # noqa: PTH109 - a word of sys.path
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == top:
            error.msg += "; install it, go to its folder, or name that in PYTHONPATH"
        raise
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


@contextmanager
def failures_named(what: str) -> Generator[None]:
    """A failure inside becomes one line: `what`, the cause, and where in the plug-in it happened.

    Raises:
        HptError: the user's code failed or called sys.exit. Errors of the tool's own tree pass unchanged.
    """
    try:
        yield
    except HptError:
        raise
    except FAILURES as error:
        raise HptError(f"{what} ({described(error)}); --debug shows where") from error


def one_line(error: BaseException) -> str:
    """What the user is told: the message of an expected failure, anything else as it is `described`."""
    return " ".join(str(error).split()) if isinstance(error, HptError) else described(error)


def described(error: BaseException) -> str:
    """Type and message in one line; file, line and function, if it came from a plug-in's code."""
    is_exit = isinstance(error, SystemExit)
    cause = f"it called sys.exit({error.code!r})" if is_exit else f"{type(error).__name__}: {error}"
    where = plugin_place(error)
    return " ".join(cause.split()) + ("" if where is None else f", in {where}")


def plugin_place(error: BaseException) -> str | None:
    """File, line and function of the innermost frame of a plug-in that an error passed; None if it passed none."""
    frames = [
        f"{frame.f_code.co_filename}, line {line}, {frame.f_globals['__name__']}.{frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _loaded
    ]
    return frames[-1] if frames else None
