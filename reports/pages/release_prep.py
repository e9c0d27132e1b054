"""PHASE_3_RELEASE_PREP_REPORT: what was run before a release and how it ended, and which claim rests on which run."""

from collections.abc import Mapping, Sequence
from os.path import commonprefix
from typing import Any

from hpt_reports.claims import claims
from hpt_reports.evidence import Evidence, Source
from hpt_reports.formatting import NOT_MEASURED, code, count, harmless, seconds, table
from hpt_reports.kinds import RELEASE, SAME_RESULTS
from hpt_reports.page import (
    INCONCLUSIVE,
    MISSED,
    REACHED,
    Links,
    Missing,
    Page,
    VerdictRow,
    absent,
    counted,
    verdict_table,
)
from hpt_reports.provenance import COMMIT_LETTERS
from hpt_reports.targets import targets, verdict_of

NAME = "PHASE_3_RELEASE_PREP_REPORT"
MANY_RUNS = 6
"""More are told by what their names have in common."""
WORDS = {"passed": REACHED, "failed": MISSED, "not run": NOT_MEASURED}


def build(evidence: Evidence, links: Links, others: Sequence[Page]) -> Page:
    """The report's content; `others` are the other reports, whose gaps are the known limitations."""
    source, same = evidence.newest(RELEASE), evidence.newest(SAME_RESULTS)
    judged = [] if source is None else _verdicts(source)
    aims = [verdict_of(one, evidence) for one in targets()]
    return Page(
        name=NAME,
        title="Phase 3: release preparation",
        question="What was run before the release, and which claim rests on which run?",
        summary=_summary(source, judged, aims, others, links),
        verdicts=judged,
        reads=(RELEASE, SAME_RESULTS),
        sources=[one for one in (source, same) if one is not None],
        missing=[
            *([absent(RELEASE)] if source is None else _left_out(source)),
            *([absent(SAME_RESULTS)] if same is None else []),
        ],
        values={
            "checklist": "" if source is None else _checklist(source, links),
            "tests": "" if source is None else _tests(source, links),
            "same": "" if same is None else _same(same, links),
            "index": verdict_table(aims, links, "aim", "must"),
            "originals": _original_index(links),
            "gaps": _gaps(others),
            "claim_list": claims(NAME),
        },
    )


def _verdicts(source: Source) -> list[VerdictRow]:
    return [
        VerdictRow(
            what=harmless(step["what"]),
            threshold="exit code 0",
            measured=NOT_MEASURED
            if step["exit_code"] is None
            else f"exit code {step['exit_code']} after {seconds(step['duration_s'])}",
            word=WORDS.get(str(step["status"]), INCONCLUSIVE),
            sources=(source,),
        )
        for step in source.document["steps"]
    ]


def _summary(
    source: Source | None,
    judged: Sequence[VerdictRow],
    aims: Sequence[VerdictRow],
    others: Sequence[Page],
    links: Links,
) -> list[str]:
    gaps = sum(len(page.missing) for page in others)
    if source is None:
        first = [f"Release check: {NOT_MEASURED}.", f"Tests: {NOT_MEASURED}.", f"Longest step: {NOT_MEASURED}."]
    else:
        link = links.to(source)
        totals = _totals(source)
        total_s = sum(step["duration_s"] or 0.0 for step in source.document["steps"])
        longest = max(source.document["steps"], key=lambda step: step["duration_s"] or 0.0)
        first = [
            f"Release check: {counted(judged)} ({link}).",
            f"Tests: {', '.join(f'{number} {word}' for word, number in totals.items())} ({link})."
            if totals
            else f"Tests: {NOT_MEASURED}.",
            f"All steps took {seconds(total_s)}, the longest, "
            f"{harmless(longest['name'])}, {seconds(longest['duration_s'])} ({link}).",
        ]
    return [
        *first,
        f"Targets: {counted(aims)} ({links.target}).",
        f"Things not measured, over all reports: {gaps}, each with its command in its report ({links.target}).",
    ]


def _checklist(source: Source, links: Links) -> str:
    rows = [
        {
            "step": harmless(step["what"]),
            "command": code(step["command"]),
            "exit code": "-" if step["exit_code"] is None else str(step["exit_code"]),
            "duration": "-" if step["duration_s"] is None else seconds(step["duration_s"]),
            "outcome": f"**{harmless(step['status'])}**",
        }
        for step in source.document["steps"]
    ]
    return table(rows, links.to(source))


def _with_tests(source: Source) -> list[Mapping[str, Any]]:
    return [step for step in source.document["steps"] if step.get("tests")]


def _totals(source: Source) -> dict[str, int]:
    totals: dict[str, int] = {}
    for step in _with_tests(source):
        for word, number in step["tests"].items():
            totals[word] = totals.get(word, 0) + int(number)
    return totals


def _tests(source: Source, links: Links) -> str:
    found = _with_tests(source)
    words = list(dict.fromkeys(word for step in found for word in step["tests"]))
    rows = [
        {"tests": harmless(step["what"])} | {harmless(word): str(step["tests"].get(word, "-")) for word in words}
        for step in found
    ]
    return table(rows, links.to(source))


def _same(source: Source, links: Links) -> str:
    """Earlier commits whose runs were trained again, beside the present code."""
    document = source.document
    exercised = {"jumps kept": "num_jumps", "jumps undone": "num_undone_jumps", "forks": "num_forks"}
    rows = [
        {"commit": code(row["commit"][:COMMIT_LETTERS]), "runs": str(len(document["runs"]))}
        | {word: str(document[field]) for word, field in exercised.items()}
        | {"ended differently": _differing(row["differing"])}
        for row in document["earlier"]
    ]
    return table(rows, links.to(source))


def _differing(runs: Sequence[str]) -> str:
    """Names of runs, or what many of them begin with."""
    if len(runs) <= MANY_RUNS:
        return ", ".join(map(code, runs)) or "none"
    common = commonprefix(list(runs))  # noqa: RUF071 - letters are meant, no folders
    return f"{len(runs)}, all {code(common + '…')}" if common else str(len(runs))


def _original_index(links: Links) -> str:
    rows = [
        {
            "claim of the original": one["claim"],
            "what its code or records show": one["shown"],
            "ours": f"{links.page(one['page'], 'report')}, {links.claim}",
        }
        for one in claims()
    ]
    return table(rows)


def _gaps(others: Sequence[Page]) -> list[str]:
    lines = [f"{one.what}: {NOT_MEASURED}; {code(one.command)}" for page in others for one in page.missing]
    return list(dict.fromkeys(lines))


def _left_out(source: Source) -> list[Missing]:
    left = [str(step["name"]) for step in source.document["steps"] if step["status"] == "not run"]
    return (
        [Missing(f"release check: {count(len(left), 'step')} left out: {', '.join(left)}", RELEASE.command)]
        if left
        else []
    )
