"""Components that add up, projections against hand calculation and the real model's weights."""

import json
from pathlib import Path

import pytest
import torch

from hpt.cli.main import run
from hpt.profile.components import ComponentTimes, profile_components
from hpt.profile.projection import GPTStep, project
from hpt.workloads.gpt2 import SIZES
from hpt.workloads.mlp import TeacherMLP
from hpt.workloads.regression import Regression
from hpt.workloads.transformer import GPT
from hpt.workloads.workload import num_parameters


@pytest.fixture(scope="module")
def found() -> ComponentTimes:
    return profile_components(TeacherMLP(seed=0, device=torch.device("cpu")), "rssm", total_steps=400, cycles=4)


def test_components_and_phases_sum_to_the_same_time(found: ComponentTimes) -> None:
    """Both are the trainer's wall time: nothing is lost, nothing counted twice."""
    assert sum(found.part_s.values()) == pytest.approx(sum(found.phase_s.values()), rel=0.02)


def test_jumps_are_made_and_every_component_runs(found: ComponentTimes) -> None:
    """Else their cost would be that of nothing."""
    assert found.jumps >= 2
    assert found.covered_steps > 0
    assert found.jump_cost_ratio is not None
    wanted = {"forward", "backward", "optimizer", "control", "predictor", "trajectory", "learning", "snapshot"}
    assert wanted | {"jump", "probe", "bookkeeping"} <= {part for part, seconds in found.part_s.items() if seconds > 0}


def test_predicted_cost_is_one_plus_the_extra_parts(found: ComponentTimes) -> None:
    """By the definition in the module."""
    extra = sum(seconds for part, seconds in found.part_s.items() if part not in {"forward", "backward", "optimizer"})
    assert found.predicted_cost_ratio == pytest.approx(1 + extra / found.plain_step_s)
    assert found.speed_ratio(1.2) == pytest.approx((1.2 / found.predicted_cost_ratio, 1.2 / found.cost_ratio[0]))


def test_a_cycle_is_as_long_as_the_trainers() -> None:
    """Momentum 0.99 remembers 100 steps, and so long is a cycle of the profile, where 10 would do for the length."""
    found = profile_components(Regression(seed=0, device=torch.device("cpu")), "nesterov", total_steps=100, cycles=2)
    assert found.cycle_steps == 100
    assert found.jumps <= found.cycles


def sizes(name: str) -> GPTStep:
    return GPTStep(SIZES[name].shape(), tokens_per_step=512, seq_len=64)


@pytest.mark.parametrize("name", SIZES)
def test_weights_are_those_of_the_model(name: str) -> None:
    """The formula against the module itself, made without memory."""
    with torch.device("meta"):
        model = GPT(SIZES[name].shape())
    assert sizes(name).parameters == num_parameters(model)


def test_projection_by_hand() -> None:
    """Arithmetic components grow with operations, memory components with weights, the rest not at all."""
    small, large = sizes("gpt2-nano"), sizes("gpt2")
    parts = {"forward": 1.0, "backward": 2.0, "optimizer": 0.5, "jump": 0.1, "probe": 0.2, "control": 0.3}
    found = project(small, large, parts, covered_per_update=0.5)
    work, weights = large.operations / small.operations, large.parameters / small.parameters
    assert found.plain_step_s == pytest.approx(3.0 * work + 0.5 * weights)
    assert found.update_s == pytest.approx(3.2 * work + 0.6 * weights + 0.3)
    assert found.jump_cost_ratio == pytest.approx((0.2 * work + 0.1 * weights) / 0.5 / found.plain_step_s)


def test_a_model_projected_onto_itself_is_itself() -> None:
    """Factors of one."""
    parts = {"forward": 1.0, "backward": 2.0, "optimizer": 0.5, "learning": 0.25}
    assert project(sizes("gpt2"), sizes("gpt2"), parts, 0.0).cost_ratio == pytest.approx(3.75 / 3.5)


def test_operations_of_gpt2_are_six_a_weight_and_token() -> None:
    """Up to embeddings and attention, which are a few per cent at a short context."""
    one = sizes("gpt2")
    assert one.operations == pytest.approx(6 * one.parameters * one.tokens_per_step, rel=0.03)


def test_the_command_prints_one_document(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With the projection marked as one for a GPT."""
    out = tmp_path / "profile.json"
    workload = ["--workload", "references.small_gpt:factory"]
    arguments = [*workload, "--predictor", "nesterov", "--cycles", "2", "--steps", "600"]
    assert run(["profile", *arguments, "--device", "cpu", "--threads", "1", "--json", "--out", str(out)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads(out.read_text())
    assert document["projection"]["is_projection"] is True
    assert set(document["projection"]["models"]) == {"gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"}
    assert document["speed"]["steps_ratio"] is None


def test_a_summary_gives_the_measured_side(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Steps ratio and wall-clock ratio of the arm are taken from hpt compare; a wrong file is refused."""
    measures = {"steps_ratio": {"value": 1.2}, "wall_ratio": {"value": 1.1}}
    path = tmp_path / "summary.json"
    document = {"schema_version": 1, "workloads": {"regression": {"arms": {"hybrid": {"measures": measures}}}}}
    path.write_text(json.dumps(document))
    arguments = ["--workload", "regression", "--cycles", "2", "--steps", "100", "--device", "cpu", "--threads", "1"]
    assert run(["profile", *arguments, "--summary", str(path)]) == 0
    assert "measured by compare: 1.100x" in capsys.readouterr().out
    assert run(["profile", *arguments, "--summary", str(path), "--arm", "frozen"]) == 2
