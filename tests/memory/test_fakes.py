"""Copies of models and optimizers on fake tensors keep what ties them together, and never reach the originals."""

import sys
from importlib.util import find_spec, module_from_spec

import pytest
import torch
from torch import nn

import hpt.memory.fakes
from hpt.errors import ModelError, PrerequisiteError
from hpt.memory.fakes import Fakes, fake_mode


def test_tied_parameters_stay_tied() -> None:
    """One fake tensor takes the place of one parameter wherever it hangs, on the CPU, the meta device or not."""
    with torch.device("meta"):
        first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        second.weight = first.weight
        model = nn.Sequential(first, second)
    with fake_mode():
        one, other = Fakes().model(model).children()
    assert one.weight is other.weight
    assert one.weight.device.type == "cpu"
    assert first.weight.is_meta


def test_what_shares_memory_shares_it_in_the_copies() -> None:
    """Two views of one tensor, a half each."""
    whole = torch.zeros(8, 4)
    with fake_mode():
        top, bottom = Fakes().batch((whole[:4], whole[4:]))
    assert top.untyped_storage()._cdata == bottom.untyped_storage()._cdata
    assert top.untyped_storage().nbytes() == whole.nbytes
    assert bottom.storage_offset() == 16


def test_the_order_of_axes_in_memory_is_kept() -> None:
    """Channels last stay last."""
    images = torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last)
    with fake_mode():
        assert Fakes().batch(images).stride() == images.stride()


def test_an_optimizers_copy_steps_copies() -> None:
    """Its parameters are the model's copies; a scheduler's wrapper around the original's step is not called."""
    model = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    before = model.weight.detach().clone()
    with fake_mode():
        fakes = Fakes()
        other = fakes.model(model)
        copied = fakes.optimizer(optimizer)
        assert copied.param_groups[0]["params"][0] is next(other.parameters())
        other(torch.zeros(2, 3)).sum().backward()
        copied.step()
    assert len(copied.state) == 2
    assert (len(optimizer.state), torch.equal(model.weight, before)) == (0, True)


def test_marks_on_parameters_are_copied() -> None:
    """Optimizers may look at attributes that a user set."""
    model = nn.Linear(2, 2)
    model.weight.is_hidden = True  # pyright: ignore[reportAttributeAccessIssue]
    with fake_mode():
        assert getattr(Fakes().model(model).weight, "is_hidden", False)


def test_what_cannot_be_copied_is_refused_by_name() -> None:
    """A generator held by a module."""
    model = nn.Linear(2, 2)
    vars(model)["held"] = (one for one in ())
    with fake_mode(), pytest.raises(ModelError, match="the model, a Linear, cannot be copied"):
        Fakes().model(model)


@pytest.mark.parametrize("missing", ["torch._subclasses.fake_tensor", "torch.utils._python_dispatch"])
def test_a_torch_that_lacks_a_part_is_named_with_the_remedy(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version, the part, and the version that was tested."""
    monkeypatch.setitem(sys.modules, missing, None)
    spec = find_spec(hpt.memory.fakes.__name__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.raises(PrerequisiteError) as caught:
        spec.loader.exec_module(module)
    message = str(caught.value)
    assert torch.__version__ in message
    assert missing in message
    assert "pip install" in message


def test_the_tested_version_is_the_pinned_one() -> None:
    """What the message names is what is installed here."""
    assert torch.__version__.startswith(f"{hpt.memory.fakes.TESTED}.")
