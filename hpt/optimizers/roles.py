"""What each weight of a model is for: found once, here, and read by whatever treats matrices differently from vectors.

    hidden   a matrix from features to features
    filter   the same with further axes, a convolution's
    table    rows that are looked up: an embedding, also where the last layer is tied to it
    head     the matrix of the last layer
    vector   biases, gains of norms, and what has a single row or column

Muon is for hidden matrices and leaves tables, head and vectors to another optimizer (Jordan et al., "Muon", 2024);
orthogonal jumps follow the factor of everything but tables and vectors.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase

from torch import Tensor, nn

from hpt.errors import ConfigError


class Role(StrEnum):
    """What a weight is for; see the module."""

    HIDDEN = "hidden"
    FILTER = "filter"
    TABLE = "table"
    HEAD = "head"
    VECTOR = "vector"


FOLLOWED_AS_THEY_ARE = frozenset({Role.TABLE, Role.VECTOR})
"""No jump follows the orthogonal factor of these."""

_TABLES = (nn.Embedding, nn.EmbeddingBag)
Roles = dict[nn.Parameter, Role]


def roles_of(model: nn.Module, told: Mapping[str, str] | None = None, *, has_changed: bool = False) -> Roles:
    """The role of every parameter of a model, tied ones once.

    Args:
        model: the head is its last module with a matrix, unless that matrix is a table's.
        told: roles by name, or by a pattern of names (`blocks.*.gate.weight`), that beat what is found; the last one
            that fits holds.
        has_changed: since the patterns were first held against the model, so that one may fit nothing by now.

    Raises:
        ConfigError: a pattern fits no parameter, or a role is unknown.
    """
    tables = {one.weight for one in model.modules() if isinstance(one, _TABLES)}
    heads = list(_matrices(model))[-1:]
    found = {one: _found(one, tables, heads) for one in model.parameters()}
    for pattern, role in (told or {}).items():
        fitting = [one for name, one in model.named_parameters() if fnmatchcase(name, pattern)]
        if not fitting and not has_changed:
            raise ConfigError(f"roles names {pattern!r}, which fits no parameter; see model.named_parameters()")
        found |= dict.fromkeys(fitting, _role(pattern, role))
    return found


def role_by_shape(one: nn.Parameter) -> Role:
    """The role of a parameter that no module says more about."""
    if not is_matrix(one):
        return Role.VECTOR
    return Role.HIDDEN if one.ndim == 2 else Role.FILTER


def _found(one: nn.Parameter, tables: Iterable[Tensor], heads: Iterable[Tensor]) -> Role:
    if any(one is table for table in tables):
        return Role.TABLE
    if is_matrix(one) and any(one is head for head in heads):
        return Role.HEAD
    return role_by_shape(one)


def is_matrix(tensor: Tensor) -> bool:
    """It has more than one row and more than one column; axes beyond the first count as one."""
    return tensor.ndim >= 2 and tensor.shape[0] > 1 and tensor.numel() > tensor.shape[0]


def _matrices(model: nn.Module) -> Iterable[nn.Parameter]:
    """Parameters with two axes or more, module by module: a tied one each time it is there."""
    for module in model.modules():
        yield from (one for one in module.parameters(recurse=False) if one.ndim >= 2)


def _role(pattern: str, role: str) -> Role:
    if role not in set(Role):
        raise ConfigError(f"roles.{pattern} is {role!r}, it must be one of {', '.join(Role)}; choose one")
    return Role(role)
