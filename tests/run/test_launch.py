"""What torchrun tells a process of its place, and the commands that start as many again."""

import pytest

from hpt import UsageError
from hpt.run.launch import Launch, hpt_words

TWO_MACHINES = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}


def test_the_environment_of_torchrun_is_read() -> None:
    """Variables as in torchrun's documentation: four processes on each of two machines."""
    launch = Launch.of_environment(TWO_MACHINES)
    assert launch == Launch(rank=5, num_processes=8, local_rank=1, num_nodes=2)
    assert " ".join(hpt_words(launch.facts)) == "torchrun --nnodes 2 --nproc-per-node 4 -m hpt"


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "4"}, {"RANK": "0"}, {"RANK": "0", "WORLD_SIZE": "1"}])
def test_otherwise_a_process_is_alone(environment: dict[str, str]) -> None:
    """Also where torchrun started only one."""
    launch = Launch.of_environment(environment)
    assert launch == Launch()
    assert hpt_words(launch.facts) == ["hpt"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RANK", "8", "RANK is 8, it must be below WORLD_SIZE 8"),
        ("WORLD_SIZE", "many", "WORLD_SIZE is 'many' in the environment"),
        ("LOCAL_RANK", "", "LOCAL_RANK is '' in the environment"),
    ],
)
def test_a_place_that_cannot_be_is_refused(name: str, value: str, message: str) -> None:
    """With the variable and its value."""
    with pytest.raises(UsageError, match=message):
        Launch.of_environment({**TWO_MACHINES, name: value})


def test_records_that_say_nothing_of_processes_are_of_one() -> None:
    """Those of earlier versions."""
    assert hpt_words({"device": "cpu"}) == ["hpt"]
