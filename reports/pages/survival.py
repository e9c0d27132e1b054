"""SURVIVAL_REPORT: what was survived, healthy runs whose data change, and what was caught, weights that broke."""

from collections.abc import Mapping, Sequence
from typing import Any

from hpt_reports.evidence import Evidence, Source
from hpt_reports.formatting import NOT_MEASURED, count, harmless, plain, ratio, table
from hpt_reports.kinds import SURVIVAL
from hpt_reports.page import MISSED, REACHED, REPORTED, Links, Page, VerdictRow, absent, counted

NAME = "SURVIVAL_REPORT"
Row = Mapping[str, Any]


def build(evidence: Evidence, links: Links) -> Page:
    """The report's content."""
    source = evidence.newest(SURVIVAL)
    judged = [] if source is None else _verdicts(source)
    return Page(
        name=NAME,
        title="What was survived",
        question="Do healthy runs live, and are broken weights caught?",
        summary=_summary(source, judged, links),
        verdicts=judged,
        reads=(SURVIVAL,),
        sources=[] if source is None else [source],
        missing=[absent(SURVIVAL)] if source is None else [],
        values={
            "healthy": "" if source is None else _healthy_table(source, links),
            "planted": "" if source is None else _planted_table(source, links),
            "claim_list": [],
        },
    )


def _verdicts(source: Source) -> list[VerdictRow]:
    healthy, planted = source.document["healthy"], source.document["planted"]
    steps = source.document["steps"]
    found = [
        _none(source, f"runs of {steps} updates that were ended", sum(one["killed"] is not None for one in healthy)),
        _none(source, "rollbacks without a broken weight", _total(healthy, "num_unwarranted")),
        VerdictRow(
            what="rollbacks of weights that were broken, in healthy runs",
            threshold="-",
            measured=str(_total(healthy, "num_rollbacks") - _total(healthy, "num_unwarranted")),
            word=REPORTED,
            sources=(source,),
        ),
        VerdictRow(
            what="jumps undone after CORRECT, in healthy runs",
            threshold="-",
            measured=f"{_total(healthy, 'num_jumps_undone')} of {_total(healthy, 'num_jumps')}",
            word=REPORTED,
            sources=(source,),
        ),
    ]
    for kind in dict.fromkeys(str(one["kind"]) for one in planted):
        rows = [one for one in planted if one["kind"] == kind]
        caught = sum(_in_time(one) for one in rows)
        found.append(
            VerdictRow(
                what=f"planted: {harmless(kind)}",
                threshold="caught within C losses",
                measured=f"{caught} of {len(rows)}",
                word=REACHED if caught == len(rows) else MISSED,
                sources=(source,),
            )
        )
    return found


def _none(source: Source, what: str, number: int) -> VerdictRow:
    return VerdictRow(
        what=what, threshold="0", measured=str(number), word=MISSED if number else REACHED, sources=(source,)
    )


def _total(rows: Sequence[Row], name: str) -> int:
    return sum(int(one[name]) for one in rows)


def _in_time(one: Row) -> bool:
    losses = one["caught_after_losses"]
    return losses is not None and losses <= one["limit_losses"]


def _summary(source: Source | None, judged: Sequence[VerdictRow], links: Links) -> list[str]:
    if source is None:
        subjects = ("Healthy runs", "Rollbacks", "Jumps undone", "Planted faults", "Verdicts")
        return [f"{subject}: {NOT_MEASURED}." for subject in subjects]
    healthy, planted, link = source.document["healthy"], source.document["planted"], links.to(source)
    ended = sum(one["killed"] is not None for one in healthy)
    return [
        f"Healthy runs: {len(healthy)}, of which {ended} were ended by the trainer ({link}).",
        f"Rollbacks in them: {_total(healthy, 'num_rollbacks')}, of which {_total(healthy, 'num_unwarranted')} "
        f"without a broken weight ({link}).",
        f"Jumps undone in them: {_total(healthy, 'num_jumps_undone')} of {_total(healthy, 'num_jumps')}, "
        f"{_total(healthy, 'num_jumps_undone_unwarranted')} of them harmless on held-out samples ({link}).",
        f"Planted faults caught in time: {sum(map(_in_time, planted))} of {len(planted)} ({link}).",
        f"Verdicts: {counted(judged)} ({link}).",
    ]


def _healthy_table(source: Source, links: Links) -> str:
    rows = [
        {
            "run": harmless(one["name"]),
            "ended by the trainer": "no" if one["killed"] is None else "yes",
            "rollbacks": str(one["num_rollbacks"]),
            "unwarranted": str(one["num_unwarranted"]),
            "the data's fault": count(int(one["events"].get("data_changed", 0)), "event"),
            "jumps": str(one["num_jumps"]),
            "undone": str(one["num_jumps_undone"]),
            "final loss": plain(one["final_loss"]),
            "over the plain loop's": _over(one),
        }
        for one in source.document["healthy"]
    ]
    return table(rows, links.to(source))


def _over(one: Row) -> str:
    ours, plain_loop = one["final_loss"], one["plain_final_loss"]
    return "-" if ours is None or not plain_loop else ratio(ours / plain_loop)


def _planted_table(source: Source, links: Links) -> str:
    rows = [
        {
            "fault": harmless(f"{one['kind']}: {one['name']}"),
            "run": harmless(one["run"]),
            "caught after": "never" if one["caught_after_losses"] is None else _losses(int(one["caught_after_losses"])),
            "then": "ended" if one["killed"] is not None else "went on",
            "final loss": plain(one["final_loss"]),
            "without the fault": plain(one["healthy_final_loss"]),
        }
        for one in source.document["planted"]
    ]
    return table(rows, links.to(source))


def _losses(number: int) -> str:
    return f"{number} {'loss' if number == 1 else 'losses'}"
