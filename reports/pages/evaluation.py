"""EVALUATION_REPORT: does it pay? Comparisons with a baseline and controls, and what decides."""

from collections.abc import Sequence

from hpt_reports.claims import claims
from hpt_reports.comparisons import (
    WORKLOADS,
    Finding,
    best_known,
    budget_of,
    comparisons,
    default_arm,
    findings_in,
)
from hpt_reports.evidence import Evidence, Source
from hpt_reports.figures.comparison import draw_losses, draw_ratios, draw_reliability
from hpt_reports.figures.gains import NAME as GAINS
from hpt_reports.figures.gains import draw_gains
from hpt_reports.figures.optimizers import draw_ladder, draw_lengths
from hpt_reports.formatting import (
    NOT_MEASURED,
    bounded,
    code,
    file_name,
    harmless,
    in_brackets,
    plain,
    ratio_cell,
    table,
)
from hpt_reports.headlines import COMMAND, pairs, quoted
from hpt_reports.inner_optimizers import beside, has_several, optimizers_of
from hpt_reports.kinds import ATTACHED, COMPARISON, LARGE, POLICIES, STOPPING, TRAINING, VALUE_MODELS
from hpt_reports.ladder import ladder
from hpt_reports.page import MISSED, REACHED, REPORTED, Figure, Links, Missing, Page, VerdictRow, absent, counted
from hpt_reports.pages import attached, comparison, decided, large, policies, stopping, value_models
from hpt_reports.pages import ladder as ladder_page
from hpt_reports.pages.evaluation_summary import summary, why_not
from hpt_reports.targets import verdicts
from hpt_reports.tuning import Standing, lack

NAME = "EVALUATION_REPORT"
SECTIONS = {
    STOPPING: stopping.section,
    POLICIES: policies.section,
    VALUE_MODELS: value_models.section,
    LARGE: large.section,
    ATTACHED: attached.section,
}
"""Of measurements that one file holds."""
RATIOS = "ratios_"
"""How names of figures of all ratios of a comparison begin."""
WORDS = {"accelerates": REACHED, "no difference": REPORTED, "hurts": MISSED}


def build(evidence: Evidence, links: Links) -> Page:
    """The report's content."""
    found = comparisons(evidence)
    single = {kind: evidence.newest(kind) for kind in SECTIONS}
    runs = evidence.of(TRAINING)
    rungs = ladder(evidence)
    judged = [*verdicts(evidence, (COMPARISON,)), *(verdict for source in found for verdict in _verdicts(source))]
    figures = [figure for source in found for figure in _figures(source)]
    figures += [] if rungs is None else [draw_ladder(rungs)]
    several = quoted(evidence)
    figures += [] if several is None else [draw_gains(several)]
    figures += decided.figures(found, runs)
    scored = single[VALUE_MODELS]
    figures += [] if scored is None else value_models.figures(scored)
    return Page(
        name=NAME,
        title="Evaluation: does it pay?",
        question="Does it pay against a tuned baseline?",
        summary=summary(evidence, found, links, counted(judged)),
        verdicts=judged,
        reads=(COMPARISON, TRAINING, *SECTIONS),
        sources=[*found, *(one for one in single.values() if one is not None), *runs],
        missing=[
            *_missing(evidence, found),
            *(absent(kind) for kind, one in single.items() if one is None),
            *ladder_page.missing(rungs),
            *decided.missing(found),
        ],
        figures={one.name: one for one in figures},
        opening=GAINS if several else next((one.name for one in figures if one.name.startswith(RATIOS)), ""),
        values={
            "comparisons": [comparison.section(one, links) for one in found],
            "has_tuned": any(comparison.has_tuned(one) for one in found),
            **{kind.name: None if one is None else SECTIONS[kind](one, links) for kind, one in single.items()},
            "ladder": "" if rungs is None else ladder_page.ladder_table(rungs, links),
            "decided": decided.section(found, runs, links),
            "runs": _run_table(runs, links),
            "claim_list": claims(NAME),
        },
    )


def _verdicts(source: Source) -> list[VerdictRow]:
    """The comparison's own words on every method."""
    return [
        VerdictRow(
            what=harmless(f"{one.arm} on {one.workload} ({budget_of(source)}){_over(one)}"),
            threshold="accelerates: interval above 1 and above the best control",
            measured=_measured(one),
            word=_word(one),
            sources=(source,),
        )
        for one in findings_in(source)
        if one.stored["role"] == "method"
    ]


def _over(one: Finding) -> str:
    """What an arm's work ratio is over, where it could be another thing than the baseline."""
    own = one.stored.get("optimizer")
    return f" over {own} by itself" if has_several(one.source) and own is not None else ""


def _measured(one: Finding) -> str:
    """Over its own optimizer by itself, over the reference where that is another one, and the best of the others."""
    own, verdict = one.over_own["work_ratio"], one.over_own["judgement"]["verdict"]
    reference = optimizers_of(one.source)[0]
    is_on_other = has_several(one.source) and one.stored.get("optimizer") != reference
    over = f"; over {harmless(reference)} {bounded(one.work_ratio)}" if is_on_other else ""
    return (
        f"{ratio_cell(own)}, {harmless(verdict)}"
        f"{in_brackets(lack(one.beside, one.arm))}{over}; {beside(one.source, one.beside, one.arm)}"
    )


def _word(one: Finding) -> str:
    """What settings that were not searched reach is only reported; what hurts stays said."""
    word = WORDS.get(one.over_own["judgement"]["verdict"], NOT_MEASURED)
    return REPORTED if word == REACHED and one.standing is not Standing.CLOSED else word


def _figures(source: Source) -> list[Figure]:
    tag = file_name(source.label)
    drawn = [draw_losses(source, name, tag) for name in source.document["workloads"]]
    drawn += [draw_ratios(source, tag), draw_reliability(source, tag)]
    drawn += [draw_lengths(source, tag)] if has_several(source) else []
    return [one for one in drawn if one is not None]


def _run_table(runs: Sequence[Source], links: Links) -> str:
    rows: list[dict[str, str]] = []
    for one in runs:
        facts, counters = one.document, one.document.get("counters") or {}
        loss, updates = facts.get("final_loss"), facts.get("num_updates")
        rows.append(
            {
                "workload": harmless(facts["workload"]["name"]),
                "predictor": harmless(facts["config"]["predictor"]),
                "seed": str(facts["seed"]),
                "updates": NOT_MEASURED if updates is None else str(updates),
                "validation loss": plain(loss, 5) if isinstance(loss, float) else NOT_MEASURED,
                "full-step equivalents": plain(counters.get("full_step_equivalents"), 5),
                "jumps kept": str(counters.get("jumps_accepted", NOT_MEASURED)),
                "status": harmless(facts["status"]),
                "source": links.to(one),
            }
        )
    return table(rows)


def _missing(evidence: Evidence, found: Sequence[Source]) -> list[Missing]:
    lacking = [
        Missing(
            f"the default trainer against a tuned baseline on {code(name)}{_stored_instead(evidence, name)}",
            f"hpt compare --workloads {name} --budget standard --tune --out runs/compare",
        )
        for name in WORKLOADS
        if default_arm(evidence, name) is None
    ]
    lacking += _missing_pairs(evidence)
    if not any(str(one.document["settings"]["device"]).startswith("cuda") for one in found):
        lacking.append(
            Missing("a comparison on a GPU", "hpt compare --budget full --tune --device cuda --out runs/compare-full")
        )
    return lacking


def _missing_pairs(evidence: Evidence) -> list[Missing]:
    """Workloads and inner optimizers on which the hybrid was not measured with all sides tuned."""
    lacking = pairs(evidence).lacking
    named = ", ".join(f"{workload} with {optimizer}" for workload, optimizer in lacking)
    return [Missing(f"the hybrid on other inner optimizers, tuned: {harmless(named)}", COMMAND)] if lacking else []


def _stored_instead(evidence: Evidence, workload: str) -> str:
    found = best_known(evidence, workload)
    return "" if found is None else f"; stored: {why_not(found)}"
