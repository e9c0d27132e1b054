"""The search for an arm's settings: trials proposed in rounds, and what they came to.

Learning rate first, at factors of sqrt(2) around the workload's own, extended until the best lies between two worse
ones (a closed bracket); then schedule shape and the optimizer's longest average at that rate; trials left over halve
the steps around the best rate. Then a playoff: the best of them run once more, on a second seed, and the lowest mean of
both wins, since the least of nine noisy losses is as much luck as merit. A diverged trial counts as the worst.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Annotated, Any, NotRequired

from typing_extensions import TypedDict

from hpt.compare.cells import Recipe
from hpt.documents import Finite, Like, Positive

NUM_TRIALS, NUM_FINALISTS = 9, 3
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
    second_loss: NotRequired[Finite | None]  # older comparisons had no playoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The settings an arm runs with, and where they come from.

    Attributes:
        recipe: without the arm's own changes.
        source: "tuned" by trials in this comparison, "cached" trials of another one, or "workload" (not tuned).
        bracket_closed: the best learning rate lies between two worse ones; None without trials.
        trials: recipe settings and final loss of every trial, None if it diverged; those in the playoff have a
            `second_loss`, too.
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


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a search.

    Attributes:
        recipe: how it trains.
        is_playoff: on the second seed.
    """

    recipe: Recipe
    is_playoff: bool = False


class Search:
    """The trials of one arm on one workload, proposed in rounds.

    Args:
        num_trials: in all, on the first seed.
        num_finalists: of them, that run again on the second.
    """

    def __init__(self, num_trials: int = NUM_TRIALS, num_finalists: int = NUM_FINALISTS) -> None:
        self._num_trials, self._num_finalists = num_trials, num_finalists
        self._losses: dict[_Key, float] = {}
        self._second_losses: dict[_Key, float] = {}
        self._order: list[Recipe] = []
        self._asked: list[Trial] = []

    def ask(self) -> list[Trial]:
        """What to run next; empty when all was run."""
        left = self._num_trials - len(self._order)
        if left > 0:
            fresh = [recipe for recipe in self._wanted() if self._find(recipe) is None]
            self._asked = [Trial(recipe) for recipe in fresh[:left]]
        else:
            unplayed = [one for one in self._finalists() if _key(one) not in self._second_losses]
            self._asked = [Trial(recipe, is_playoff=True) for recipe in unplayed]
        return list(self._asked)

    def tell(self, losses: Sequence[float]) -> None:
        """Final losses of the round asked for, infinite where a run diverged."""
        for trial, loss in zip(self._asked, losses, strict=True):
            if trial.is_playoff:
                self._second_losses[_key(trial.recipe)] = loss
                continue
            self._order.append(trial.recipe)
            self._losses[_key(trial.recipe)] = loss
        self._asked = []

    def _finalists(self) -> list[Recipe]:
        best = sorted(self._order, key=lambda recipe: self._losses[_key(recipe)])[: self._num_finalists]
        return [one for one in best if math.isfinite(self._losses[_key(one)])]

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
        """The winner of the playoff, and all trials."""
        rates = self._rates()
        best_rate = min(rates, key=lambda rate: rates[rate])
        trials = [self._document(recipe) for recipe in self._order]
        winner = best_trial(trials)
        best = next(recipe for recipe, trial in zip(self._order, trials, strict=True) if trial is winner)
        closed = best_rate not in (min(rates), max(rates)) and math.isfinite(rates[best_rate])
        return Tuned(recipe=best, source="tuned", bracket_closed=closed, trials=trials)

    def _document(self, recipe: Recipe) -> dict[str, Any]:
        losses = {"loss": self._losses[_key(recipe)]}
        if _key(recipe) in self._second_losses:
            losses["second_loss"] = self._second_losses[_key(recipe)]
        known = {name: loss if math.isfinite(loss) else None for name, loss in losses.items()}
        return {name: getattr(recipe, name) for name in SEARCHED} | known


def best_trial(trials: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The one with the lowest mean loss of those in the playoff; of all where there was none."""
    finalists = [one for one in trials if "second_loss" in one]
    return min(finalists or trials, key=mean_loss)


def mean_loss(trial: Mapping[str, Any]) -> float:
    """Of a trial's runs; infinite if one diverged."""
    losses = [trial[name] for name in ("loss", "second_loss") if name in trial]
    return math.inf if None in losses else fmean(losses)
