"""Generated blocks inside pages that people write: found between two marks, and replaced."""

import re
from pathlib import Path

from hpt.errors import UsageError

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
_BLOCK = re.compile(re.escape(BEGIN) + r"\n(.*?)" + re.escape(END), re.DOTALL)


def block_of(page: Path) -> str:
    """The text between the marks.

    Raises:
        UsageError: the page is missing, or has no marks, or several.
    """
    found = _BLOCK.findall(_read(page))
    if len(found) != 1:
        raise UsageError(
            f"{page} has {len(found)} blocks between {BEGIN} and {END}, it must have one; put the marks back"
        )
    return found[0]


def with_block(page: Path, text: str) -> str:
    """The page with another text between the marks.

    Raises:
        UsageError: as `block_of`.
    """
    block_of(page)
    return _BLOCK.sub(lambda _: f"{BEGIN}\n{text}{END}", _read(page))


def _read(page: Path) -> str:
    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{page} cannot be read ({error.strerror}); restore it") from error
