"""The weight delta on 10 tensors of 1000 floats, in place: what the trainer does to weights around a jump.

The trainer never makes a delta of its own: `clone` copies the weights into the storage kept for the start of a cycle,
`scale` multiplies tensors in place, and `apply` adds the base preset's jump (a pull-back on the last displacement, a
gain on the trend) to the weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hpt.bench.scenario import Measured, Preset, Scenario, require
from hpt.jump.delta import WeightDelta

if TYPE_CHECKING:
    import torch

    from hpt.jump.trajectory import Trajectory

NUM_TENSORS, SIZE = 10, 1000
_SCALE = 0.8
_PULL_BACK, _GAIN = 0.5, 2.0  # of the preset `short`
_JUMP = WeightDelta(_PULL_BACK, _GAIN, _SCALE)
_BACK = WeightDelta(1.0, 0.0, _SCALE)
"""Takes the whole displacement back."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """Ten parameters and their trajectory, one cycle in."""

    parameters: list["torch.nn.Parameter"]
    trajectory: "Trajectory"

    def values(self) -> list["torch.Tensor"]:
        return [parameter.detach().clone() for parameter in self.parameters]


def _weights() -> _Weights:
    import torch

    from hpt.jump.trajectory import Trajectory

    generator = torch.Generator().manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    parameters = [torch.nn.Parameter(torch.randn(SIZE, generator=generator)) for _ in range(NUM_TENSORS)]
    trajectory = Trajectory([parameters], _SCALE)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.01 * torch.randn(SIZE, generator=generator))
    trajectory.end_cycle(step=50, num_steps=50, progress=None, lr_frac=1.0)
    return _Weights(parameters, trajectory)


def clone(preset: Preset) -> Measured:
    """Keep the weights at the start of a cycle."""
    del preset
    weights = _weights()
    return Measured(call=weights.trajectory.begin_cycle, check=partial(_check_clone, weights))


def _check_clone(weights: _Weights) -> None:
    weights.trajectory.begin_cycle()
    kept = weights.values()
    weights.trajectory.apply(_BACK)  # the displacement since the start is zero, so nothing moves
    require(_equal(weights.parameters, kept), "the start of the cycle is where the weights are")
    for parameter in weights.parameters:
        parameter.data.add_(1.0)
    weights.trajectory.apply(_BACK)  # takes back everything since the start
    require(
        all(bool((new - old).abs().max() < 1e-5) for new, old in zip(weights.values(), kept, strict=True)),
        "it kept copies",
    )


def scale(preset: Preset) -> Measured:
    """Multiply ten tensors by -1, which neither grows nor fades however often it is done."""
    del preset
    from hpt.numerics.tensors import scale_

    tensors = [parameter.data for parameter in _weights().parameters]
    return Measured(call=partial(scale_, tensors, -1.0), check=partial(_check_scale, scale_, tensors))


def _check_scale(scale_: Callable[[Sequence["torch.Tensor"], float], None], tensors: list["torch.Tensor"]) -> None:
    before, places = [tensor.clone() for tensor in tensors], [tensor.data_ptr() for tensor in tensors]
    scale_(tensors, -1.0)
    require(all(bool((new == -old).all()) for new, old in zip(tensors, before, strict=True)), "every number is scaled")
    require([tensor.data_ptr() for tensor in tensors] == places, "no tensor moves in memory")


def apply(preset: Preset) -> Measured:
    """Add the jump -d/2 + 2E to the weights; done again and again it converges, so numbers stay ordinary."""
    del preset
    weights = _weights()
    return Measured(call=partial(weights.trajectory.apply, _JUMP), check=partial(_check_apply, weights))


def _check_apply(weights: _Weights) -> None:
    """After one cycle the trend E is the displacement d itself, so the jump is (g - a) d."""
    start = weights.values()
    places = [parameter.data_ptr() for parameter in weights.parameters]
    weights.trajectory.apply(_BACK)
    displacements = [new - old for new, old in zip(start, weights.values(), strict=True)]
    for parameter, value in zip(weights.parameters, start, strict=True):
        parameter.data.copy_(value)
    weights.trajectory.apply(_JUMP)
    jumps = [new - old for new, old in zip(weights.values(), start, strict=True)]
    errors = [(jump - (_GAIN - _PULL_BACK) * d).abs().max() for jump, d in zip(jumps, displacements, strict=True)]
    require(all(bool(jump.abs().max() > 0) for jump in jumps), "all ten tensors change")
    require(max(map(float, errors)) < 1e-5, "they change by the weight delta")
    require([parameter.data_ptr() for parameter in weights.parameters] == places, "no tensor moves in memory")


def _equal(parameters: Sequence["torch.Tensor"], values: Sequence["torch.Tensor"]) -> bool:
    return all(bool((one == other).all()) for one, other in zip(parameters, values, strict=True))


SCENARIOS = tuple(
    Scenario(group="weight_delta", name=name, summary=summary, unit="weight delta", set_up=set_up)
    for name, summary, set_up in (
        ("clone", "Copy 10 tensors of 1000 floats into the storage of the cycle's start.", clone),
        ("scale", "Multiply 10 tensors of 1000 floats in place.", scale),
        ("apply", "Add a jump along displacement and trend to 10 tensors of 1000 floats, in place.", apply),
    )
)
