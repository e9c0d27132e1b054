"""The one door for files that hpt reads back: JSON, held against a schema before anybody looks into it.

A schema is a dataclass or a TypedDict whose annotations say what a field must be; pydantic reads them, strictly: a
number is no text, true is no number, what the schema does not name is left out. Whatever is amiss is one error that
names file, field, value and rule. A newer `schema_version` than the schema knows is refused as such.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    TypeAdapter,
    ValidationError,
    with_config,
)
from pydantic_core import CoreSchema, ErrorDetails, from_json

from hpt.errors import UsageError

CORRUPT, FOREIGN, NEWER = "corrupt", "foreign", "newer"
LONGEST = 40
"""Letters of a refused value that are shown."""
VERSIONS = frozenset({"schema_version", "hpt_schema"})
"""Fields that hold the number of a schema."""
RESTORE = "restore it, or choose another --out"
Schema = TypeVar("Schema")
_LIMITS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_SPELLED = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def _spelled(value: Any) -> Any:
    return _SPELLED.get(value, value) if isinstance(value, str) else value


LARGEST = 1e100
"""No measured number is beyond it; the squares of two such still have a sum."""
Finite = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
Number = Annotated[float, BeforeValidator(_spelled)]
"""Any, the three that are not finite included, which strict JSON spells as text."""
Ratio = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Size = Annotated[int, Field(ge=1, lt=2**63)]
Seconds = Annotated[float, Field(ge=1e-12, le=1e9, allow_inf_nan=False)]
"""Of something that was timed: from far below a clock's tick to thirty years."""
Version1 = Annotated[int, Field(ge=1, le=1)]


open_ended = with_config(ConfigDict(extra="allow"))
"""Decorates a TypedDict that may hold more than it names."""


@dataclass(frozen=True, slots=True)
class Like:
    """In an annotation: a field is checked as if this were its type, e.g. `Annotated[dict[str, Any], Like(Facts)]`."""

    schema: Any

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's own hook."""
        return handler.generate_schema(self.schema)


class DocumentError(UsageError):
    """A stored file cannot be used.

    Attributes:
        path: of the file.
        word: corrupt, foreign (something else) or newer.
        reason: field, value and rule.
    """

    def __init__(self, path: Path, reason: str, word: str = CORRUPT, remedy: str = RESTORE) -> None:
        super().__init__(f"{path}: {reason}; {'use the hpt that wrote it, or ' if word == NEWER else ''}{remedy}")
        self.path, self.word, self.reason = path, word, reason
        self._remedy = remedy

    def __reduce__(self) -> tuple[type, tuple[Path, str, str, str]]:  # sent to other processes
        return type(self), (self.path, self.reason, self.word, self._remedy)


def read_bytes(path: Path, *, remedy: str = RESTORE, may_wait: bool = False) -> bytes:
    """The content of a file; a pipe or a device is refused, not waited for, unless `may_wait`.

    Raises:
        DocumentError: it cannot be read, or is no file.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | (0 if may_wait else os.O_NONBLOCK)), "rb") as file:
            if not may_wait and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DocumentError(path, "it is no regular file", remedy=remedy)
            return file.read()
    except FileNotFoundError as error:
        raise DocumentError(path, "it is not there", remedy=remedy) from error
    except OSError as error:
        raise DocumentError(path, f"it cannot be read ({error.strerror or error})", remedy=remedy) from error


def read_document(path: Path, schema: type[Schema], *, remedy: str = RESTORE) -> Schema:
    """A stored document as its schema has it.

    Raises:
        DocumentError: it cannot be read, is not JSON, falls short of the schema, or is newer than it.
    """
    return fit(read_bytes(path, remedy=remedy), schema, path, remedy=remedy)


def fit(content: bytes, schema: type[Schema], path: Path, *, remedy: str = RESTORE, is_strict: bool = True) -> Schema:
    """The same for content that was read already; unless `is_strict`, text may spell a number.

    Raises:
        DocumentError: as `read_document`.
    """
    try:
        return _adapter(schema).validate_json(content, strict=is_strict)
    except ValidationError as error:
        raise _refusal(error, path, remedy) from error
    except UsageError as error:  # a dataclass that refuses its values
        raise DocumentError(path, str(error), remedy=remedy) from error


def parse(content: bytes, path: Path) -> dict[str, Any]:
    """A JSON object of unknown kind.

    Raises:
        DocumentError: it is not JSON, or something else.
    """
    try:
        document = from_json(content)
    except ValueError as error:
        raise DocumentError(path, f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise DocumentError(path, "it is JSON, but not an object", FOREIGN)
    return document


@cache
def _adapter(schema: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


def _refusal(error: ValidationError, path: Path, remedy: str) -> DocumentError:
    """Of several errors the one about the schema's version, else the first."""
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda one: not VERSIONS.intersection(one["loc"][-1:]))
    value, is_version = first["input"], not VERSIONS.isdisjoint(first["loc"][-1:])
    if first["type"] == "less_than_equal" and is_version:
        return DocumentError(path, f"{place(first['loc'])} is {value}, this hpt reads up to 1", NEWER, remedy)
    return DocumentError(path, _worded(first), remedy=remedy)


def _worded(error: ErrorDetails) -> str:
    """Field, value and rule."""
    where, rule = place(error["loc"]), error["msg"].removeprefix("Value error, ")
    if error["type"] == "json_invalid":
        return f"it is not JSON ({rule.removeprefix('Invalid JSON: ')})"
    if error["type"] == "missing":
        return f"{where} is missing"
    if error["type"] in _LIMITS:
        words, name = _LIMITS[error["type"]]
        rule = f"it must be {words} {error.get('ctx', {})[name]:g}"
    rule = rule.replace("Input should be", "it must be")
    return f"{where} is {shown(error['input'])}, {rule[0].lower()}{rule[1:]}"


def place(names: tuple[str | int, ...]) -> str:
    """A field as people write it, e.g. "arms.plain.peaks[3]"."""
    text = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in names)
    return text.removeprefix(".") or "it"


def shown(value: Any) -> str:
    """A value, shortened."""
    if isinstance(value, Mapping):
        return f"an object of {len(value)}"  # pyright: ignore[reportUnknownArgumentType]
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
