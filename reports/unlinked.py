"""Numbers without evidence: lines of a report that hold a number and no link to where it comes from.

A line here is what a reader takes in at once: a paragraph, a point of a list, a row of a table. Code, headings, names
with digits in them (GPT-2, fp32) and the addresses of links are no numbers.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_NUMBER = re.compile(r"(?<![\w.,-])[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?=$|[^\w-])")
_LINK = re.compile(r"\[(?:[^\]\\]|\\.)*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")
_NAMES = re.compile(r"GPT-2 (?:124M|1\.5B)|GPT-2")
_RULES = re.compile(r"95 % (?:interval|bound)|5th (?:and|to) 95th percentile|R² =")
"""Fixed words of statistics, not results."""


def unlinked(text: str, *folders: Path) -> Iterator[str]:
    """Lines with a number whose links lead to no file.

    Args:
        text: Markdown of a report.
        folders: where the report lies, from which its links count.
    """
    for line in _FENCE.sub("", text).splitlines():
        if line.startswith("#"):
            continue
        bare = _RULES.sub("", _NAMES.sub("", _CODE.sub("", line)))
        words = _LINK.sub("", bare.replace("![", "["))
        if _NUMBER.search(words) and not any(
            _leads(found, folder) for found in _LINK.findall(bare) for folder in folders
        ):
            yield line


def _leads(address: str, folder: Path) -> bool:
    return address.endswith((".json", ".toml", ".csv")) and Path(os.path.normpath(folder / address)).exists()
