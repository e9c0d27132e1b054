"""The form of a verdict: each check has a name, a threshold, evidence and one word."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

PASSED, NOT_PASSED, INCONCLUSIVE, REPORTED = "passed", "failed", "inconclusive", "reported"
SEVERITY = {REPORTED: 0, PASSED: 0, INCONCLUSIVE: 1, NOT_PASSED: 2}
MORE_IS_BETTER = ("forced cycle", "layer 1 saves", "layer 2 saves")
BOTH_WAYS = ("peak is plain", "estimate against")
"""Beginnings of names of checks whose value should be large, or near 0; that of all others should be small."""


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict: `value` is the number held against `threshold`, None where there was none to read."""

    name: str
    verdict: str
    threshold: str
    value: float | None
    evidence: str

    def to_document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def verdict_of(checks: list[Check]) -> str:
    """Failed if any check failed, inconclusive if any was, else passed; nothing checked has failed."""
    verdicts = {check.verdict for check in checks}
    if NOT_PASSED in verdicts or not verdicts:
        return NOT_PASSED
    return INCONCLUSIVE if INCONCLUSIVE in verdicts else PASSED


def worst_of(by_rank: Sequence[Sequence[Check]]) -> Iterator[Check]:
    """Of each check the worst one over processes, which is named; those of one process are as they are.

    Args:
        by_rank: the same checks in the same order for each process.
    """
    for checks in zip(*by_rank, strict=True):
        rank = max(range(len(checks)), key=lambda rank: _badness(checks[rank]))
        worst = checks[rank]
        yield (
            worst
            if len(checks) == 1
            else replace(worst, evidence=f"rank {rank}, worst of {len(checks)}: {worst.evidence}")
        )


def _badness(check: Check) -> tuple[int, float]:
    """By the verdict, then by the number; one that could not be read is the worst."""
    if check.value is None:
        return SEVERITY[check.verdict], float("inf")
    value = abs(check.value) if check.name.startswith(BOTH_WAYS) else check.value
    return SEVERITY[check.verdict], -value if check.name.startswith(MORE_IS_BETTER) else value
