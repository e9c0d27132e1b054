"""Reports to disk: whole files, blocks between two marks of pages that people write, and nothing else touched."""

import re
from pathlib import Path

from hpt.errors import UsageError
from hpt.run.ownership import Manifest
from hpt_reports.builder import Reports
from hpt_reports.pages.blocks import HOSTS

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
_BLOCK = re.compile(re.escape(BEGIN) + r"\n(.*?)" + re.escape(END), re.DOTALL)


def write(built: Reports, out: Path, *, form: str | None) -> list[str]:
    """Write the files, remove those of ours that no evidence gives any more; returns what was written.

    Args:
        built: the reports.
        out: their folder.
        form: "html" for the page for a browser alone, "md" for all but it, None for both.

    Raises:
        UsageError: a page of the checkout lacks the marks of its block, or somebody else's file is in the way.
    """
    manifest = Manifest(out, "report")
    names = [name for name in built.files if form is None or _form(name) == form]
    hosts = {} if built.root is None else {built.root / host.path: f"blocks/{host.name}.md" for host in HOSTS}
    pages = {page: with_block(page, built.files[name].decode()) for page, name in hosts.items() if name in names}
    wanted = {name: built.files[name] for name in names}
    manifest.add(wanted)
    for name, content in wanted.items():
        (out / name).write_bytes(content)
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")
    if "index.md" in built.files and form is None:
        manifest.keep_only(built.files)
    return [str(out / name) for name in wanted] + [str(page) for page in pages]


def _form(name: str) -> str:
    return "html" if name.endswith(".html") else "md"


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
