"""Whether choosing by value comes near the best fixed policy: the default beside every policy and window."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from hpt_reports.formatting import code, harmless, ratio, table

NEAR_FRAC = 0.03
"""Of the work, by which the default may fall short of the best fixed policy."""
DEFAULT, NONE = "default", "none"
Worths = Mapping[str, float]
"""Log work ratio over the same run without jumps, by fixed policy."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What was run of one workload with one optimizer.

    Attributes:
        workload, optimizer: by name.
        fixed: by seed, what each policy is worth to the end of the default window and to an earlier one; none is 0.
        default: by seed, what the choice by value is worth.
    """

    workload: str
    optimizer: str
    fixed: Mapping[str, Worths]
    default: Worths

    @property
    def best(self) -> str:
        """The fixed policy with the highest mean over seeds."""
        return _best(list(self.fixed.values()))

    @property
    def shortfall(self) -> float:
        """Log work ratio of the best fixed policy over the default, mean over seeds; below 0 the default is better."""
        best = self.best
        return fmean(self.fixed[seed][best] - worth for seed, worth in self.default.items())

    @property
    def foretold_shortfall(self) -> float | None:
        """The same of the policy that is best on the other seeds, which nobody chose by its luck; None of one seed."""
        if len(self.default) < 2:
            return None
        return fmean(
            self.fixed[seed][_best([row for other, row in self.fixed.items() if other != seed])] - worth
            for seed, worth in self.default.items()
        )

    @property
    def is_near(self) -> bool:
        """The default falls short by no more than allowed."""
        return self.shortfall <= -math.log(1.0 - NEAR_FRAC)


def _best(rows: Sequence[Worths]) -> str:
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return max(names, key=lambda name: fmean(row[name] for row in rows))


def sweeps(document: Mapping[str, Any]) -> Iterator[Sweep]:
    """Of every setting in which the default and other windows were run on a seed."""
    for one in document["worth"]:
        arms: Mapping[str, Worths] = one.get("arms_by_seed", {})
        whole = {seed: row for seed, row in arms.items() if DEFAULT in row and len(row) > 1}
        if not whole:
            continue
        yield Sweep(
            one["workload"],
            one["optimizer"],
            {
                seed: {NONE: 0.0}
                | dict(zip(document["policies"], one["worth_by_seed"][seed], strict=True))
                | {name: worth for name, worth in row.items() if name != DEFAULT}
                for seed, row in whole.items()
            },
            {seed: row[DEFAULT] for seed, row in whole.items()},
        )


def sweep_table(found: Sequence[Sweep], link: str) -> str:
    """The default, the best fixed policy, and what the one is of the other."""
    return table([_row(one) for one in found], link)


def _row(one: Sweep) -> dict[str, str]:
    best = fmean(row[one.best] for row in one.fixed.values())
    foretold = one.foretold_shortfall
    return {
        "workload": code(one.workload),
        "optimizer": harmless(one.optimizer),
        "seeds": str(len(one.default)),
        "default": ratio(math.exp(fmean(one.default.values()))),
        "best fixed": f"{harmless(one.best)}, {ratio(math.exp(best))}",
        "default over it": ratio(math.exp(-one.shortfall)),
        "over the best of other seeds": ratio(None if foretold is None else math.exp(-foretold)),
    }


def sweep_verdict(found: Sequence[Sweep], link: str) -> str:
    """In how many the default comes near, and its mean ratio to the best."""
    near = sum(one.is_near for one in found)
    mean = math.exp(-fmean(one.shortfall for one in found))
    return (
        f"The default comes within {100 * NEAR_FRAC:g} % of the best fixed policy in {near} of {len(found)}; "
        f"geometric mean of its ratios to the best {ratio(mean)} ({link})."
    )
