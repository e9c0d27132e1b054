"""Family and structure of a run, from the optimizers and models that there are."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import ASGD, SGD, Adagrad, Adam, AdamW, Muon, NAdam, Optimizer, RMSprop

from hpt.optimizers.build import build_optimizers
from hpt.optimizers.catalogue import CATALOGUE
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.traits import FAMILIES, OTHER, UNKNOWN, RunTraits, family_of, structure_of, traits_of

FAMILY = {
    "adamw": "adam",
    "sgd": "sgd",
    "muon": "muon",
    "soap": "soap",
    "ademamix": "adam",
    "lion": "sign",
    "shampoo": "soap",
    "adopt": "adam",
    "mars": "adam",
    "schedulefree": OTHER,  # takes no jumps
}


def mlp() -> nn.Sequential:
    """Hidden matrices of 8 x 8 between smaller ends."""
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 3))


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_optimizer_of_the_catalogue_has_its_family(name: str) -> None:
    """On a perceptron, where Muon has most of the matrices and AdamW the rest."""
    model = mlp()
    found = traits_of(model, InnerOptimizer(build_optimizers(name, model, peak_lr=0.01, total_steps=100), model))
    assert found == RunTraits(FAMILY[name], "plain")


@pytest.mark.parametrize(
    ("kind", "family"),
    [(Adam, "adam"), (NAdam, "adam"), (SGD, "sgd"), (ASGD, "sgd"), (Adagrad, "sgd"), (RMSprop, "sgd")],
)
def test_optimizers_of_torch(kind: type[Optimizer], family: str) -> None:
    """By class name."""
    assert family_of(kind([weight(2, 2)], lr=0.1)) == family  # pyright: ignore[reportCallIssue]


def test_no_class_is_of_two_families() -> None:
    """A name decides."""
    names = [name for members in FAMILIES.values() for name in members]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("muon_shape", "adamw_shapes", "expected"),
    [
        ((8, 8), [(8, 4)], "muon"),
        ((8, 8), [(8, 4), (8, 6)], "adam"),
        ((8, 8), [(1000,), (8, 4), (1, 500), (500, 1)], "muon"),  # rows, columns and vectors are no matrices
    ],
)
def test_of_several_the_one_that_moves_most_of_the_matrices_decides(
    muon_shape: tuple[int, int], adamw_shapes: list[tuple[int, ...]], expected: str
) -> None:
    """Numbers in matrices, whatever the order in the list."""
    others = AdamW([weight(*shape) for shape in adamw_shapes])
    pair: list[Optimizer] = [Muon([weight(*muon_shape)]), others]
    for optimizers in (pair, pair[::-1]):
        assert traits_of(nn.Linear(2, 2), InnerOptimizer(optimizers)).family == expected


def test_all_groups_of_an_optimizer_count() -> None:
    """Two groups of 40 numbers are more than one matrix of 64."""
    grouped = SGD([{"params": [weight(8, 5)]}, {"params": [weight(8, 5)]}], lr=0.1)
    found = traits_of(nn.Linear(2, 2), InnerOptimizer([Muon([weight(8, 8)]), grouped]))
    assert found.family == "sgd"


class Mine(AdamW):
    """Somebody's own AdamW."""


class Unheard(Optimizer):
    """Of no family."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})


def test_a_subclass_is_of_the_family_it_comes_from() -> None:
    """By the nearest ancestor with a known name."""
    assert family_of(Mine([weight(2, 2)])) == "adam"
    assert family_of(type("Lion", (SGD,), {})([weight(2, 2)], lr=0.1)) == "sign"


def test_an_unknown_class_is_of_no_family() -> None:
    """It is told as other."""
    assert family_of(Unheard([weight(2, 2)])) == OTHER == UNKNOWN.family


class RMSNorm(nn.Module):
    """Of the user's own, derived from nothing that is known."""


class LlamaRMSNorm(RMSNorm):
    """As `transformers` calls it."""


class Normalizer(nn.Module):
    """A name that only begins alike."""


class Sub(nn.Embedding):
    """A table under another name."""


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (nn.Embedding(5, 4), "text"),
        (nn.EmbeddingBag(5, 4), "text"),
        (Sub(5, 4), "text"),
        (nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4)), "text"),
        (nn.LayerNorm(4), "normalised"),
        (nn.BatchNorm1d(4), "normalised"),
        (nn.BatchNorm3d(4), "normalised"),
        (nn.GroupNorm(2, 4), "normalised"),
        (nn.InstanceNorm2d(4), "normalised"),
        (nn.SyncBatchNorm(4), "normalised"),
        (nn.LocalResponseNorm(2), "normalised"),
        (nn.RMSNorm(4), "normalised"),
        (RMSNorm(), "normalised"),
        (LlamaRMSNorm(), "normalised"),
        (Normalizer(), "plain"),
        (nn.Tanh(), "plain"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, nn.Module) else one,
)
def test_structure_is_known_by_the_modules_however_deep(inside: nn.Module, expected: str) -> None:
    """A table of rows is text, whatever normalises beside it; a normalisation is known by the end of its name."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Sequential(inside)))
    assert structure_of(model) == expected
    assert structure_of(inside) == expected


def test_a_kind_is_both() -> None:
    """As entries of the prior are named."""
    assert RunTraits("muon", "text").kind == "muon-text"
