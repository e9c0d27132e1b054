"""Shards: whatever their number, each cell belongs to exactly one, and a share that does not exist is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt.compare.cells import Cell, Recipe
from hpt.compare.shards import Shard
from hpt.errors import UsageError

CELLS = st.builds(
    Cell,
    workload=st.sampled_from(["mlp", "cnn", "package.module:factory"]),
    arm=st.sampled_from(["baseline", "hybrid-muon", "hybrid-trial"]),
    seed=st.integers(0, 20_000),
    steps=st.integers(1, 10_000),
    recipe=st.builds(Recipe, lr_factor=st.floats(0.1, 10.0)),
)


@given(st.lists(CELLS, max_size=30), st.integers(1, 40))
def test_shards_of_any_number_partition_the_cells(cells: list[Cell], count: int) -> None:
    """Each cell is in one share and in no other, so that nothing is run twice and nothing is left out."""
    shares = [[cell for cell in cells if Shard(index, count).has(cell.key)] for index in range(1, count + 1)]
    assert sorted(cell.key for share in shares for cell in share) == sorted(cell.key for cell in cells)


@given(st.sets(st.text(max_size=8)), st.integers(1, 40), st.data())
def test_a_share_does_not_depend_on_what_else_there_is(names: set[str], count: int, data: st.DataObject) -> None:
    """A shard that starts later, when some cells are done, has the same share of the others."""
    left = {name for name in names if data.draw(st.booleans())}
    for index in range(1, count + 1):
        shard = Shard(index, count)
        assert {name for name in left if shard.has(name)} == left & {name for name in names if shard.has(name)}


def test_shares_are_about_equal() -> None:
    """Of 8000 names each of eight shards has 1000, give or take five standard deviations (30) of a fair draw."""
    sizes = [sum(Shard(index, 8).has(f"cell-{number}") for number in range(8000)) for index in range(1, 9)]
    assert all(abs(size - 1000) < 150 for size in sizes)


@given(st.integers(1, 10**9 - 1), st.data())
def test_a_shard_is_written_as_it_is_read(count: int, data: st.DataObject) -> None:
    """3/8 is the third of eight."""
    index = data.draw(st.integers(1, count))
    assert Shard.parse(f"{index}/{count}") == Shard(index, count)
    assert str(Shard(index, count)) == f"{index}/{count}"


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "-1/4", "1/0", "0/0", "1", "1/", "/4", "1/2/3", "a/b", "1.0/2", "", " 1/2"]
)
def test_a_share_that_does_not_exist_is_refused(text: str) -> None:
    """Field, value, rule and remedy in one line."""
    with pytest.raises(UsageError) as caught:
        Shard.parse(text)
    assert str(caught.value) == (
        f"--shard is {text!r}, it must be I/N with I from 1 to N; of eight shards the first is 1/8, the last 8/8"
    )
