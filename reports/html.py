"""All reports in one HTML page that needs nothing else: figures are inside, and no script runs."""

import base64
import html
import re
from collections.abc import Mapping
from functools import cache

import markdown
from jinja2 import Environment, PackageLoader, StrictUndefined

EXTENSIONS = ("tables", "fenced_code", "sane_lists")


def html_page(pages: Mapping[str, tuple[str, str]], figures: Mapping[str, bytes]) -> str:
    """One page.

    Args:
        pages: title and Markdown by name, in reading order.
        figures: SVG by the path that Markdown uses.
    """
    sections = [
        {"name": name, "title": title, "body": _section(name, text, pages, figures)}
        for name, (title, text) in pages.items()
    ]
    return _environment().get_template("report.html.j2").render(sections=sections)


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader("reports"), undefined=StrictUndefined, autoescape=True)


@cache
def _converter() -> markdown.Markdown:
    """Markdown to HTML in which HTML inside the Markdown is only text: our templates have none."""
    converter = markdown.Markdown(extensions=list(EXTENSIONS), output_format="html")
    converter.preprocessors.deregister("html_block")
    converter.inlinePatterns.deregister("html")
    return converter


def _section(name: str, text: str, pages: Mapping[str, tuple[str, str]], figures: Mapping[str, bytes]) -> str:
    body = _converter().reset().convert(text)
    body = re.sub(r"<table>(.*?)</table>", _scrollable, body, flags=re.DOTALL)
    body = re.sub(r'src="(figures/[^"]+)"', lambda found: f'src="{_inside(found[1], figures)}"', body)
    for other in pages:
        body = body.replace(f'href="{other}.md"', f'href="#{other}"')
    headings = iter(range(1, body.count("<h2>") + 1))
    return re.sub(r"<h2>", lambda _: f'<h2 id="{name}-{next(headings)}">', body)


def _scrollable(found: re.Match[str]) -> str:
    return f'<div class="wide" tabindex="0"><table>{found[1]}</table></div>'


def _inside(path: str, figures: Mapping[str, bytes]) -> str:
    """The figure as a data address; its inner names cannot clash with another's there."""
    content = figures.get(html.unescape(path))
    assert content is not None, f"{path} is in a page and was not drawn"
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode()
