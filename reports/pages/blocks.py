"""Blocks inside pages that people write: README's performance section, and the table of docs/engineering_spec.md."""

from collections.abc import Sequence
from dataclasses import dataclass

from hpt_reports.evidence import Evidence
from hpt_reports.formatting import NOT_MEASURED, harmless, table
from hpt_reports.page import Links, Page, counted, verdict_table
from hpt_reports.pages import benchmarking, evaluation, validation
from hpt_reports.targets import targets, verdict_of


@dataclass(frozen=True, slots=True)
class Host:
    """A page with a generated block between `<!-- measured -->` and `<!-- /measured -->`.

    Attributes:
        name: of the block's own file.
        path: of the page, from the root of the project.
        depth: folders between the root and the page.
    """

    name: str
    path: str
    depth: int


README = Host("readme", "README.md", 0)
SPEC = Host("engineering_spec", "docs/engineering_spec.md", 1)
HOSTS = (README, SPEC)
CHOSEN = (benchmarking.NAME, validation.NAME, evaluation.NAME)


def readme(evidence: Evidence, pages: Sequence[Page], links: Links) -> str:
    """Headline findings of the reports, and the targets with what was measured for them."""
    lines = ["What was measured, each number with the run it comes from; the reports have the rest."]
    ending = f": {NOT_MEASURED}."
    for page in pages:
        if page.name in CHOSEN:
            lines += ["", f"**{links.page(page.name, page.title)}**", ""]
            lines += [f"- {line}" for line in page.summary if not line.endswith(ending)]
            lacking = [line.removesuffix(ending) for line in page.summary if line.endswith(ending)]
            lines += [f"- Not measured: {'; '.join(lacking)}."] if lacking else []
    aims = [verdict_of(target, evidence) for target in targets()]
    measured = [one for one in aims if one.word != NOT_MEASURED]
    lines += ["", verdict_table(measured, links, "target", "must")] if measured else []
    lines += ["", f"Targets: {counted(aims)} ({links.target})."]
    return "\n".join(lines) + "\n"


def engineering_spec(evidence: Evidence, links: Links) -> str:
    """Every target: the original's figure, what must be reached, what was, and where it was measured."""
    rows: list[dict[str, str]] = []
    for target in targets():
        one = verdict_of(target, evidence)
        where = [f"{harmless(source.provenance.where)}, {source.provenance.day}" for source in one.sources]
        rows.append(
            {
                "target": target["what"],
                "original": target["reference"],
                "must": target["must"],
                "and then": target["then"],
                "achieved": one.measured,
                "verdict": f"**{one.word}**",
                "measured on": "; ".join(where) or "-",
                "evidence": links.every(one.sources) or links.target,
            }
        )
    return table(rows) + "\n"
