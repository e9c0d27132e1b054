"""Problems of the user's, as factories return them, with and without memory."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from hpt.workloads.mlp import TeacherMLP
from hpt.workloads.problem import load_problem


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An empty module that is found by name."""
    (tmp_path / "problems_of_a_user.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return import_module("problems_of_a_user")


def _parts() -> tuple[Any, ...]:
    model = nn.Linear(2, 2)
    return model, torch.zeros(3, 2), torch.optim.SGD(model.parameters(), lr=0.1), None


@pytest.mark.parametrize("for_cuda", [True, False])
def test_weights_take_no_memory_where_none_is_needed(plugin: ModuleType, for_cuda: bool) -> None:
    """On the meta device for a GPU, on the CPU for the host."""
    plugin.make = _parts  # pyright: ignore[reportAttributeAccessIssue]
    problem = load_problem("problems_of_a_user:make", for_cuda=for_cuda)
    assert next(problem.model.parameters()).is_meta is for_cuda
    assert problem.loss_fn is None


def test_a_factory_of_workloads_is_given_what_workloads_are_made_of(plugin: ModuleType) -> None:
    """Seed 0, no data, a device; clipping and loss are the workload's."""
    given: dict[str, Any] = {}

    def make(seed: int, data: object, device: torch.device) -> TeacherMLP:
        given.update(seed=seed, data=data, device=device)
        return TeacherMLP(seed=seed, device=device)

    plugin.make = make  # pyright: ignore[reportAttributeAccessIssue]
    problem = load_problem("problems_of_a_user:make", for_cuda=False)
    assert given == {"seed": 0, "data": None, "device": torch.device("cpu")}
    assert problem.clip_norm == TeacherMLP.clip_norm
    assert problem.loss_fn(problem.model, problem.batch).item() > 0.0  # pyright: ignore[reportOptionalCall]
