"""All reports from one folder of runs, as files in memory: equal inputs, equal bytes.

gather -> pages -> Markdown and figures -> blocks for other pages -> index -> one HTML page

What a stored file lacks was found out when it was gathered. An error in here is an error of a page, and is not caught.
"""

import base64
import html
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

import markdown
from jinja2 import Environment, PackageLoader, StrictUndefined

from hpt_reports import prior
from hpt_reports.evidence import Evidence, address_of, gather
from hpt_reports.files import Content, Files
from hpt_reports.formatting import code, harmless
from hpt_reports.page import Links, Page, again, counted, source_table, verdict_table
from hpt_reports.pages import benchmarking, blocks, evaluation, layers, release_prep, survival, validation
from hpt_reports.tiles import tiles_of

LISTS = ("claims.toml", "targets.toml")
"""Kept beside this module; pages built elsewhere get a copy to link to."""
BELIEFS_FOLDER = "hpt/learned/"
"""Where a checkout keeps the prior."""
EVIDENCE_FOLDER = ("reports", "evidence")
GENERATED_FOLDER = ("reports", "generated")
"""Where a checkout keeps the runs that its committed reports are built from, and these reports."""
BUILDERS: Mapping[str, Callable[[Evidence, Links], Page]] = {
    "phase1": validation.build,
    "phase2": benchmarking.build,
    "vram": layers.build,
    "evaluation": evaluation.build,
    "survival": survival.build,
}
EXTENSIONS = ("tables", "fenced_code", "sane_lists")
FOLD = re.compile(r"<p>&lt;details&gt;&lt;summary&gt;(.*?)&lt;/summary&gt;</p>(.*?)<p>&lt;/details&gt;</p>", re.DOTALL)
"""What the templates fold, as it looks once all HTML in the Markdown is only text."""
READING_ORDER = ("phase1", "vram", "phase2", "evaluation", "survival", "phase3")


@dataclass(frozen=True, slots=True)
class Reports:
    """What was built.

    Attributes:
        files: content by path below the folder of reports.
        evidence: what it was built from, remarks included.
        root: of the checkout whose committed reports these are; None for anyone else's.
    """

    files: Mapping[str, bytes]
    evidence: Evidence
    root: Path | None


def is_checkout_evidence(runs: Path) -> bool:
    """The folder is the one that committed reports are built from, so links lead as they do in the checkout."""
    return runs.resolve().parts[-len(EVIDENCE_FOLDER) :] == EVIDENCE_FOLDER


def checkout_of(runs: Path, out: Path) -> Path | None:
    """Root of the checkout whose committed reports these are; None for anyone else's."""
    if not is_checkout_evidence(runs):
        return None
    root = runs.resolve().parents[len(EVIDENCE_FOLDER) - 1]
    return root if out.resolve() == root.joinpath(*GENERATED_FOLDER) else None


def links_for(runs: Path, out: Path) -> tuple[Links, dict[str, Links]]:
    """Links seen from the reports, and from each page that holds a block."""
    if is_checkout_evidence(runs):
        return Links("../evidence/", "", "../", f"../../{BELIEFS_FOLDER}"), {
            host.name: _links_from("../" * host.depth) for host in blocks.HOSTS
        }
    prefix = _way(out, runs)
    return Links(prefix), {host.name: Links(f"../{prefix}", "../", "../", "../") for host in blocks.HOSTS}


def _links_from(root: str) -> Links:
    """Of a checkout's page, given the way to the root."""
    return Links(f"{root}reports/evidence/", f"{root}reports/generated/", f"{root}reports/", root + BELIEFS_FOLDER)


def _way(out: Path, folder: Path) -> str:
    """From the reports to a folder, as links have it: both where they really are."""
    return address_of(Path(os.path.relpath(folder.resolve(), out.resolve()))) + "/"


def build(runs: Path, out: Path, only: str = "all") -> Reports:
    """Build every report, or one: phase1, phase2, phase3, vram, evaluation, survival, readme.

    Figures and the page for a browser are made when they are read. That page and the lists that pages link to are there
    for every folder but a checkout's committed one.

    Args:
        runs: folder of stored runs; nothing need be in it.
        out: where the reports will lie; links depend on it.
        only: which.
    """
    root = checkout_of(runs, out)
    links, host_links = links_for(runs, out)
    evidence = gather(runs)
    pages = _pages(evidence, links)
    found: dict[str, Content] = {}
    for page in (page for name, page in pages.items() if only in ("all", name)):
        found[f"{page.name}.md"] = page_text(page, links, evidence).encode()
        for figure in page.figures.values():
            found[f"figures/{figure.name}.svg"] = cache(figure.draw)
            found[f"figures/{figure.name}.csv"] = figure.csv.encode()
    if not is_checkout_evidence(runs):
        found |= {name: (files("hpt_reports") / name).read_bytes() for name in LISTS}
        found[prior.NAME] = prior.PATH.read_bytes()
    if only in {"all", "readme"}:
        found |= _blocks(evidence, host_links)
    if only == "all":
        ordered = [pages[name] for name in READING_ORDER]
        found["index.md"] = index_text(ordered, evidence, links).encode()
        if root is None:
            others = Files(found)
            found["report.html"] = cache(lambda: _page_for_a_browser(runs, out, evidence, others).encode())
    return Reports(Files(dict(sorted(found.items()))), evidence, root)


def _pages(evidence: Evidence, links: Links) -> dict[str, Page]:
    pages = {name: make(evidence, links) for name, make in BUILDERS.items()}
    return pages | {"phase3": release_prep.build(evidence, links, list(pages.values()))}


def _page_for_a_browser(runs: Path, out: Path, evidence: Evidence, files: Mapping[str, bytes]) -> str:
    """All reports in one page; its links lead from where it lies, since no checkout keeps it."""
    links = Links(_way(out, runs))
    if is_checkout_evidence(runs):
        links = replace(links, lists=_way(out, runs.parent), beliefs=_way(out, runs.parents[1] / BELIEFS_FOLDER))
    pages = _pages(evidence, links)
    ordered = [pages[name] for name in READING_ORDER]
    texts = {f"{page.name}.md": page_text(page, links, evidence).encode() for page in ordered}
    return html_page(ordered, {**files, **texts, "index.md": index_text(ordered, evidence, links).encode()})


def _blocks(evidence: Evidence, host_links: Mapping[str, Links]) -> dict[str, bytes]:
    """The blocks as their hosts will hold them."""
    links = host_links[blocks.README.name]
    texts = {
        blocks.README.name: blocks.readme(evidence, links),
        blocks.SPEC.name: blocks.engineering_spec(evidence, host_links[blocks.SPEC.name]),
    }
    return {f"blocks/{name}.md": text.encode() for name, text in texts.items()}


def page_text(page: Page, links: Links, evidence: Evidence) -> str:
    """A report as Markdown."""
    template = _templates(is_html=False).get_template(f"{page.name}.md.j2")
    text = template.render(
        page=page,
        links=links,
        refused=evidence.refused(page.reads),
        verdict_table=verdict_table(page.verdicts, links),
        source_table=source_table(page.sources, links),
        again=again(page.sources, page.missing),
    )
    return _tidy(text)


def index_text(pages: Sequence[Page], evidence: Evidence, links: Links) -> str:
    """The list of reports, of measurements, and of inputs that are not used, as Markdown."""
    sources = source_table(evidence.sources, links)
    template = _templates(is_html=False).get_template("index.md.j2")
    return _tidy(template.render(pages=pages, links=links, source_table=sources, remarks=evidence.remarks))


def _tidy(text: str) -> str:
    """One blank line between blocks, none at the ends, no spaces at the ends of lines."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"


@cache
def _templates(*, is_html: bool) -> Environment:
    # Markdown is no HTML: what comes from stored files is made harmless where it enters a table or a sentence
    environment = Environment(loader=PackageLoader("hpt_reports"), undefined=StrictUndefined, autoescape=is_html)  # noqa: S701
    environment.filters |= {"code": code, "harmless": harmless, "counted": counted}
    return environment


def html_page(pages: Sequence[Page], files: Mapping[str, bytes]) -> str:
    """All reports in one page, figures inside.

    Args:
        pages: in reading order.
        files: Markdown of the index and the pages, and SVG of the figures, by path.
    """
    titles = {"index": "Reports"} | {page.name: page.title for page in pages}
    sections = [
        {"name": name, "title": title, "body": _section(name, files[f"{name}.md"].decode(), titles, files)}
        for name, title in titles.items()
    ]
    tiles = [{**tile, "text": _line(tile["text"], titles)} for tile in tiles_of({page.name: page for page in pages})]
    return _templates(is_html=True).get_template("report.html.j2").render(sections=sections, tiles=tiles)


def _line(text: str, names: Mapping[str, str]) -> str:
    """A line of a summary as HTML."""
    return _inner_links(_converter().reset().convert(text), names)


def _inner_links(body: str, names: Mapping[str, str]) -> str:
    for other in names:
        body = body.replace(f'href="{other}.md"', f'href="#{other}"')
    return body


@cache
def _converter() -> markdown.Markdown:
    """Markdown to HTML in which HTML inside the Markdown is only text, but for what `FOLD` brings back."""
    converter = markdown.Markdown(extensions=list(EXTENSIONS), output_format="html")
    converter.preprocessors.deregister("html_block")
    converter.inlinePatterns.deregister("html")
    return converter


def _section(name: str, text: str, names: Mapping[str, str], files: Mapping[str, bytes]) -> str:
    body = _converter().reset().convert(text)
    body = FOLD.sub(r"<details><summary>\1</summary>\2</details>", body)
    body = re.sub(r"<table>(.*?)</table>", _scrollable, body, flags=re.DOTALL)
    body = re.sub(r'src="(figures/[^"]+)"', lambda found: f'src="{_inside(found[1], files)}"', body)
    body = _inner_links(body, names)
    headings = iter(range(1, body.count("<h2>") + 1))
    return re.sub(r"<h2>", lambda _: f'<h2 id="{name}-{next(headings)}">', body)


def _scrollable(found: re.Match[str]) -> str:
    return f'<div class="wide" tabindex="0"><table>{found[1]}</table></div>'


def _inside(path: str, files: Mapping[str, bytes]) -> str:
    """The figure as a data address; its inner names cannot clash with another's there."""
    return "data:image/svg+xml;base64," + base64.b64encode(files[html.unescape(path)]).decode()
