"""The form of a verdict: each check has a name, a threshold, evidence and one word."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

PASSED, NOT_PASSED, INCONCLUSIVE, REPORTED = "passed", "failed", "inconclusive", "reported"
SEVERITY = {REPORTED: 0, PASSED: 0, INCONCLUSIVE: 1, NOT_PASSED: 2}
SMALL, LARGE, NEAR_ZERO = "small", "large", "near 0"


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict: `value` is the number held against `threshold`, None where there was none to read.

    `good` says what the number should be: `SMALL`, `LARGE` or `NEAR_ZERO`.
    """

    name: str
    verdict: str
    threshold: str
    value: float | None
    evidence: str
    good: str = SMALL

    def to_document(self) -> dict[str, Any]:
        """Plain values of what was found."""
        return {name: value for name, value in asdict(self).items() if name != "good"}


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
    value = {SMALL: check.value, LARGE: -check.value, NEAR_ZERO: abs(check.value)}[check.good]
    return SEVERITY[check.verdict], value
