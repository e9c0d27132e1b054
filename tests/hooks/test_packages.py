"""`hpt.attach` needs few packages: a training job installs no more for it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_torch_numpy_psutil_and_safetensors_suffice() -> None:
    """In an interpreter where every other installed distribution is refused: jumps by the prior and by the RSSM."""
    script = ROOT / "tests" / "references" / "few_packages.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
