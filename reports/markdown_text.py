"""Markdown as the reports use it: tables, and text of stored files made harmless."""

import html
from collections.abc import Sequence

import pandas as pd


def harmless(text: object) -> str:
    """Text from a stored file on one line, without anything that Markdown or HTML would act on."""
    line = " ".join(str(text).split())
    escaped = html.escape(line, quote=False).replace("|", "\\|").replace("`", "'")
    return escaped.replace("[", "\\[").replace("]", "\\]").replace("*", "\\*").replace("_", "\\_")


def code(text: object) -> str:
    """Text from a stored file as code."""
    line = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{line}`" if line else ""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first `left` columns and the last one are text, the others are numbers."""
    if not rows:
        return ""
    align = ["left" if index < left or index == len(columns) - 1 else "right" for index in range(len(columns))]
    frame = pd.DataFrame(list(rows), columns=list(columns), dtype=object)
    return str(frame.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=align))


def fenced(command: str) -> str:
    """A command to copy."""
    return f"```sh\n{command}\n```"
