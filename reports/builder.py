"""All reports from one folder of runs, as files in memory: equal inputs, equal bytes.

gather -> drop what cannot be used -> pages -> Markdown and figures -> one HTML page -> blocks for other pages
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports.evidence import CORRUPT, Evidence, Remark, Source, gather
from reports.html import html_page
from reports.markdown_text import code, harmless
from reports.pages import benchmarking, blocks, evaluation, layers, release_prep, validation
from reports.view import Figure, Links, Page, again, counted, source_table, verdict_table

DATA_FILES = ("claims.toml", "targets.toml")
EVIDENCE_FOLDER = ("reports", "evidence")
GENERATED_FOLDER = ("reports", "generated")
"""Where a checkout keeps the runs that its committed reports are built from, and these reports."""
BUILDERS: Mapping[str, Callable[[Evidence, Links], Page]] = {
    "phase1": validation.build,
    "phase2": benchmarking.build,
    "vram": layers.build,
    "evaluation": evaluation.build,
}
QUESTIONS = {
    validation.NAME: "Is the memory what it should be, and does it stay so?",
    benchmarking.NAME: "What do the parts cost, and where does a step's time go?",
    release_prep.NAME: "What was run before the release, and which claim rests on which run?",
    layers.NAME: "What does each memory layer do, save and cost?",
    evaluation.NAME: "Does it pay against a tuned baseline?",
}
UNUSABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What a stored file of the right kind and the wrong content raises when it is read."""


@dataclass(frozen=True, slots=True)
class Reports:
    """What was built.

    Attributes:
        files: content by path below the folder of reports.
        evidence: what it was built from, remarks included.
    """

    files: Mapping[str, bytes]
    evidence: Evidence


def is_checkout_evidence(runs: Path) -> bool:
    """The folder is the one that committed reports are built from, so links lead as they do in the checkout."""
    return runs.resolve().parts[-len(EVIDENCE_FOLDER) :] == EVIDENCE_FOLDER


def links_for(runs: Path, out: Path) -> tuple[Links, dict[str, Links]]:
    """Links seen from the reports, and from each page that holds a block."""
    if is_checkout_evidence(runs):
        inner = Links("../evidence/")
        hosts = {host.name: "../" * host.depth for host in blocks.HOSTS}
        return inner, {name: Links(f"{up}reports/evidence/", f"{up}reports/generated/") for name, up in hosts.items()}
    prefix = Path(os.path.relpath(runs.resolve(), out.resolve())).as_posix() + "/"
    return Links(prefix), {host.name: Links(f"../{prefix}", "../") for host in blocks.HOSTS}


def build(runs: Path, out: Path, only: str = "all") -> Reports:
    """Build every report, or one: phase1, phase2, phase3, vram, evaluation, readme.

    Args:
        runs: folder of stored runs; nothing need be in it.
        out: where the reports will lie; only links depend on it.
        only: which.
    """
    links, host_links = links_for(runs, out)
    drawings = Drawings()
    evidence = _usable(gather(runs), links, drawings)
    pages = {name: make(evidence, links) for name, make in BUILDERS.items()}
    pages["phase3"] = release_prep.build(evidence, links, list(pages.values()))
    chosen = pages if only == "all" else {name: page for name, page in pages.items() if name == only}
    found: dict[str, bytes] = {}
    for page in chosen.values():
        found[f"{page.name}.md"] = _markdown(f"{page.name}.md.j2", page, links).encode()
        for figure in page.figures.values():
            found[f"figures/{figure.name}.svg"] = drawings.of(figure)
            found[f"figures/{figure.name}.csv"] = figure.csv.encode()
    for name in DATA_FILES:
        found[name] = (files("reports") / name).read_bytes()
    if only in {"all", "readme"}:
        found |= _blocks(evidence, host_links)
    if only == "all":
        ordered = [pages[name] for name in ("phase1", "vram", "phase2", "evaluation", "phase3")]
        found["index.md"] = _index(ordered, evidence, links).encode()
        found["report.html"] = html_page(
            {"index": ("Reports", found["index.md"].decode())}
            | {page.name: (page.title, found[f"{page.name}.md"].decode()) for page in ordered},
            {name: content for name, content in found.items() if name.endswith(".svg")},
        ).encode()
    return Reports(dict(sorted(found.items())), evidence)


class Drawings:
    """Figures drawn so far: equal data make an equal drawing, which takes long enough to be made once."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[str, str, str], bytes] = {}

    def of(self, figure: Figure) -> bytes:
        """The figure as SVG."""
        key = (figure.name, figure.title, figure.csv)
        if key not in self._drawn:
            self._drawn[key] = figure.draw()
        return self._drawn[key]


def _usable(evidence: Evidence, links: Links, drawings: Drawings) -> Evidence:
    """Without the files from which no page can be made; they are named."""
    kept: list[Source] = []
    remarks = list(evidence.remarks)
    for source in evidence.sources:
        alone = Evidence(evidence.folder, (source,))
        try:
            pages = [make(alone, links) for make in BUILDERS.values()]
            page = release_prep.build(alone, links, pages)
            blocks.readme(alone, [*pages, page], links)
            for figure in (figure for page in pages for figure in page.figures.values()):
                drawings.of(figure)
        except UNUSABLE as error:
            reason = f"no {source.kind.title} can be read from it: {type(error).__name__}: {error}"
            remarks.append(Remark(source.path, CORRUPT, " ".join(reason.split())))
            continue
        kept.append(source)
    lost = {one.path for one in remarks if one.word == CORRUPT}
    remarks = [one for one in remarks if one.word == CORRUPT or one.path not in lost]
    return replace(evidence, sources=tuple(kept), remarks=tuple(sorted(remarks, key=lambda one: one.path)))


def _blocks(evidence: Evidence, host_links: Mapping[str, Links]) -> dict[str, bytes]:
    """The blocks as their hosts will hold them."""
    links = host_links[blocks.README.name]
    pages = [make(evidence, links) for make in BUILDERS.values()]
    texts = {
        blocks.README.name: blocks.readme(evidence, pages, links),
        blocks.SPEC.name: blocks.engineering_spec(evidence, host_links[blocks.SPEC.name]),
    }
    return {f"blocks/{name}.md": text.encode() for name, text in texts.items()}


@cache
def _environment() -> Environment:
    # Markdown is no HTML: what comes from stored files is made harmless where it enters a table or a sentence
    environment = Environment(loader=PackageLoader("reports"), undefined=StrictUndefined, autoescape=False)  # noqa: S701
    environment.filters |= {"code": code, "harmless": harmless, "counted": counted}
    return environment


def _markdown(template: str, page: Page, links: Links) -> str:
    text = (
        _environment()
        .get_template(template)
        .render(
            page=page,
            links=links,
            verdict_table=verdict_table(page.verdicts, links),
            source_table=source_table(page.sources, links),
            again=again(page.sources, page.missing),
        )
    )
    return _tidy(text)


def _index(pages: list[Page], evidence: Evidence, links: Links) -> str:
    text = (
        _environment()
        .get_template("index.md.j2")
        .render(
            pages=pages,
            links=links,
            questions=QUESTIONS,
            source_table=source_table(evidence.sources, links),
            remarks=evidence.remarks,
        )
    )
    return _tidy(text)


def _tidy(text: str) -> str:
    """One blank line between blocks, none at the ends, no spaces at the ends of lines."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"
