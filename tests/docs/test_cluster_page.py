"""The scripts of the page on clusters call every shard once: run by bash, with a stand-in for hpt."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from hpt.compare.shards import Shard

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
SHOWS_ITS_WORDS = "#!/bin/bash\nprintf '%s\\n' \"$*\"\n"


def slurm() -> str:
    """The script of the array."""
    (script,) = re.findall(r"```sh\n(#!/bin/bash\n#SBATCH.*?)```", PAGE, re.DOTALL)
    return script


def kubernetes() -> str:
    """What a container runs."""
    (script,) = re.findall(r'args: \["(.*)"\]', PAGE)
    return script


def called(folder: Path, script: str, variables: dict[str, str]) -> list[str]:
    """The shards that a script calls, in its order."""
    stand_in = folder / "hpt"
    stand_in.write_text(SHOWS_ITS_WORDS)
    stand_in.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **variables}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    calls = [line.split() for line in done.stdout.splitlines()]
    assert all({"compare", "--resume", "--out"} <= set(words) for words in calls)
    return [words[words.index("--shard") + 1] for words in calls]


@pytest.mark.parametrize(
    ("script", "variable", "first"), [(slurm(), "SLURM_ARRAY_TASK_ID", 1), (kubernetes(), "JOB_COMPLETION_INDEX", 0)]
)
def test_every_element_calls_its_own_shard(tmp_path: Path, script: str, variable: str, first: int) -> None:
    """Whether a cluster counts from 1 or from 0: eight elements, eight shards."""
    shards = [called(tmp_path, script, {variable: str(index)}) for index in range(first, first + 8)]
    assert shards == [[str(Shard(index, 8))] for index in range(1, 9)]


def test_gnu_parallel_calls_every_shard(tmp_path: Path) -> None:
    """With a stand-in that does what `parallel COMMAND ::: WORDS` does: the command once a word, in the place of {}."""
    (script,) = re.findall(r"^(shard=.*\nparallel .*)$", PAGE, re.MULTILINE)
    stand_in = """
    parallel() {
        while [ "$1" != ":::" ]; do command="$1"; shift; done
        for word in "${@:2}"; do bash -c "${command//\\{\\}/$word}"; done
    }
    """
    assert called(tmp_path, stand_in + script, {}) == [str(Shard(index, 8)) for index in range(1, 9)]
