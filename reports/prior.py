"""What is believed beforehand of every policy's worth: the prior that the package ships."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hpt.documents import read_document
from hpt_reports.age import PACKAGE
from hpt_reports.contents import decided

NAME = "prior.json"
PATH = PACKAGE / "learned" / NAME


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of run.

    Attributes:
        name: of the kind, of the optimizer's family, or "any".
        num_runs: behind it; 0 where it is assumed.
        means: log work ratio by policy.
        sds: standard deviation of that.
    """

    name: str
    num_runs: int
    means: Mapping[str, float]
    sds: Mapping[str, float]


def prior_entries() -> list[Entry]:
    """As stored.

    Raises:
        DocumentError: the file is damaged.
    """
    document = read_document(PATH, decided.Prior, remedy="install hpt anew")
    return [
        Entry(
            name=name,
            num_runs=len(one["runs"]),
            means=dict(zip(document["policies"], one["mean"], strict=True)),
            sds={
                policy: math.sqrt(one["covariance"][place][place]) for place, policy in enumerate(document["policies"])
            },
        )
        for name, one in document["entries"].items()
    ]
