"""Recipes of docs/attach.md for trackers, against the real packages: what they wrote is read back."""

from pathlib import Path
from typing import Any

import pytest
from references.attach_page import run, train

UPDATES = 400


def trained(example: str) -> dict[str, Any]:
    """The recipe, and then the page's loop."""
    space = run(example)
    train(space, UPDATES)
    assert space["jumps"].summary()["jumps_accepted"] > 5
    return space


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recipes write beside the program."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_has_each_jump_at_its_step() -> None:
    """A scalar a jump, and the decision as text."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    space = trained("tensorboard")
    space["writer"].close()
    stored = EventAccumulator("tensorboard").Reload()
    points = stored.Scalars("hpt/norm_ratio")
    assert len(points) == space["jumps"].summary()["jumps_accepted"]
    assert [point.step for point in points] == sorted(point.step for point in points)
    (decision,) = stored.Tensors("hpt/decision/text_summary")
    assert "adam" in decision.tensor_proto.string_val[0].decode()


@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases_has_each_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline: the summary has the last, and the run's file is there."""
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    space = trained("wandb")
    last = space["run"].summary["hpt/step"]
    assert "adam" in space["run"].summary["hpt/decision"]
    wandb.finish()
    assert last % space["jumps"].summary()["cycle_steps"] == 0
    assert list(Path().glob("wandb/offline-run-*/run-*.wandb"))


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_each_jump_at_its_step() -> None:
    """A metric a jump in a local file, and the decision as a tag."""
    mlflow = pytest.importorskip("mlflow")
    space = trained("mlflow")
    run_id = mlflow.active_run().info.run_id
    mlflow.end_run()
    points = mlflow.MlflowClient().get_metric_history(run_id, "hpt/norm_ratio")
    assert len(points) == space["jumps"].summary()["jumps_accepted"]
    assert "adam" in mlflow.MlflowClient().get_run(run_id).data.tags["hpt/decision"]
    assert Path("mlflow.db").exists()
