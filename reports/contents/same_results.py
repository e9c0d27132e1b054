"""same_results.json of `scripts/same_results.py`."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from hpt.documents import Count, Version1
from hpt_reports.contents.origin import Commit, Stored


class Earlier(TypedDict):
    """One commit: digests of its code, and the runs that ended differently there."""

    commit: Commit
    sources: dict[str, str]
    differing: list[str]


class SameResults(Stored):
    """Runs that earlier code and the present code trained; the digests of the latter are the machine's."""

    schema_version: Version1
    what: str
    runs: Annotated[list[str], Field(min_length=1)]
    num_jumps: Count
    num_undone_jumps: Count
    num_forks: Count
    earlier: Annotated[list[Earlier], Field(min_length=1)]
