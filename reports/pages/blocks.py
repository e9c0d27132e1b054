"""Blocks inside pages that people write: README's performance section, and the table of docs/engineering_spec.md."""

from dataclasses import dataclass

from hpt_reports.endings import endings
from hpt_reports.evidence import Evidence
from hpt_reports.formatting import NOT_MEASURED, harmless, table
from hpt_reports.page import REACHED, Links, counted, verdict_table
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
SUBJECTS = {evaluation.NAME: "does it pay?", benchmarking.NAME: "what a step costs", validation.NAME: "memory"}


def readme(evidence: Evidence, links: Links) -> str:
    """What three commands said at their end, and which targets were missed."""
    aims = [verdict_of(target, evidence) for target in targets()]
    missed = [one for one in aims if one.word not in (REACHED, NOT_MEASURED)]
    pages = ", ".join(links.page(name, subject) for name, subject in SUBJECTS.items())
    lines = ["What commands say at their end, from stored runs:", *endings(evidence, links), ""]
    lines += [f"Targets: {counted(aims)} ({links.target}), each with its number and run in `{SPEC.path}`;"]
    lines += [f"reports: {pages}. Not reached:" if missed else f"reports: {pages}."]
    lines += ["", verdict_table(missed, links, "target", "must")] if missed else []
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
