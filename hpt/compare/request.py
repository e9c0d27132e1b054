"""What one `hpt compare` was asked for, kept in its folder so that `--resume` needs nothing else.

Nothing here imports torch. A resumed comparison may ask for more (seeds, arms, workloads, lengths): cells that are
done are never run again, whatever is asked.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field
from typing_extensions import TypedDict

from hpt.compare.alpha_spending import FIRST_LOOK, PLANNED_LOOKS
from hpt.compare.arms import DISJOINT_SEEDS
from hpt.compare.cells import CellFolder
from hpt.compare.peers import optimizers_of
from hpt.compare.plan import ComparisonPlan
from hpt.compare.roster import ALONE_AND_ABLATED, LEAVE_ONE_OUT, SEVERAL, arms_of
from hpt.compare.suite import BUDGETS, tasks_of
from hpt.documents import Count, Size, Version1, read_document
from hpt.errors import UsageError
from hpt.jsonfiles import disk_errors, write_json
from hpt.run.ownership import claim

REQUEST_SCHEMA_VERSION = 1
REQUEST_FILE = "comparison.json"
TUNING_FOLDER = "runs/tuning"
DEFAULT_BUDGET = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRequest:
    """The flags that decide what is run; None where one was not given.

    Attributes:
        budget: name of a budget, from which everything else that is None follows.
        workloads: comma-separated names, each with or without =STEPS.
        arms: comma-separated names.
        optimizers: comma-separated names of inner optimizers.
        resolve: wanted half-width of intervals, .03 for 3 %; seeds are run until they have it.
        looks: seeds that were planned when it began, which its intervals are made for; more may be added later.
        leave_one_out: run the default without each of its parts, too.
        seeds: number of paired seeds.
        first_seed: the smallest of them.
        tune: run tuning trials for settings that no earlier trials gave.
        data: the user's text, absolute.
        device: cpu, cuda, cuda:1.
        dtype: autocast of the forward pass: none, bf16, fp16.
        threads: of torch in every cell.
        clock: seeds that are timed alone.
        tuning_cache: folder of earlier tunings, absolute.
    """

    budget: Literal["quick", "standard", "full"] | None = None
    workloads: str | None = None
    arms: str | None = None
    optimizers: str | None = None
    resolve: Annotated[float, Field(gt=0, lt=1)] | None = None
    looks: Size | None = None
    leave_one_out: bool | None = None
    seeds: Annotated[int, Field(ge=1, le=DISJOINT_SEEDS)] | None = None
    first_seed: Count | None = None
    tune: bool | None = None
    data: str | None = None
    device: str | None = None
    dtype: Literal["none", "bf16", "fp16"] | None = None
    threads: Size | None = None
    clock: Count | None = None
    tuning_cache: str | None = None

    def over(self, stored: Self) -> Self:
        """This request, with what it leaves open taken from an earlier one."""
        given = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        return dataclasses.replace(stored, **given)

    def refuse_other(self, planned: Self) -> None:
        """Refuse flags that ask for something else than was planned; those that are left open ask for nothing.

        Raises:
            UsageError: one does.
        """
        for name, value in dataclasses.asdict(self).items():
            before = getattr(planned, name)
            if value is not None and value != before:
                flag, was = name.replace("_", "-"), "left open" if before is None else before
                raise UsageError(
                    f"--{flag} is {value}, but all shards run what was planned, where it is {was}; "
                    "leave it out, or plan again first, with --resume --plan-only"
                )

    def begun(self) -> Self:
        """The same with what is fixed when a comparison begins."""
        if self.resolve is None or self.looks is not None:
            return self
        return dataclasses.replace(self, looks=max(FIRST_LOOK, self.seeds or PLANNED_LOOKS))

    def plan(self) -> ComparisonPlan:
        """Everything that is to be run.

        Raises:
            UsageError: a workload, an arm or an optimizer is unknown.
            PrerequisiteError: the package of an optimizer is not installed.
        """
        budget = BUDGETS[self.budget or DEFAULT_BUDGET]
        optimizers = optimizers_of(self.optimizers)
        names, default = self.arms, budget.arms if len(optimizers) == 1 else SEVERAL
        if self.leave_one_out:
            names, default = None if names is None else f"{names},{LEAVE_ONE_OUT}", ALONE_AND_ABLATED
        usual = budget.num_seeds if self.resolve is None else PLANNED_LOOKS
        first, count = self.first_seed or 0, self.seeds or usual
        return ComparisonPlan(
            tasks=tuple(tasks_of(self.workloads, budget)),
            arms=tuple(arms_of(names, default)),
            optimizers=optimizers,
            seeds=tuple(range(first, first + count)),
            length_fracs=budget.length_fracs,
            data=self.data,
            device=self.device or budget.device,
            dtype=self.dtype or "none",
            threads=self.threads or 1,
        )


def refuse_open_seeds(request: ComparisonRequest) -> None:
    """Refuse to share a comparison that decides after every seed whether it needs another one.

    Raises:
        UsageError: it does.
    """
    if request.resolve is not None:
        raise UsageError(
            f"--resolve is {100.0 * request.resolve:g} %, and shards cannot wait for each other's seeds; "
            "begin another comparison with --seeds instead, or run this one without shards"
        )


class _Stored(TypedDict):
    schema_version: Version1
    request: ComparisonRequest


class ComparisonFolder:
    """The files of one comparison.

    Args:
        path: the folder, which `hpt.run.folder.locked` makes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = CellFolder(path / "cells")
        self.recipes = path / "recipes"
        self.summary_file = path / "summary.json"
        self._request_file = path / REQUEST_FILE

    def refuse_taken(self) -> None:
        """Refuse to begin a comparison where there is one, or something else.

        Raises:
            UsageError: the folder is not empty.
        """
        if self._request_file.exists():
            raise UsageError(
                f"{self.path} already holds a comparison; go on with --resume, choose another --out, or delete it"
            )
        claim(self.path, "comparison", REQUEST_FILE)

    def stored(self) -> ComparisonRequest:
        """What was asked for.

        Raises:
            DocumentError: no comparison began here, or its file cannot be used.
        """
        return read_document(self._request_file, _Stored, remedy="restore it, or name the folder of a comparison")[
            "request"
        ]

    def planned(self) -> ComparisonRequest:
        """What was asked for, of a comparison that several processes share.

        Raises:
            UsageError: none was planned here, or its seeds are not fixed.
            DocumentError: its file cannot be used.
        """
        if not self._request_file.exists():
            raise UsageError(
                f"{self.path} holds no comparison ({REQUEST_FILE} is not there); plan it first: "
                f"hpt compare --out {self.path} --plan-only, with all that it asks for"
            )
        request = self.stored()
        refuse_open_seeds(request)
        return request

    def begin(self, request: ComparisonRequest) -> None:
        """Store the request, so that `--resume` needs no other flags.

        Raises:
            DiskError: it cannot be written.
        """
        document = {"schema_version": REQUEST_SCHEMA_VERSION, "request": dataclasses.asdict(request)}
        write_json(self._request_file, document)

    def write(self, summary: Mapping[str, Any], markdown: str, table: str) -> None:
        """Write the results.

        Raises:
            DiskError: the disk is full, or the place cannot be written.
        """
        write_json(self.summary_file, summary)
        with disk_errors(self.path):
            (self.path / "tables.md").write_text(markdown, encoding="utf-8")
            (self.path / "seeds.csv").write_text(table, encoding="utf-8")
