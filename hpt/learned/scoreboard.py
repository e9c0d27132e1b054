"""Prequential scores: who has forecast best so far, judged only on forecasts made before the outcome (Dawid 1984)."""

from collections.abc import Mapping, Sequence
from typing import Any

from hpt.numerics.running import corrected_gain

_WORST_NLL = 100.0  # nats, an error of 14 sigmas: one absurd forecast may not decide a whole run


class Scoreboard:
    """Prequential scores of named forecasters, in nats per forecast, lower is better.

    The rolling score is a bias-corrected exponential average with decay `memory` per forecast.
    """

    def __init__(self, memory: float) -> None:
        assert 0 <= memory < 1, f"memory is {memory}, it must lie in [0, 1)"
        self._memory = memory
        self._tallies: dict[str, tuple[int, float, float]] = {}  # count, sum, decayed mean

    def add(self, name: str, nll: float) -> None:
        """Take in one score; above 100 nats, or NaN, counts as 100."""
        bounded = nll if nll < _WORST_NLL else _WORST_NLL
        count, total, decayed = self._tallies.get(name, (0, 0.0, 0.0))
        decayed += (bounded - decayed) * corrected_gain(1 - self._memory, count + 1)
        self._tallies[name] = count + 1, total + bounded, decayed

    def rolling(self, name: str) -> float | None:
        """Decayed mean score, None before the first."""
        return self._tallies[name][2] if name in self._tallies else None

    def mean(self, name: str) -> float | None:
        """Plain mean score, None before the first."""
        count, total, _ = self._tallies.get(name, (0, 0.0, 0.0))
        return total / count if count else None

    def count(self, name: str) -> int:
        """Scores taken in."""
        return self._tallies.get(name, (0, 0.0, 0.0))[0]

    def leader(self, candidates: Sequence[str], baseline: str, margin: float) -> str:
        """The candidate of lowest rolling score, if that is below the baseline's by more than `margin` nats.

        Otherwise the baseline; also while it has no score, for then nobody has beaten it. Of equals the
        first leads.
        """
        limit = self.rolling(baseline)
        if limit is None:
            return baseline
        best, limit = baseline, limit - margin
        for name in candidates:
            score = self.rolling(name)
            if score is not None and score < limit:
                best, limit = name, score
        return best

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {name: list(tally) for name, tally in self._tallies.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._tallies = {
            name: (int(count), float(total), float(decayed)) for name, (count, total, decayed) in state.items()
        }
