"""The API reference: pages for a browser, written by pdoc from the docstrings of `hpt`. `scripts/docs` runs this.

    python scripts/api_reference.py --out out/api

The first page has the public names, with the modules of `hpt` beside them. Modules are imported to be read, so those
of `hpt.integrations` get a page only where their libraries are installed.
"""

import argparse
import pkgutil
from collections.abc import Sequence
from pathlib import Path

import pdoc
from pdoc import render

import hpt

LEFT_OUT = ("!hpt.__main__", "!hpt.cli")
"""What people do not import: the command line tells about itself by --help."""


def build(out: Path, left_out: Sequence[str] = LEFT_OUT) -> Path:
    """Write the pages and return the first.

    Args:
        out: folder of the pages; made if need be.
        left_out: modules without a page, each a pattern of pdoc after an exclamation mark.
    """
    for name in hpt.__all__:  # pdoc shows what a module has, and these are loaded on first use
        setattr(hpt, name, getattr(hpt, name))
    members = [one.name for one in pkgutil.iter_modules(hpt.__path__)]
    hpt.__all__[:] = [*hpt.__all__, *members]  # so that they get pages, and are listed beside the public names
    render.configure(docformat="google", show_source=False, search=True)
    pdoc.pdoc("hpt", *left_out, output_directory=out)
    return out / "hpt.html"


def main() -> None:
    """Read the command line, write the pages, print where they are."""
    parser = argparse.ArgumentParser(description="Write the API reference from docstrings.")
    parser.add_argument("--out", type=Path, default=Path("out/api"), help="folder of the pages (default: out/api)")
    print(build(parser.parse_args().out))


if __name__ == "__main__":
    main()
