"""The architecture page draws what the check of imports enforces."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NODE = re.compile(r'^ {4}(\w+)\["(.+)"\]$', re.MULTILINE)
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


def layers(name: str) -> list[str]:
    (found,) = [one["layers"] for one in CONTRACTS if one["name"] == name]
    return found


def arrows() -> set[tuple[str, str]]:
    """Both ends of every arrow of the drawing, chains taken apart."""
    chains = [line.strip().split(" --> ") for line in PAGE.splitlines() if " --> " in line]
    return {pair for chain in chains for pair in pairwise(chain)}


def test_the_boxes_are_the_layers_in_their_order() -> None:
    """As pyproject has them, the plug-ins on top."""
    plugins = layers("hpt never imports its plug-ins, which ignore each other")[0]
    assert [text for _, text in NODE.findall(PAGE)] == [plugins, *layers("inside hpt, imports point down")]


def test_the_arrows_lead_from_each_layer_to_the_next() -> None:
    """None is left out, and none points up."""
    names = [name for name, _ in NODE.findall(PAGE)]
    assert arrows() == set(pairwise(names))


def test_the_table_explains_every_package_once() -> None:
    """A row, or a place in one, for each module and package of `hpt`."""
    rows = re.findall(r"^\| (`.+`) \| .+ \|$", PAGE, re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted(name for box in layers("inside hpt, imports point down") for name in box.split(" | "))
