"""PHASE_1_VALIDATION_REPORT: is the memory what it should be, arm by arm and check by check?"""

from collections.abc import Mapping, Sequence
from typing import Any

from hpt_reports.claims import claims
from hpt_reports.evidence import Evidence
from hpt_reports.figures.memory import draw_steps
from hpt_reports.formatting import NOT_MEASURED, harmless, num_bytes, plain, ratio, seconds, table
from hpt_reports.kinds import MEMORY
from hpt_reports.memory_runs import Validation, steps_of, validations
from hpt_reports.page import Figure, Links, Missing, Page, absent, counted
from hpt_reports.step_time import PHASES

NAME = "PHASE_1_VALIDATION_REPORT"
MB = 1e6
ON_A_GPU = Missing("VRAM of GPT-2 124M on a GPU", "scripts/validate_vram.sh")


def build(evidence: Evidence, links: Links) -> Page:
    """The report's content."""
    found = validations(evidence)
    main = _main(found)
    judged = [verdict for one in found for verdict in one.verdicts()]
    figures = _figures(found)
    return Page(
        name=NAME,
        title="Phase 1: validation of memory",
        question="Is the memory what it should be, and does it stay so?",
        summary=_summary(found, links, counted(judged)),
        verdicts=judged,
        reads=(MEMORY,),
        sources=[one.source for one in found],
        missing=_missing(found),
        figures={one.name: one for one in figures},
        opening=next((one.name for one in figures if main is not None and main.source in one.sources), ""),
        values={"runs": [_section(one, links, figures) for one in found], "claim_list": claims(NAME)},
    )


def _figures(found: Sequence[Validation]) -> list[Figure]:
    frames = ((one, steps_of(one)) for one in found)
    return [draw_steps(one, frame) for one, frame in frames if frame is not None and len(frame)]


def _summary(found: Sequence[Validation], links: Links, tally: str) -> list[str]:
    main = _main(found)
    if main is None:
        return [
            f"Checks: {NOT_MEASURED}.",
            f"Peak memory over plain training: {NOT_MEASURED}.",
            f"Growth after warm-up: {NOT_MEASURED}.",
            f"Copies of parameters: {NOT_MEASURED}.",
            f"Emergency checkpoint and out-of-memory drills: {NOT_MEASURED}.",
        ]
    link = links.to(main.source)
    drills = [one for one in main.stored["checks"] if str(one["name"]).startswith("drill")]
    passed = sum(one["verdict"] == "passed" for one in drills)
    return [
        f"Measured: {harmless(main.measured)}, model {harmless(main.model)}. "
        f"Checks over all validations: {tally} ({links.every([one.source for one in found])}).",
        f"Peak over plain: {_said(main, 'peak over plain')} ({link}).",
        f"Growth after warm-up: {_said(main, 'growth')} ({link}).",
        f"Parameters that moved in memory: {_said(main, 'copies')} ({link}).",
        f"Drills passed: {passed} of {len(drills)} ({link}).",
    ]


def _main(found: Sequence[Validation]) -> Validation | None:
    """The one a reader asks for first: a GPU before a CPU, the full model before the tiny one."""
    ranked = sorted(found, key=lambda one: (one.device != "cuda", one.processes > 1, one.model != "gpt2", one.model))
    return next(iter(ranked), None)


def _said(one: Validation, name: str) -> str:
    for check in one.stored["checks"]:
        if check["name"] == name:
            return f"{harmless(check['evidence'])}: {harmless(check['verdict'])}"
    return NOT_MEASURED


def _section(one: Validation, links: Links, figures: Sequence[Figure]) -> dict[str, Any]:
    link = links.to(one.source)
    settings = one.stored["settings"]
    drawn = [figure for figure in figures if one.source in figure.sources]
    return {
        "title": f"{harmless(one.model)} on {harmless(one.where)}",
        "measured": harmless(one.measured),
        "setting": f"Batch {_or_own(settings.get('batch_size'))}, sequence {_or_own(settings.get('seq_len'))}, "
        f"{settings.get('steps', '?')} updates an arm, dtype {harmless(settings.get('dtype', 'fp32'))}, "
        f"seed {settings.get('seed', '?')} ({link}).",
        "figure": drawn[0].name if drawn else None,
        "arms": _arm_table(one, link),
        "phases": _phase_table(one, link),
        "held": _item_table(one, link),
        "estimates": _estimate_table(one, link),
    }


def _or_own(value: object) -> str:
    return "of the workload" if value is None else str(value)


def _arm_table(one: Validation, link: str) -> str:
    rows = [
        {
            "arm": harmless(name),
            "peak": num_bytes(arm.get("peak_bytes")),
            "over plain": ratio(arm.get("ratio")),
            "growth, MB a step": _slope(arm.get("growth")),
            "parameters moved": "-" if arm.get("num_copies") is None else str(arm["num_copies"]),
            "clean-ups": "-" if arm.get("num_cleanups") is None else str(arm["num_cleanups"]),
            "time of a full step": seconds(arm.get("step_s")),
        }
        for name, arm in one.stored["arms"].items()
    ]
    return table(rows, link)


def _slope(slope: Mapping[str, float] | None) -> str:
    if slope is None:
        return NOT_MEASURED
    value, low, high = (slope[name] / MB for name in ("per_step", "low", "high"))
    return f"{plain(value)} [{plain(low)}, {plain(high)}]"


def _phase_table(one: Validation, link: str) -> str:
    rows = [
        {"peak by phase": harmless(name)}
        | {phase: num_bytes(peaks[phase]) if phase in peaks else "-" for phase in PHASES}
        for name, arm in one.stored["arms"].items()
        if (peaks := arm.get("peak_by_phase") or {})
    ]
    return table(rows, link)


def _item_table(one: Validation, link: str) -> str:
    items = {name: arm["items"] for name, arm in one.stored["arms"].items() if arm.get("items")}
    rows = [
        {"held in memory": harmless(item)}
        | {harmless(arm): num_bytes(found.get(item)) if item in found else "-" for arm, found in items.items()}
        for item in dict.fromkeys(item for found in items.values() for item in found)
    ]
    return table(rows, link)


def _estimate_table(one: Validation, link: str) -> str:
    rows = [
        {
            "estimate for": harmless(name),
            "plain": num_bytes(found.get("plain_peak_bytes")),
            "hybrid": num_bytes(found.get("hybrid_peak_bytes")),
            "ratio": ratio(found.get("ratio")),
            "batch x sequence": f"{found.get('batch_size') or '-'} x {found.get('seq_len') or '-'}",
        }
        for name, found in one.stored["estimates"].items()
        if found
    ]
    return table(rows, link)


def _missing(found: Sequence[Validation]) -> list[Missing]:
    lacking: list[Missing] = []
    if not any(one.model == "gpt2" and one.device == "cpu" for one in found):
        lacking.append(absent(MEMORY, "host memory of GPT-2 124M"))
    if not any(one.device == "cuda" for one in found):
        lacking.append(ON_A_GPU)
    if not any(one.model == "gpt2-xl" for one in found):
        lacking.append(
            Missing("GPT-2 1.5B", "hpt validate-vram --model gpt2-xl --steps 20 --device cuda --out runs/vram-xl")
        )
    return lacking
