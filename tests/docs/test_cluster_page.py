"""The scripts of the page on clusters call every shard once: run by bash, with a stand-in for hpt that shows its words."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from hpt.compare.shards import Shard

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
SHOWS = "#!/bin/bash\nprintf '%s\\n' \"$*\"\n"


def slurm() -> str:
    """The script of the array."""
    (script,) = re.findall(r"```sh\n(#!/bin/bash\n#SBATCH.*?)```", PAGE, re.DOTALL)
    return script


def kubernetes() -> str:
    """What a container runs."""
    (script,) = re.findall(r'args: \["(.*)"\]', PAGE)
    return script


@pytest.mark.parametrize(
    ("script", "variable", "first"), [(slurm(), "SLURM_ARRAY_TASK_ID", 1), (kubernetes(), "JOB_COMPLETION_INDEX", 0)]
)
def test_every_element_calls_its_own_shard(tmp_path: Path, script: str, variable: str, first: int) -> None:
    """Whether a cluster counts from 1 or from 0: eight elements, eight shards."""
    stand_in = tmp_path / "hpt"
    stand_in.write_text(SHOWS)
    stand_in.chmod(0o755)
    shards: list[Shard] = []
    for index in range(first, first + 8):
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", variable: str(index)}
        done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
        words = done.stdout.split()
        assert {"compare", "--resume"} <= set(words)
        shards.append(Shard.parse(words[words.index("--shard") + 1]))
    assert shards == [Shard(index, 8) for index in range(1, 9)]
