"""Workloads by name and by import path, and every way that can fail."""

from pathlib import Path

import pytest
import torch

from hpt.errors import DataError, HptError, UsageError
from hpt.workloads.registry import WORKLOADS, load_workload
from hpt.workloads.regression import Regression

CPU = torch.device("cpu")

PLUGIN = """
from hpt.errors import DataError
from hpt.workloads.regression import Regression

class Deep:
    @staticmethod
    def make(*, seed, data, device):
        workload = Regression(seed=seed, device=device)
        workload.name = f"own from {data}"
        return workload

def wrong(*, seed, data, device):
    return {"seed": seed}

def failing(*, seed, data, device):
    raise ValueError("first line\\nsecond line")

def refusing(*, seed, data, device):
    raise DataError("nothing to read; give a file")

number = 3
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module on the path with factories good and bad."""
    (tmp_path / "own_workloads.py").write_text(PLUGIN)
    (tmp_path / "broken_workloads.py").write_text("import no_such_module_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    return "own_workloads"


def test_the_list_is_complete() -> None:
    """All the names that are promised, and no others."""
    family = {"gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "gpt2-nano"}
    small = {
        "byte-gpt",
        "byte-gpt-b16",
        "byte-gpt-variant",
        "byte-gpt-1m",
        "byte-gpt-10m",
        "byte-gpt-large",
        "gpt2-b32",
    }
    assert set(WORKLOADS) == family | small | {"cnn", "mlp", "regression"}


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_answers_to_its_name(name: str) -> None:
    """Every listed name loads, without building a model, and calls itself that."""
    workload = load_workload(name, seed=7, device=CPU)
    assert (workload.name, workload.description["workload"], workload.seed) == (name, name, 7)
    assert workload.chance_loss > 0
    assert workload.default_steps > 0


def test_data_reaches_the_text_workloads(tmp_path: Path) -> None:
    """The user's file is what is read."""
    path = tmp_path / "text"
    path.write_bytes(b"abcd" * 5000)
    workload = load_workload("byte-gpt", seed=0, data=path, device=CPU)
    assert workload.description["data"]["source"] == str(path)
    assert set(workload.batch(0).flatten().tolist()) == set(b"abcd")


def test_unknown_name_suggests_near_ones() -> None:
    """A slip of the pen is answered with the names it may have meant."""
    with pytest.raises(UsageError, match=r"'gpt2-medum' is unknown; did you mean gpt2-medium"):
        load_workload("gpt2-medum", seed=0, device=CPU)


def test_unknown_name_without_near_ones_lists_all() -> None:
    """Something else altogether is answered with the whole list and the way to bring one's own."""
    with pytest.raises(UsageError, match=r"known are byte-gpt, .*regression \(your own: package.module:factory\)"):
        load_workload("zzzzzz", seed=0, device=CPU)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_out_of_range_is_refused(seed: int) -> None:
    """Seeds are keys of 63 bits."""
    with pytest.raises(UsageError, match=f"seed is {seed}, it must be between"):
        load_workload("regression", seed=seed, device=CPU)


@pytest.mark.parametrize("name", ["mlp", "cnn", "regression"])
def test_data_for_a_generated_workload_is_refused(name: str, tmp_path: Path) -> None:
    """A path that would be ignored is a mistake."""
    with pytest.raises(UsageError, match=f"{name} generates its own samples; leave it out"):
        load_workload(name, seed=0, data=tmp_path, device=CPU)


def test_missing_data_is_refused(tmp_path: Path) -> None:
    """The text workloads pass on what is wrong with the path."""
    with pytest.raises(DataError, match="does not exist"):
        load_workload("gpt2", seed=0, data=tmp_path / "none", device=CPU)


def test_own_factory_is_called_with_everything(plugin: str, tmp_path: Path) -> None:
    """Dots after the colon are followed, and seed, data and device arrive."""
    workload = load_workload(f"{plugin}:Deep.make", seed=4, data=tmp_path, device=CPU)
    assert isinstance(workload, Regression)
    assert (workload.name, workload.seed, workload.device) == (f"own from {tmp_path}", 4, CPU)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.module:make", r"ModuleNotFoundError: No module named 'no_such_package'"),
        ("broken_workloads:make", r"ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("own_workloads:absent", r"AttributeError: module 'own_workloads' has no attribute 'absent'"),
        ("own_workloads:number", r"TypeError: 'int' object is not callable"),
        ("own_workloads:failing", r"ValueError: first line second line"),
        (":make", r"ValueError: Empty module name"),
    ],
)
def test_a_factory_that_cannot_be_used_is_one_line_with_its_cause(plugin: str, path: str, message: str) -> None:
    """Import errors, missing names and failures inside become one HptError with status 1."""
    with pytest.raises(HptError, match=message) as caught:
        load_workload(path, seed=0, device=CPU)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert caught.value.__cause__ is not None


def test_a_factory_that_returns_something_else_is_refused(plugin: str) -> None:
    """The message names what came back and what to derive from."""
    with pytest.raises(HptError, match=r"returned a dict, it must be a Workload; derive"):
        load_workload(f"{plugin}:wrong", seed=0, device=CPU)


def test_a_factory_may_refuse_in_its_own_words(plugin: str) -> None:
    """An expected error of the tool's own tree passes unchanged, exit status included."""
    with pytest.raises(DataError, match=r"^nothing to read; give a file$"):
        load_workload(f"{plugin}:refusing", seed=0, device=CPU)
