"""What the original states of itself, and what its own code or records show: facts kept in claims.toml."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def original() -> Mapping[str, Any]:
    """The whole file."""
    return tomllib.loads((files("hpt_reports") / "claims.toml").read_text(encoding="utf-8"))


def claims(page: str | None = None) -> list[Mapping[str, str]]:
    """Claims, all of them or those that a report takes up."""
    return [one for one in original()["claims"] if page is None or one["page"] == page]
