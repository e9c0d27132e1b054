"""Which inner optimizers a stored comparison tried, and what the others gain by themselves, to stand beside any gain.

The first is the reference: everything is measured against it by itself, and against the arm's own one besides. A gain
over the reference is never told without the best other optimizer, or the words that no other was tried.
"""

from collections.abc import Mapping
from typing import Any

from hpt.optimizers.catalogue import OWN
from hpt_reports.evidence import Source
from hpt_reports.formatting import NOT_MEASURED, bounded, harmless

ADAMW = "adamw"
HYBRID = "hybrid"
"""The trainer as it comes, on the reference; on another optimizer that is in its name."""
NO_OTHER = "no other optimizer was tried"


def optimizers_of(source: Source) -> list[str]:
    """Names, the reference first; the workload's own where a comparison says nothing of them."""
    return list(source.document["settings"].get("optimizers") or [OWN])


def has_several(source: Source) -> bool:
    """Inner optimizers were compared."""
    return len(optimizers_of(source)) > 1


def has_one(source: Source) -> bool:
    """Only AdamW ran, or the workload's own optimizer: what the targets of the default trainer are about."""
    return optimizers_of(source) in ([OWN], [ADAMW])


def over_own(arm: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ratios and judgement of a measured arm against its own optimizer by itself; the baseline where it has no other.

    Of an optimizer by itself there is only the ratio to the reference.
    """
    own = arm.get("own")
    return {**arm["measures"], "judgement": arm["judgement"]} if own is None else own


def hybrids_of(workload: Mapping[str, Any]) -> dict[str, str]:
    """Measured arms that are the trainer as it comes, by inner optimizer."""
    arms = {name: one.get("optimizer") for name, one in workload["arms"].items() if one["measures"] is not None}
    return {on: name for name, on in arms.items() if on is not None and name in (HYBRID, f"{HYBRID}-{on}")}


def peers_of(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Other optimizers by themselves and their ratios, of the arms of a workload or over all workloads."""
    peers = {name: one for name, one in arms.items() if one["role"] == "peer"}
    found = {name: one.get("measures", one) for name, one in peers.items()}
    return {name: one for name, one in found.items() if one is not None}


def best_peer(arms: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The one with the largest work ratio; None if none was measured."""
    found = peers_of(arms)
    return max(found, key=lambda name: found[name]["work_ratio"]["value"], default=None)


def best_by_itself(source: Source, workload: Mapping[str, Any], kind: str) -> str | None:
    """The best inner optimizer of a workload without jumps; None if it is not known.

    After equally many updates it is the one that the comparison's own trials chose. At equal work it is the one with
    the largest work ratio over the reference, which may be the reference.
    """
    if kind == "steps_ratio":
        return (workload.get("best") or {}).get("optimizer")
    peers = peers_of(workload["arms"])
    if set(optimizers_of(source)[1:]) - set(peers):
        return None
    ratios = {name: float(one["work_ratio"]["value"]) for name, one in peers.items()}
    found = {optimizers_of(source)[0]: 1.0} | ratios
    return max(found, key=found.__getitem__)


def beside(source: Source, workload: Mapping[str, Any], arm: str) -> str:
    """What must be said with an arm's gain over the reference: its own optimizer by itself, and the best other one.

    Args:
        source: the comparison.
        workload: as stored in it.
        arm: whose gain it is.
    """
    return _beside(source, workload["arms"], workload["arms"][arm].get("optimizer"))


def beside_overall(source: Source, arm: str) -> str:
    """The same of an arm's gain over all workloads."""
    first = next(iter(source.document["workloads"].values()))
    return _beside(source, source.document["overall"], first["arms"][arm].get("optimizer"))


def _beside(source: Source, arms: Mapping[str, Mapping[str, Any]], own: str | None) -> str:
    if not has_several(source):
        return NO_OTHER
    peers, best = peers_of(arms), best_peer(arms)
    if best is None:
        return f"other optimizers by themselves: {NOT_MEASURED}"
    return ", ".join(by_itself(name, peers[name]) for name in dict.fromkeys((own, best)) if name in peers)


def by_itself(name: str, measures: Mapping[str, Any]) -> str:
    """Name and work ratio to the reference, e.g. "muon by itself 1.36x"."""
    return f"{harmless(name)} by itself {bounded(measures['work_ratio'])}"


def told(sentence: object, source: Source) -> str:
    """A comparison's own sentence; where it is of a day before other optimizers could be tried, that none was."""
    text = str(sentence)
    if has_several(source) or NO_OTHER in text:
        return text
    return f"{text} {NO_OTHER.capitalize()}."
