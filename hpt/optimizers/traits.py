"""What can be seen of a run before its first step, and decides what jumps have been worth in runs like it.

    family      of the optimizer that moves most of the matrices: adam, muon, soap, sign, sgd; "other" if unknown
    structure   of the model: text (it looks rows up in a table), normalised (layers of normalisation), plain

Longer weights turn more slowly where steps have a fixed size and decay is decoupled, and mean nothing where a
normalisation follows; both decide whether a jump should keep the norms.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch is imported where it is needed: it takes a second, and some predictors do without
    from torch import nn
    from torch.optim import Optimizer

    from hpt.optimizers.inner import InnerOptimizer

FAMILIES = {
    "adam": ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "ADOPT", "AdEMAMix", "MARS", "Adafactor", "Adan", "LAMB"),
    "muon": ("Muon", "AdaMuon", "DistributedMuon"),
    "soap": ("SOAP", "Shampoo", "ScalableShampoo", "KLSOAP", "PSGD", "Kron"),
    "sign": ("Lion", "SignSGD", "Signum", "Tiger"),
    "sgd": ("SGD", "ASGD", "SGDP", "Adagrad", "RMSprop"),
}
"""Class names by family; an optimizer of any other class is of none."""
_NORMALISATION = re.compile(r"[Nn]orm(\dd)?$")  # LayerNorm, RMSNorm, BatchNorm2d, LlamaRMSNorm
OTHER = "other"
TEXT, NORMALISED, PLAIN = "text", "normalised", "plain"


@dataclass(frozen=True, slots=True)
class RunTraits:
    """Family of the optimizer and structure of the model; see the module."""

    family: str
    structure: str

    @property
    def kind(self) -> str:
        """Both, as a name."""
        return f"{self.family}-{self.structure}"


UNKNOWN = RunTraits(OTHER, PLAIN)


def traits_of(model: "nn.Module | None", optimizer: "InnerOptimizer") -> RunTraits:
    """The traits of a run; of a model that is not known the structure is `OTHER`."""
    main = max(optimizer.each, key=_num_in_matrices)
    return RunTraits(family_of(main), OTHER if model is None else structure_of(model))


def family_of(optimizer: "Optimizer") -> str:
    """By the names of its class and those that it is derived from."""
    names = [one.__name__ for one in type(optimizer).__mro__]
    found = (family for name in names for family, members in FAMILIES.items() if name in members)
    return next(found, OTHER)


def structure_of(model: "nn.Module") -> str:
    """A table of rows beats layers of normalisation, which are known by the end of their class name."""
    from torch import nn  # noqa: PLC0415

    if any(isinstance(module, (nn.Embedding, nn.EmbeddingBag)) for module in model.modules()):
        return TEXT
    normalises = any(_NORMALISATION.search(type(module).__name__) for module in model.modules())
    return NORMALISED if normalises else PLAIN


def _num_in_matrices(optimizer: "Optimizer") -> int:
    """Numbers in the matrices that it moves."""
    from hpt.optimizers.roles import is_matrix  # noqa: PLC0415

    return sum(one.numel() for group in optimizer.param_groups for one in group["params"] if is_matrix(one))
