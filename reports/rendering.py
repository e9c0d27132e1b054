"""Pages as text: Markdown from templates, and all of it as one HTML page that needs nothing else and runs no script."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from functools import cache

import markdown
from jinja2 import Environment, PackageLoader, StrictUndefined

from reports.evidence import Evidence
from reports.formatting import code, harmless
from reports.page import Links, Page, again, counted, source_table, verdict_table

EXTENSIONS = ("tables", "fenced_code", "sane_lists")


def page_text(page: Page, links: Links) -> str:
    """A report as Markdown."""
    template = _templates(is_html=False).get_template(f"{page.name}.md.j2")
    text = template.render(
        page=page,
        links=links,
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
    environment = Environment(loader=PackageLoader("reports"), undefined=StrictUndefined, autoescape=is_html)  # noqa: S701
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
    return _templates(is_html=True).get_template("report.html.j2").render(sections=sections)


@cache
def _converter() -> markdown.Markdown:
    """Markdown to HTML in which HTML inside the Markdown is only text: our templates have none."""
    converter = markdown.Markdown(extensions=list(EXTENSIONS), output_format="html")
    converter.preprocessors.deregister("html_block")
    converter.inlinePatterns.deregister("html")
    return converter


def _section(name: str, text: str, names: Mapping[str, str], files: Mapping[str, bytes]) -> str:
    body = _converter().reset().convert(text)
    body = re.sub(r"<table>(.*?)</table>", _scrollable, body, flags=re.DOTALL)
    body = re.sub(r'src="(figures/[^"]+)"', lambda found: f'src="{_inside(found[1], files)}"', body)
    for other in names:
        body = body.replace(f'href="{other}.md"', f'href="#{other}"')
    headings = iter(range(1, body.count("<h2>") + 1))
    return re.sub(r"<h2>", lambda _: f'<h2 id="{name}-{next(headings)}">', body)


def _scrollable(found: re.Match[str]) -> str:
    return f'<div class="wide" tabindex="0"><table>{found[1]}</table></div>'


def _inside(path: str, files: Mapping[str, bytes]) -> str:
    """The figure as a data address; its inner names cannot clash with another's there."""
    return "data:image/svg+xml;base64," + base64.b64encode(files[html.unescape(path)]).decode()
