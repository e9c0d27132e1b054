"""Whatever is read back is held against its schema, and refused in one line that names file, field, value and rule."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import TypedDict

from hpt.documents import (
    CORRUPT,
    FOREIGN,
    NEWER,
    Count,
    DocumentError,
    Finite,
    Number,
    Positive,
    Ratio,
    Seconds,
    Version1,
    parse,
    read_bytes,
    read_document,
)


class Inner(TypedDict):
    points: list[tuple[Finite, Finite]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    schema_version: Version1
    by_name: dict[str, Inner]
    count: Count = 0
    ratio: Ratio | None = None
    loss: Number = 0.0
    factor: Positive = 1.0
    time_s: Seconds = 1.0


GOOD: dict[str, Any] = {"schema_version": 1, "by_name": {"a b": {"points": [[1, 2.5]]}}}


def stored(folder: Path, document: object) -> Path:
    path = folder / "some.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_document_is_read_as_its_schema_has_it(tmp_path: Path) -> None:
    """What the schema does not name is left out; the three numbers that are not finite are spelled as text."""
    found = read_document(stored(tmp_path, {**GOOD, "loss": "-inf", "ratio": "inf", "more": 1}), Document)
    assert found == Document(
        schema_version=1, by_name={"a b": {"points": [(1.0, 2.5)]}}, loss=float("-inf"), ratio=float("inf")
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"count": "3"}, "count is '3', it must be a valid integer"),
        ({"count": True}, "count is True, it must be a valid integer"),
        ({"count": 3.0}, "count is 3.0, it must be a valid integer"),
        ({"count": -1}, "count is -1, it must be at least 0"),
        ({"count": None}, "count is None, it must be a valid integer"),
        ({"count": 10**30}, "count is 1000000000000000000000000000000, it must be below"),
        ({"ratio": "nan"}, "ratio is 'nan', it must be at least 0"),
        ({"factor": 0}, "factor is 0, it must be above 0"),
        ({"factor": 1e300}, "factor is 1e+300, it must be at most"),
        ({"factor": float("nan")}, "factor is nan, it must be a finite number"),
        ({"time_s": 1e-300}, "time_s is 1e-300, it must be at least 1e-12"),
        ({"by_name": []}, "by_name is [], it must be an object"),
        ({"by_name": {"a b": {}}}, "by_name.a b.points is missing"),
        ({"by_name": {"a b": {"points": [[1]]}}}, "by_name.a b.points[0][1] is missing"),
        ({"by_name": {"a b": {"points": [[1, "2"]]}}}, "by_name.a b.points[0][1] is '2', it must be"),
        ({"by_name": {"a b": 7}}, "by_name.a b is 7, it must be an object"),
    ],
)
def test_what_is_amiss_is_named_by_file_field_value_and_rule(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    """On one line, which ends with what to do."""
    path = stored(tmp_path, GOOD | change)
    with pytest.raises(DocumentError) as caught:
        read_document(path, Document, remedy="measure again")
    assert caught.value.word == CORRUPT
    assert str(caught.value).startswith(f"{path}: {reason}")
    assert str(caught.value).endswith("; measure again")
    assert "\n" not in str(caught.value)


def test_a_newer_schema_is_refused_as_such_whatever_else_is_different(tmp_path: Path) -> None:
    """Its fields may mean something else, so no other is blamed."""
    with pytest.raises(DocumentError, match=r"schema_version is 2, this hpt reads up to 1; use the hpt") as caught:
        read_document(stored(tmp_path, {"by_name": 3, "schema_version": 2}), Document)
    assert caught.value.word == NEWER


@pytest.mark.parametrize("version", [True, 1.0, "1", None, 0, -1])
def test_a_version_is_a_whole_number_from_one(tmp_path: Path, version: object) -> None:
    """True and 1.0 equal 1 and are none."""
    with pytest.raises(DocumentError, match="schema_version is") as caught:
        read_document(stored(tmp_path, GOOD | {"schema_version": version}), Document)
    assert caught.value.word == CORRUPT


@pytest.mark.parametrize("text", ["", "{", "\x00", '{"a": 1} x', '{"a": "\\ud800"}', "[" * 100_000])
def test_what_is_not_json_is_refused(tmp_path: Path, text: str) -> None:
    """With a schema or without one."""
    path = stored(tmp_path, text)
    with pytest.raises(DocumentError, match="it is not JSON"):
        read_document(path, Document)
    with pytest.raises(DocumentError, match="it is not JSON"):
        parse(path.read_bytes(), path)


def test_json_that_is_no_object_is_something_else(tmp_path: Path) -> None:
    """A list, a number."""
    with pytest.raises(DocumentError, match="not an object") as caught:
        parse(b"[1]", tmp_path)
    assert caught.value.word == FOREIGN


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A pipe that nobody writes to would be waited for; a folder, a device and nothing are named alike."""
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "pipe", "it is no regular file"),
        (Path("/dev/zero"), "it is no regular file"),
        (tmp_path, "it is no regular file|Is a directory"),
        (tmp_path / "absent", "it is not there"),
    ):
        with pytest.raises(DocumentError, match=reason):
            read_bytes(path)
