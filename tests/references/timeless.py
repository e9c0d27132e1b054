"""What a comparison and its cells say when clocks, memory and the command line are left out."""

import json
from pathlib import Path
from typing import Any

CIRCUMSTANCES = frozenset(
    {"finished_at", "command", "jobs", "wall_ratio", "train_s", "cpu_s", "alone"}
    | {f"peak_{where}_{what}" for where in ("host", "device") for what in ("bytes", "ratio")}
)


def timeless(document: Any) -> Any:
    """The same document without what depends on when, how fast and in what company it came to be."""
    if isinstance(document, dict):
        return {key: timeless(value) for key, value in document.items() if key not in CIRCUMSTANCES}
    return [timeless(one) for one in document] if isinstance(document, list) else document


def timeless_files(folder: Path) -> dict[str, Any]:
    """Summary, recipes and cells of a comparison, by their names."""
    files = [folder / "summary.json", *(folder / "recipes").glob("*.json"), *(folder / "cells").glob("*.json")]
    return {path.name: timeless(json.loads(path.read_text(encoding="utf-8"))) for path in files}
