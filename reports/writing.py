"""Reports to disk: whole files, blocks into the pages that hold them, and nothing else touched."""

from pathlib import Path

from reports.blocks_in_pages import with_block
from reports.builder import EVIDENCE_FOLDER, GENERATED_FOLDER, Reports, is_checkout_evidence
from reports.pages.blocks import HOSTS

FORMS = {"md": (".md", ".svg", ".csv", ".toml"), "html": (".html",)}


def checkout_of(runs: Path, out: Path) -> Path | None:
    """Root of the checkout whose committed reports these are; None for anyone else's."""
    parts = out.resolve().parts
    if not is_checkout_evidence(runs) or parts[-len(GENERATED_FOLDER) :] != GENERATED_FOLDER:
        return None
    root = runs.resolve().parents[len(EVIDENCE_FOLDER) - 1]
    return root if out.resolve() == root.joinpath(*GENERATED_FOLDER) else None


def write(built: Reports, out: Path, root: Path | None, *, form: str | None) -> list[str]:
    """Write the files, remove figures and blocks of ours that no evidence gives any more; returns what was written.

    Raises:
        UsageError: a page of the checkout lacks the marks of its block.
    """
    wanted = {name: content for name, content in built.files.items() if form is None or name.endswith(FORMS[form])}
    hosts = {} if root is None else {root / host.path: f"blocks/{host.name}.md" for host in HOSTS}
    pages = {page: with_block(page, wanted[name].decode()) for page, name in hosts.items() if name in wanted}
    for name, content in wanted.items():
        file = out / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")
    if "index.md" in built.files and form is None:
        _remove_left_over(built, out)
    return [str(out / name) for name in wanted] + [str(page) for page in pages]


def _remove_left_over(built: Reports, out: Path) -> None:
    for file in (out / "figures").glob("*"):
        if file.suffix in {".svg", ".csv"} and f"figures/{file.name}" not in built.files:
            file.unlink()
