"""Do the reports that are there say what the evidence gives? Every byte is compared, every number must have a source.

Images are compared only where the pinned versions draw them, since another version of matplotlib may place a line a
hair elsewhere; the page that holds them is compared without them then. Their data are compared always.

A number has a source if what a reader takes in at once, a paragraph, a point of a list or a row of a table, links to a
stored file. Code, headings, names with digits in them (GPT-2, fp32) and the addresses of links are no numbers.
"""

import os
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import unquote_to_bytes

from hpt.errors import UsageError
from hpt.run.ownership import MANIFEST
from hpt_reports.builder import EVIDENCE_FOLDER, GENERATED_FOLDER, Reports, is_checkout_evidence
from hpt_reports.pages.blocks import HOSTS
from hpt_reports.writing import block_of

DRAWN_BY = ("matplotlib", "numpy", "fonttools", "contourpy")
_NUMBER = re.compile(r"(?<![\w.,-])[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?=$|[^\w-])")
_LINK = re.compile(r"\[(?:[^\]\\]|\\.)*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")
_NAMES = re.compile(r"GPT-2 (?:124M|1\.5B)|GPT-2")
_RULES = re.compile(r"95 % (?:interval|bound)|5th (?:and|to) 95th percentile|R² =")
"""Fixed words of statistics, not results."""
_LAST_DIGITS = re.compile(rb"(\d+\.\d\d\d)\d+")
"""Of a coordinate, below a thousandth of a point: another processor rounds them otherwise."""
_IMAGE = re.compile(rb'src="data:image/svg\+xml;base64,[^"]*"')


def findings(built: Reports, out: Path, *, only: str) -> Iterator[str]:
    """What is wrong, a line each; nothing if all is well.

    Args:
        built: what the evidence gives.
        out: where the reports are.
        only: "all", or the one report that was asked for.
    """
    root = built.root
    compare_images = draws_alike(None if root is None else root / "constraints.txt")
    for name, content in built.files.items():
        yield from _differs(out / name, content, images=compare_images)
    if only == "all":
        yield from _left_over(built.files, out)
    if root is not None and only in {"all", "readme"}:
        for host in HOSTS:
            yield from _block_differs(root / host.path, built.files[f"blocks/{host.name}.md"].decode())
    for name, content in built.files.items():
        if name.endswith(".md"):
            folders = [place.parent for place in _places(name, built.evidence.folder, out)]
            lines = numbers_without_source(content.decode(), *folders)
            yield from (f"{name}: a number without evidence: {line.strip()}" for line in lines)


def _places(name: str, runs: Path, out: Path) -> list[Path]:
    """Where a page's links may count from: where it goes, and for a checkout's evidence its committed place."""
    out = out.resolve()
    if not is_checkout_evidence(runs):
        return [out / name]
    root = runs.resolve().parents[len(EVIDENCE_FOLDER) - 1]
    hosts = {f"blocks/{host.name}.md": root / host.path for host in HOSTS}
    return [out / name, hosts.get(name, root.joinpath(*GENERATED_FOLDER, name))]


def draws_alike(constraints: Path | None) -> bool:
    """The installed versions of what draws are the pinned ones."""
    if constraints is None or not constraints.exists():
        return False
    pins = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", constraints.read_text(encoding="utf-8"), re.MULTILINE))
    return all(_version(name) == pins.get(name) for name in DRAWN_BY)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _differs(file: Path, content: bytes, *, images: bool) -> Iterator[str]:
    try:
        there = file.read_bytes()
    except FileNotFoundError:
        yield f"{file}: missing; the evidence gives it"
        return
    except OSError as error:
        yield f"{file}: cannot be read ({error.strerror})"
        return
    if not images:
        if file.suffix == ".svg":
            return
        there, content = (_IMAGE.sub(b"", one) for one in (there, content))
    if file.suffix == ".svg":
        there, content = (_LAST_DIGITS.sub(rb"\1", one) for one in (there, content))
    if there != content:
        yield f"{file}: differs from what the evidence gives, first in line {_first_difference(there, content)}"


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = zip(one.splitlines(), other.splitlines(), strict=False)
    return next(
        (place for place, (a, b) in enumerate(pairs, start=1) if a != b), min(one.count(b"\n"), other.count(b"\n")) + 1
    )


def _left_over(files: Mapping[str, bytes], out: Path) -> Iterator[str]:
    there = (file for file in sorted(out.rglob("*")) if file.is_file())
    for file in there:
        if file.relative_to(out).as_posix() not in {*files, MANIFEST}:
            yield f"{file}: left over; no evidence gives it"


def _block_differs(page: Path, text: str) -> Iterator[str]:
    try:
        there = block_of(page)
    except UsageError as error:
        yield str(error)
        return
    if there != text:
        line = _first_difference(there.encode(), text.encode())
        yield f"{page}: its measured block differs from what the evidence gives, first in its line {line}"


def numbers_without_source(text: str, *folders: Path) -> Iterator[str]:
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
    way = os.fsdecode(unquote_to_bytes(address))
    return way.endswith((".json", ".toml", ".csv")) and Path(os.path.normpath(folder / way)).exists()
