"""EVALUATION_REPORT: does it pay? Comparisons with a baseline and controls, and paired runs."""

from collections.abc import Mapping, Sequence

from hpt_reports.claims import claims
from hpt_reports.comparisons import (
    DEFAULT_ARM,
    WORKLOADS,
    Finding,
    best_known,
    budget_of,
    comparisons,
    default_arm,
    findings,
    findings_in,
    measured_arms,
)
from hpt_reports.evidence import Evidence, Source
from hpt_reports.figures.comparison import draw_losses, draw_pairs, draw_ratios, draw_reliability
from hpt_reports.figures.gains import NAME as GAINS
from hpt_reports.figures.gains import draw_gains
from hpt_reports.figures.optimizers import draw_ladder, draw_lengths
from hpt_reports.formatting import DIVERGED, NOT_MEASURED, code, file_name, harmless, interval, plain, ratio, table
from hpt_reports.headlines import COMMAND, pairs, quoted
from hpt_reports.inner_optimizers import NO_OTHER, beside, has_several, optimizers_of, over_own
from hpt_reports.kinds import ATTACHED, COMPARISON, LARGE, POLICIES, PREDICTION, STOPPING, TRAINING, VALUE_MODELS
from hpt_reports.ladder import ladder
from hpt_reports.page import MISSED, REACHED, REPORTED, Figure, Links, Missing, Page, VerdictRow, absent, counted
from hpt_reports.pages import attached, comparison, decided, large, paired_runs, peers, policies, stopping, value_models
from hpt_reports.pages import ladder as ladder_page
from hpt_reports.targets import verdicts
from hpt_reports.tuning import LACKS, Standing, lack, of_baseline

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
    paired = evidence.newest(PREDICTION)
    single = {kind: evidence.newest(kind) for kind in SECTIONS}
    runs = evidence.of(TRAINING)
    rungs = ladder(evidence)
    judged = [*verdicts(evidence, (COMPARISON,)), *(verdict for source in found for verdict in _verdicts(source))]
    figures = [figure for source in found for figure in _figures(source)]
    figures += [] if paired is None else [draw_pairs(paired, paired_runs.losses(paired))]
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
        summary=_summary(evidence, found, paired, links, counted(judged)),
        verdicts=judged,
        reads=(COMPARISON, PREDICTION, TRAINING, *SECTIONS),
        sources=[*found, *(one for one in (paired, *single.values()) if one is not None), *runs],
        missing=[
            *_missing(evidence, found, paired),
            *(absent(kind) for kind, one in single.items() if one is None),
            *ladder_page.missing(rungs),
            *decided.missing(found),
        ],
        figures={one.name: one for one in figures},
        opening=GAINS if several else next((one.name for one in figures if one.name.startswith(RATIOS)), ""),
        values={
            "comparisons": [comparison.section(one, links) for one in found],
            "has_tuned": any(comparison.has_tuned(one) for one in found),
            "paired": None if paired is None else paired_runs.section(paired, links),
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
    over = f"; over {harmless(reference)} {ratio(one.work_ratio['value'])}" if is_on_other else ""
    return (
        f"{ratio(own['value'])} {interval(own['low'], own['high'])}, {harmless(verdict)}"
        f"{_in_brackets(lack(one.beside, one.arm))}{over}; {beside(one.source, one.beside, one.arm)}"
    )


def _word(one: Finding) -> str:
    """What settings that were not searched reach is only reported; what hurts stays said."""
    word = WORDS.get(one.over_own["judgement"]["verdict"], NOT_MEASURED)
    return REPORTED if word == REACHED and one.standing is not Standing.CLOSED else word


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _figures(source: Source) -> list[Figure]:
    tag = file_name(source.label)
    drawn = [draw_losses(source, name, tag) for name in source.document["workloads"]]
    drawn += [draw_ratios(source, tag), draw_reliability(source, tag)]
    drawn += [draw_lengths(source, tag)] if has_several(source) else []
    return [one for one in drawn if one is not None]


def _summary(evidence: Evidence, found: Sequence[Source], paired: Source | None, links: Links, tally: str) -> list[str]:
    hurt = [
        f"{one.workload}: {one.arm}{_in_brackets(lack(one.beside, one.arm))}"
        for one in (one for source in found for one in findings_in(source))
        if one.stored["role"] == "method" and one.over_own["judgement"]["verdict"] == "hurts"
    ]
    return [
        _overall_line(evidence, links),
        _default_line(evidence, links),
        _control_line(evidence, links),
        f"Methods that hurt: {harmless(', '.join(hurt)) or 'none'} ({links.every(found)})."
        if found
        else f"Whether it ever hurts: {NOT_MEASURED}.",
        f"Verdicts: {tally} ({links.target}). " + paired_runs.line(paired, links),
    ]


def _overall_line(evidence: Evidence, links: Links) -> str:
    """The hybrid on the best of several optimizers where that was measured, else the default trainer."""
    several, single = quoted(evidence), _overall(evidence)
    if several is not None:
        return peers.headline_sentences(several, links)[0]
    return f"Over all workloads: {NOT_MEASURED}." if single is None else comparison.overall_line(single, links)


def _overall(evidence: Evidence) -> Source | None:
    """The comparison to quote over all workloads: ranked as its worst workload, and the more workloads the better."""
    ranks: dict[Source, tuple[bool, Standing, int, int, int]] = {}
    for one in findings(evidence):
        if one.arm == DEFAULT_ARM and DEFAULT_ARM in one.source.document["overall"]:
            ranks[one.source] = max(ranks.get(one.source, one.rank), one.rank)
    shares = {source: (rank[:3], -len(source.document["workloads"]), rank[3:]) for source, rank in ranks.items()}
    return min(shares, key=lambda source: shares[source], default=None)


def _default_line(evidence: Evidence, links: Links) -> str:
    """Work ratios of the default trainer: first those that count, then those whose settings fall short."""
    tuned = {name: one for name in WORKLOADS if (one := default_arm(evidence, name)) is not None}
    others = [name for name in _workloads(evidence) if name not in tuned]
    rest = {name: one for name in others if (one := best_known(evidence, name)) is not None}
    first = (
        f"The default trainer against the tuned baseline ({NO_OTHER}), work ratio: {_ratios(tuned, links)}"
        if tuned
        else f"The default trainer against the tuned baseline on its workloads: {NOT_MEASURED}"
    )
    if not rest:
        return f"{first}."
    words = "" if tuned else f" ({NO_OTHER})"
    return f"{first}; held against no target{words}: {_ratios(rest, links, is_named=True)}."


def _workloads(evidence: Evidence) -> list[str]:
    """All that were compared, those with a target first."""
    return [*WORKLOADS, *sorted({one.workload for one in findings(evidence)} - set(WORKLOADS))]


def _ratios(found: Mapping[str, Finding], links: Links, *, is_named: bool = False) -> str:
    """Ratios by workload and where they are from; `is_named`: each with how its settings were found."""
    each = [
        f"{harmless(name)} {ratio(one.work_ratio['value']) if one.work_ratio['value'] else DIVERGED}"
        f"{_in_brackets(_why_not(one)) if is_named else ''}"
        for name, one in found.items()
    ]
    return f"{', '.join(each)} ({links.every([one.source for one in found.values()])})"


def _why_not(found: Finding) -> str:
    """Why a ratio is no target's value."""
    return lack(found.beside, DEFAULT_ARM) or "tuned, no target"


def _has_method(one: Finding) -> bool:
    """A control is one to something: those beside calibrations only have all of a comparison's controls elsewhere."""
    return any(arm["role"] == "method" for arm in measured_arms(one.beside).values())


def _control_line(evidence: Evidence, links: Links) -> str:
    """The best control of each workload over its own optimizer, from the comparison that is believed first."""
    used: dict[str, Finding] = {}
    for one in findings(evidence):
        if one.stored["role"] == "control" and _has_method(one):
            used.setdefault(one.workload, one)
    against: list[str] = []
    for workload, one in used.items():
        controls = [arm for arm in measured_arms(one.beside).values() if arm["role"] == "control"]
        best = max(over_own(arm)["work_ratio"]["value"] for arm in controls)
        base = of_baseline(one.beside)
        words = _in_brackets("" if base is Standing.CLOSED else f"baseline {LACKS[base]}")
        against.append(f"{harmless(workload)} {ratio(best) if best else DIVERGED}{words}")
    if not against:
        return f"Controls: {NOT_MEASURED}."
    sources = links.every([one.source for one in used.values()])
    return f"Best control of each workload: {', '.join(against)} ({sources})."


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


def _missing(evidence: Evidence, found: Sequence[Source], paired: Source | None) -> list[Missing]:
    lacking = [
        Missing(
            f"the default trainer against a tuned baseline on {code(name)}{_stored_instead(evidence, name)}",
            f"hpt compare --workloads {name} --budget standard --tune --out runs/compare",
        )
        for name in WORKLOADS
        if default_arm(evidence, name) is None
    ]
    lacking += _missing_pairs(evidence)
    if paired is None:
        lacking.append(absent(PREDICTION))
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
    return "" if found is None else f"; stored: {_why_not(found)}"
