"""What somebody else put into a folder stays there: under any name, behind any link, and whatever the list says."""

import json
from pathlib import Path

import pytest

from hpt.errors import DiskError, UsageError
from hpt.run.ownership import MANIFEST, Manifest, check_writable, claim, fresh_folder, refuse_foreign


def write(manifest: Manifest, *names: str) -> None:
    """As a command does: listed first, then written."""
    manifest.add(names)
    for name in names:
        (manifest.folder / name).write_text("ours")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}


def test_only_what_was_written_is_removed(tmp_path: Path) -> None:
    """Neither a file beside ours nor one in the same folder goes, whatever its suffix."""
    out = tmp_path / "out"
    write(Manifest(out, "report"), "index.md", "figures/a.svg", "figures/b.svg")
    (out / "figures" / "mine.svg").write_text("mine")
    (out / "notes.csv").write_text("mine")
    manifest = Manifest(out, "report")
    write(manifest, "index.md", "figures/a.svg")
    manifest.keep_only(["index.md", "figures/a.svg"])
    assert files(out) == {"index.md", "figures/a.svg", "figures/mine.svg", "notes.csv"}


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    """Put there after the folder became ours, under a name that is needed now; nothing at all is written."""
    out = tmp_path / "out"
    write(Manifest(out, "report"), "index.md")
    (out / "figures").mkdir()
    (out / "figures" / "a.svg").write_text("mine")
    with pytest.raises(UsageError, match=r"a\.svg was not written by hpt; move it"):
        write(Manifest(out, "report"), "other.md", "figures/a.svg")
    assert (out / "figures" / "a.svg").read_text() == "mine"
    assert not (out / "other.md").exists()


def test_what_was_written_before_a_kill_is_still_ours(tmp_path: Path) -> None:
    """Names are on the list before their files are there."""
    out = tmp_path / "out"
    Manifest(out, "report").add(["a.md", "b.md"])
    (out / "a.md").write_text("ours")
    write(Manifest(out, "report"), "a.md", "b.md")
    assert files(out) == {"a.md", "b.md"}


@pytest.mark.parametrize("place", ["figures", "figures/deep"])
def test_nothing_behind_a_link_is_removed_or_written(tmp_path: Path, place: str) -> None:
    """A folder of ours that became a link to the user's: their files of the same names stay, and it is refused."""
    out, theirs = tmp_path / "out", tmp_path / "theirs"
    write(Manifest(out, "report"), f"{place}/a.svg", f"{place}/b.svg")
    (out / place).rename(theirs)
    (out / place).symlink_to(theirs)
    with pytest.raises(UsageError, match="is a link"):
        Manifest(out, "report").add([f"{place}/a.svg"])
    Manifest(out, "report").keep_only([])
    assert files(theirs) == {"a.svg", "b.svg"}


def test_a_file_that_became_a_link_stays(tmp_path: Path) -> None:
    """The link as well as what it leads to."""
    out, theirs = tmp_path / "out", tmp_path / "thesis.md"
    write(Manifest(out, "report"), "index.md")
    (out / "index.md").rename(theirs)
    (out / "index.md").symlink_to(theirs)
    Manifest(out, "report").keep_only([])
    assert (out / "index.md").is_symlink()
    assert theirs.read_text() == "ours"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"files": ["a"]}',
        '{"schema_version": 9, "files": []}',
        '{"schema_version": 1, "files": 3}',
        *(json.dumps({"schema_version": 1, "files": [name]}) for name in ("../a", "/etc/passwd", "x/../../a", "")),
    ],
)
def test_a_damaged_list_is_refused(tmp_path: Path, text: str) -> None:
    """It could name files that are not ours, or not here."""
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UsageError, match="is no list of files that this hpt wrote"):
        Manifest(tmp_path, "report")


def test_a_folder_with_other_files_is_refused_by_name(tmp_path: Path) -> None:
    """The message has the first of them, what is missing, and what to do."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError) as caught:
        claim(tmp_path, "run", "run.json")
    assert str(caught.value) == (
        f"{tmp_path} holds a, b, c, ..., but no run (run.json is not there); "
        "nothing of yours is overwritten: choose another --out, or an empty folder"
    )


@pytest.mark.parametrize("there", [[], [".gitignore", ".lock"], ["mine.txt", "run.json"]])
def test_an_empty_folder_and_one_of_ours_may_be_used(tmp_path: Path, there: list[str]) -> None:
    """Hidden files are nobody's work; in a folder of ours everybody may keep what they like."""
    for name in there:
        (tmp_path / name).write_text("")
    claim(tmp_path, "run", "run.json")
    claim(tmp_path / "not yet", "run", "run.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == there


@pytest.mark.parametrize("text", ["mine", "[]", '{"kind": "comparison"}', '{"benchmarks": []}', b"\xff\xfe"])
def test_a_document_replaces_none_of_another_kind(tmp_path: Path, text: str | bytes) -> None:
    """Only one that says it is of the same kind, or nothing."""
    path = tmp_path / "results.json"
    refuse_foreign(path, "profile")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=r"results\.json is there already and is no profile"):
        refuse_foreign(path, "profile")
    path.write_text('{"kind": "profile"}')
    refuse_foreign(path, "profile")


def test_every_fresh_folder_is_another(tmp_path: Path) -> None:
    """However many are asked for under one name, that of the second in which they began."""
    made = [fresh_folder(tmp_path / "runs" / "bench-2026") for _ in range(3)]
    assert [path.name for path in made] == ["bench-2026", "bench-2026-2", "bench-2026-3"]
    assert all(path.is_dir() for path in made)


@pytest.mark.parametrize("place", ["/proc/nowhere", "/sys/nowhere"])
def test_a_place_that_cannot_be_written_is_found_at_once(place: str) -> None:
    """The kernel's own file systems take no folder from anybody, root included."""
    with pytest.raises(DiskError, match="cannot be written"):
        check_writable(Path(place))


def test_trying_to_write_leaves_nothing(tmp_path: Path) -> None:
    """But the folder."""
    check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
