"""The search for an arm's settings: trials proposed in rounds, and what they came to.

Learning rate first, at factors of sqrt(2) around the workload's own, extended until the best lies between two worse
ones (a closed bracket); then schedule shape and the optimizer's longest average at that rate; trials left over halve
the steps around the best rate. A diverged trial counts as the worst.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from typing_extensions import TypedDict

from hpt.compare.cells import Recipe
from hpt.documents import Finite, Like, Positive

NUM_TRIALS = 9
STEP = math.sqrt(2.0)
FIRST_RATES = (-2, -1, 0, 1, 2)  # exponents of STEP
OTHER_SHAPES = ("cosine", "wsd")
OTHER_MEMORY = 0.98  # against .95 of Adam's beta2 and .99 of the momentum in `regression`
SEARCHED = ("lr_factor", "shape", "memory")


class _Trial(TypedDict):
    lr_factor: Positive
    shape: str
    memory: Finite | None
    loss: Finite | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The settings an arm runs with, and where they come from.

    Attributes:
        recipe: without the arm's own changes.
        source: "tuned" by trials in this comparison, "cached" trials of another one, or "workload" (not tuned).
        bracket_closed: the best learning rate lies between two worse ones; None without trials.
        trials: recipe settings and final loss of every trial, None if it diverged.
    """

    recipe: Recipe
    source: str
    bracket_closed: bool | None = None
    trials: Annotated[list[dict[str, Any]], Like(list[_Trial])] = field(default_factory=list[dict[str, Any]])

    def to_document(self) -> dict[str, Any]:
        """JSON values; the trainer settings, which are the arm's, are left out."""
        return {**asdict(self), "recipe": {name: getattr(self.recipe, name) for name in SEARCHED}}


UNTUNED = Tuned(recipe=Recipe(), source="workload")
_Key = tuple[float, str, float | None]


def _key(recipe: Recipe) -> _Key:
    return round(recipe.lr_factor, 9), recipe.shape, recipe.memory


def _at(lr_factor: float) -> Recipe:
    return Recipe(lr_factor=lr_factor)


class Search:
    """The trials of one arm on one workload, proposed in rounds.

    Args:
        num_trials: in all.
    """

    def __init__(self, num_trials: int = NUM_TRIALS) -> None:
        self._num_trials = num_trials
        self._losses: dict[_Key, float] = {}
        self._order: list[Recipe] = []
        self._asked: list[Recipe] = []

    def ask(self) -> list[Recipe]:
        """Recipes to run next, each one trial; empty when all trials were made."""
        left = self._num_trials - len(self._order)
        fresh = [recipe for recipe in self._wanted() if self._find(recipe) is None]
        self._asked = fresh[:left]
        return list(self._asked)

    def tell(self, losses: Sequence[float]) -> None:
        """Final losses of the round asked for, infinite where a run diverged."""
        for recipe, loss in zip(self._asked, losses, strict=True):
            self._order.append(recipe)
            self._losses[_key(recipe)] = loss
        self._asked = []

    def _wanted(self) -> list[Recipe]:
        if not self._order:
            return [_at(STEP**exponent) for exponent in FIRST_RATES]
        rates = self._rates()
        best = min(rates, key=lambda rate: rates[rate])
        if best in (min(rates), max(rates)):
            return [_at(best / STEP if best == min(rates) else best * STEP)]
        others = [replace(_at(best), shape=shape) for shape in OTHER_SHAPES]
        others = [one for one in [*others, replace(_at(best), memory=OTHER_MEMORY)] if self._find(one) is None]
        return others or self._between(sorted(rates), best)

    def _between(self, rates: list[float], best: float) -> list[Recipe]:
        place = rates.index(best)
        return [_at(math.sqrt(best * rates[other])) for other in (place - 1, place + 1)]

    def _rates(self) -> dict[float, float]:
        """Losses by learning-rate factor of the trials that differ in nothing else."""
        return {one.lr_factor: self._losses[_key(one)] for one in self._order if _key(one) == _key(_at(one.lr_factor))}

    def _find(self, recipe: Recipe) -> float | None:
        return self._losses.get(_key(recipe))

    def outcome(self) -> Tuned:
        """The best of all trials."""
        rates = self._rates()
        best_rate = min(rates, key=lambda rate: rates[rate])
        best = min(self._order, key=lambda recipe: self._losses[_key(recipe)])
        trials = [
            {name: getattr(recipe, name) for name in SEARCHED}
            | {"loss": self._losses[_key(recipe)] if math.isfinite(self._losses[_key(recipe)]) else None}
            for recipe in self._order
        ]
        closed = best_rate not in (min(rates), max(rates)) and math.isfinite(rates[best_rate])
        return Tuned(recipe=best, source="tuned", bracket_closed=closed, trials=trials)
