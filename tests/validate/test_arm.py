"""What the arms and drills are made of: the double that jumps out of place, and results that outlive an error."""

from typing import Any

import torch

from hpt.memory.manager import CopyCounter
from hpt.validate.arm import new_tensors
from hpt.validate.forced import results_of
from hpt.validate.plan import ValidationJob


def test_the_double_moves_every_parameter_and_changes_no_value() -> None:
    """The counter of layer 1 sees each storage change once; values, strides and what the body writes stay."""
    layer = torch.nn.Linear(3, 4)
    layer.weight.data = torch.arange(12.0).reshape(3, 4).T
    parameters = list(layer.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    counter = CopyCounter(parameters)
    with new_tensors(parameters):
        assert all(torch.equal(one, other) for one, other in zip(parameters, before, strict=True))
        assert layer.weight.stride() == (1, 4)
        layer.bias.data.add_(1.0)
    assert counter.check() == len(parameters)
    assert torch.equal(layer.bias, before[1] + 1.0)


def test_an_error_in_one_result_is_told_and_the_others_follow() -> None:
    """Three names, the second raises: its message is one line, numbers that are not finite become strict JSON."""
    job = ValidationJob(kind="drill", name="a,b,c", model="m", steps=1, batch_size=1, seq_len=1, device="cpu")

    def make(one: ValidationJob) -> dict[str, Any]:
        if one.name == "b":
            raise ValueError("no\nluck")
        return {"name": one.name, "loss": float("nan")}

    first, second, third = results_of(job.to_document(), make)
    assert (first["result"], third["result"]["name"]) == ({"name": "a", "loss": "nan"}, "c")
    assert (second["result"], second["message"]) == (None, "ValueError: no luck")
