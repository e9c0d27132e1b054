"""The test double that jumps out of place: every parameter is replaced by a new tensor, then the old ones go.

This is how the system hpt re-implements was built (a new model per jump), and what layer 1 prevents: while a
jump is made all weights exist twice. It reaches into the trainer on purpose; there is no switch for it.
"""

from collections.abc import Mapping, Sequence

import torch

from hpt.trainer.hybrid import HybridTrainer
from hpt.trainer.trajectory import OwnDirection


def jump_out_of_place(trainer: HybridTrainer) -> None:
    """Make every later jump of this trainer build new parameters."""
    trajectory = trainer._parts.trajectory  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    in_place = trajectory.apply

    def apply(
        coefficients: Mapping[str, float], own: OwnDirection | None = None, group_factors: Sequence[float] = ()
    ) -> None:
        old = [parameter.data for parameter in trajectory.parameters]
        for parameter in trajectory.parameters:
            parameter.data = parameter.data.clone(memory_format=torch.preserve_format)
        in_place(coefficients, own, group_factors)
        del old

    trajectory.apply = apply
