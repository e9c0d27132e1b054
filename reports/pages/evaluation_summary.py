"""The points at the top of the evaluation report."""

from collections.abc import Mapping, Sequence
from typing import Any

from hpt_reports.comparisons import (
    DEFAULT_ARM,
    WORKLOADS,
    Finding,
    best_known,
    default_arm,
    findings,
    findings_in,
    measured_arms,
)
from hpt_reports.evidence import Evidence, Source
from hpt_reports.formatting import NOT_MEASURED, bounded, harmless, in_brackets
from hpt_reports.headlines import NOISY, all_on_best, alone_mean, mean_over, peer_of, quoted
from hpt_reports.inner_optimizers import ADAMW, NO_OTHER, over_own
from hpt_reports.page import Links
from hpt_reports.pages import comparison, peers
from hpt_reports.tuning import LACKS, Standing, lack, of_baseline

KINDS = {"work_ratio": "at equal work", "steps_ratio": "after equally many updates"}


def summary(evidence: Evidence, found: Sequence[Source], links: Links, tally: str) -> list[str]:
    """Five points: over all workloads, the default trainer, controls, harm, and the verdicts counted in `tally`."""
    hurt = [
        f"{one.workload}: {one.arm}{in_brackets(lack(one.beside, one.arm))}"
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
        f"Verdicts: {tally} ({links.target}).",
    ]


def _overall_line(evidence: Evidence, links: Links) -> str:
    """The hybrid on the best of several optimizers where that was measured, else the default trainer."""
    parts = [_at(evidence, kind, words) for kind, words in KINDS.items()]
    known = [one for one in parts if one is not None]
    if len(known) == len(parts):
        sources = list(dict.fromkeys(source for _, found in known for source in found))
        told = "; ".join(words for words, _ in known)
        return f"Over {', '.join(NOISY)} (geometric means), {told} ({links.every(sources)})."
    several, single = quoted(evidence), _overall(evidence)
    if several is not None:
        return peers.headline_sentences(several, links)[0]
    return f"Over all workloads: {NOT_MEASURED}." if single is None else comparison.overall_line(single, links)


def _at(evidence: Evidence, kind: str, words: str) -> tuple[str, list[Source]] | None:
    """What the hybrid adds to the best optimizer by itself, and both over AdamW; None if a workload lacks it."""
    found = {side: all_on_best(evidence, NOISY, side, kind) for side in ("over_own", "over_reference")}
    own, first = found["over_own"], found["over_reference"]
    alone = None if own is None else alone_mean(own, kind)
    if own is None or first is None or alone is None:
        return None
    over_best, over_first = mean_over(own, "over_own", kind), mean_over(first, "over_reference", kind)
    text = (
        f"{words} jumps are worth {over_best.text} on the optimizer that is best without them; over tuned {ADAMW} "
        f"the hybrid on the optimizer with which it is best is worth {over_first.text}, the best optimizer of each "
        f"by itself {alone.short}"
    )
    return text, [one.source for one in (*own, *first)]


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
        f"The default trainer against the tuned baseline, work ratio: {_tuned_ratios(evidence, tuned, links)}"
        if tuned
        else f"The default trainer against the tuned baseline on its workloads: {NOT_MEASURED}"
    )
    if not rest:
        return f"{first}."
    each = [f"{_ratio(name, one)}{in_brackets(why_not(one))}" for name, one in rest.items()]
    cited = links.every([one.source for one in rest.values()])
    return f"{first}; held against no target, and {NO_OTHER} there: {', '.join(each)} ({cited})."


def _workloads(evidence: Evidence) -> list[str]:
    """All that were compared, those with a target first."""
    return [*WORKLOADS, *sorted({one.workload for one in findings(evidence)} - set(WORKLOADS))]


def _tuned_ratios(evidence: Evidence, found: Mapping[str, Finding], links: Links) -> str:
    """Each with the best other optimizers by themselves, and where they are from."""
    peers = {name: peer_of(evidence, name) for name in found}
    each = [f"{_ratio(name, one)}{in_brackets(peers[name][0])}" for name, one in found.items()]
    sources = [one.source for one in found.values()] + [one for _, others in peers.values() for one in others]
    return f"{', '.join(each)} ({links.every(list(dict.fromkeys(sources)))})"


def _ratio(name: str, found: Finding) -> str:
    return f"{harmless(name)} {bounded(found.work_ratio)}"


def why_not(found: Finding) -> str:
    """Why a ratio is no target's value."""
    return lack(found.beside, DEFAULT_ARM) or "tuned, no target"


def _has_method(one: Finding) -> bool:
    """A control is one to something: those beside calibrations only have all of a comparison's controls elsewhere."""
    return any(arm["role"] == "method" for arm in measured_arms(one.beside).values())


def _controls(one: Finding) -> list[Mapping[str, Any]]:
    """Those measured on its workload in its comparison."""
    return [arm for arm in measured_arms(one.beside).values() if arm["role"] == "control"]


def _control_line(evidence: Evidence, links: Links) -> str:
    """The best control of each workload over its own optimizer, from where the default trainer's value is from.

    Where that has none, from the comparison that is believed first.
    """
    defaults = [one for name in _workloads(evidence) if (one := best_known(evidence, name)) is not None]
    used: dict[str, Finding] = {}
    for one in [*defaults, *findings(evidence)]:
        if _controls(one) and _has_method(one):
            used.setdefault(one.workload, one)
    against: list[str] = []
    for workload, one in used.items():
        best = max((over_own(arm)["work_ratio"] for arm in _controls(one)), key=lambda found: found["value"])
        base = of_baseline(one.beside)
        words = in_brackets("" if base is Standing.CLOSED else f"baseline {LACKS[base]}")
        against.append(f"{harmless(workload)} {bounded(best)}{words}")
    if not against:
        return f"Controls: {NOT_MEASURED}."
    sources = links.every([one.source for one in used.values()])
    return f"Best control of each workload: {', '.join(against)} ({sources})."
