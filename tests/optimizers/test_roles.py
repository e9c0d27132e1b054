"""What weights are for: what is found in models as people write them, and what overrules it."""

from typing import Any

import pytest
import torch
from torch import nn

from hpt.config import ROLES, HybridConfig
from hpt.errors import ConfigError
from hpt.jump.parameters import ParameterSet
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.roles import Role, role_by_shape, roles_of


class Gpt(nn.Module):
    """Embedding, blocks, norm, head."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.norm = nn.LayerNorm(4)
        self.lm_head = nn.Linear(4, 10, bias=False)
        if tied:
            self.lm_head.weight = self.embedding.weight


def named(model: nn.Module, told: dict[str, str] | None = None) -> dict[str, str]:
    roles = roles_of(model, told)
    return {name: str(roles[one]) for name, one in model.named_parameters()}


BLOCKS = {
    "blocks.0.weight": "hidden",
    "blocks.0.bias": "vector",
    "blocks.1.weight": "hidden",
    "blocks.1.bias": "vector",
}
NORM = {"norm.weight": "vector", "norm.bias": "vector"}


def test_a_gpt() -> None:
    """The last layer is the head; tied to the embedding it is a table, and there is no other head."""
    assert named(Gpt(tied=False)) == {"embedding.weight": "table", **BLOCKS, **NORM, "lm_head.weight": "head"}
    assert named(Gpt(tied=True)) == {"embedding.weight": "table", **BLOCKS, **NORM}


def test_an_mlp_and_a_convolution() -> None:
    """Filters have more than two axes; the last matrix is the head; one row or one column is a vector."""
    mlp = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2, bias=False))
    assert named(mlp) == {"0.weight": "hidden", "0.bias": "vector", "1.weight": "head"}
    convolution = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.Conv2d(1, 5, 1, bias=False), nn.Linear(5, 2, False))
    assert named(convolution) == {"0.weight": "filter", "1.weight": "vector", "2.weight": "head"}
    assert named(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1)))["1.weight"] == "vector"


def test_bags_of_embeddings_are_tables() -> None:
    assert named(nn.Sequential(nn.EmbeddingBag(7, 3), nn.Linear(3, 2, bias=False))) == {
        "0.weight": "table",
        "1.weight": "head",
    }


def test_what_is_told_beats_what_is_found_and_the_last_pattern_that_fits_holds() -> None:
    """By exact name and by pattern."""
    told = {"blocks.*.weight": "filter", "blocks.1.*": "vector", "lm_head.weight": "table"}
    found = named(Gpt(tied=False), told)
    assert [found[name] for name in (*BLOCKS, "lm_head.weight")] == ["filter", "vector", "vector", "vector", "table"]


def test_settings_know_every_role() -> None:
    assert tuple(Role) == ROLES


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"lm_head.weight": "tabel"}, "roles.lm_head.weight is 'tabel', .* did you mean 'table'"),
        ({"lm_head": {"weight": "table"}}, "roles is .* it must be a table from names in quotes to str"),
        ({"lm_head.weight": 3}, "roles is .* it must be a table"),
        ("table", "roles is 'table' of type str"),
        (["table"], "roles is .* of type list"),
        (None, "roles is None"),
    ],
)
def test_settings_refuse_what_is_no_role(roles: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        HybridConfig.from_dict({"roles": roles})
    assert "\n" not in str(caught.value)


def test_roles_come_from_toml_and_are_the_settings_own(tmp_path: Any) -> None:
    """Read as written; the caller's table may change afterwards, the settings do not."""
    (tmp_path / "a.toml").write_text('[roles]\n"lm_head.weight" = "table"\n')
    told = {"a.*": "head"}
    config = HybridConfig(roles=told)
    told["b"] = "table"
    assert HybridConfig.from_toml(tmp_path / "a.toml").roles == {"lm_head.weight": "table"}
    assert config.roles == config.to_dict()["roles"] == {"a.*": "head"}
    assert HybridConfig.from_dict(config.to_dict()) == config


def test_a_pattern_that_fits_nothing_is_refused_at_first_and_let_be_after_a_change() -> None:
    """A layer that was told about may be taken out on the way."""
    model: Any = Gpt(tied=False)
    inner, told = InnerOptimizer(torch.optim.SGD(model.parameters())), {"blocks.1.weight": "table"}
    with pytest.raises(ConfigError, match=r"roles names 'blocks.2.weight', which fits no parameter"):
        ParameterSet(model, inner, {"blocks.2.weight": "table"})
    parameters = ParameterSet(model, inner, told)
    assert parameters.roles[model.blocks[1].weight] is Role.TABLE
    del model.blocks[1]
    parameters.refresh()
    assert parameters.roles[model.blocks[0].weight] is Role.HIDDEN


def test_weights_that_only_an_optimizer_holds_have_a_role_by_their_shape() -> None:
    """A loss with weights of its own: a matrix is hidden, and what is followed as it is are tables and vectors."""
    model, matrix, vector = Gpt(tied=True), nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3))
    optimizers = [torch.optim.SGD(model.parameters()), torch.optim.SGD([matrix, vector])]
    parameters = ParameterSet(model, InnerOptimizer(optimizers))
    assert [parameters.roles[one] for one in (matrix, vector)] == [Role.HIDDEN, Role.VECTOR]
    assert role_by_shape(nn.Parameter(torch.ones(2, 2, 2))) is Role.FILTER
    kept = {id(one) for one in parameters.followed_as_they_are}
    assert {id(matrix), *(id(one.weight) for one in model.blocks)}.isdisjoint(kept)
    assert {id(vector), id(model.embedding.weight), id(model.norm.weight)} <= kept
