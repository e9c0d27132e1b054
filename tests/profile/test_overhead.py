"""The trainer's own time in a full step: no jumps, the same batches, reads of the device counted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hpt.cli.main import run
from hpt.profile.overhead import _overhead, measure_overhead
from hpt.profile.side_by_side import SideBySide, per_update
from hpt.profile.transfers import count_transfers, counted_reads
from hpt.workloads.mlp import TeacherMLP
from hpt.workloads.regression import Regression
from hpt.workloads.workload import Workload
from hpt_reports.kinds import kind_of

CPU = torch.device("cpu")
EVIDENCE = Path(__file__).parents[2] / "reports" / "evidence" / "overhead_byte_gpt.json"


def test_a_run_that_is_too_short_is_planned_longer_at_its_own_cycle_length() -> None:
    """Eight cycles do not fit into 60 updates, whatever K is; it stays that of 60 updates."""
    found = measure_overhead(TeacherMLP(seed=0, device=CPU), "nesterov", total_steps=60, blocks=8)
    assert found.blocks == 8
    assert found.block_steps == SideBySide(TeacherMLP(seed=0, device=CPU), {"total_steps": 60}).cycle_steps
    assert found.blocks * found.block_steps > 60


def test_components_sum_to_the_trainers_time() -> None:
    """Nothing of a block escapes the trainer's clocks but the loop around it, and what other programs take there."""
    both = SideBySide(TeacherMLP(seed=0, device=CPU), {"predictor": "nesterov", "total_steps": 300})
    both.warm_up()
    before = both.trainer.summary()["seconds"]["part"]
    times = both.blocks(5)
    components = per_update(before, both.trainer.summary()["seconds"]["part"], 5 * both.cycle_steps)
    whole_s = times[:, 1].sum() / (5 * both.cycle_steps)
    assert 0.8 * whole_s <= sum(components.values()) <= whole_s


def test_ratio_and_difference_by_hand() -> None:
    """Blocks in which the trainer takes a tenth of a millisecond more than 1, 2 and 4 ms."""
    plain = np.array([1.0, 2.0, 4.0]) * 1e-3
    one = _overhead(np.stack([plain, plain + 1e-4], axis=1), 10, {}, None)
    assert one.difference_s == pytest.approx((1e-4, 1e-4, 1e-4))
    assert one.ratio == pytest.approx((1.05, 1.025, 1.1))
    assert one.ratio_total == pytest.approx(7.3 / 7.0)
    assert one.to_document()["difference_frac"]["value"] == pytest.approx(0.05)


def test_both_arms_see_the_same_batches() -> None:
    """Without prediction the trainer is the plain loop: after some blocks both models are equal, bit for bit."""
    both = SideBySide(TeacherMLP(seed=0, device=CPU), {"predictor": "none", "total_steps": 300})
    both.blocks(3)
    for one, other in zip(both.plain.model.parameters(), both.model.parameters(), strict=True):
        assert torch.equal(one, other)


class TwoMoreReads(Regression):
    """Reads a number and copies it in every loss."""

    def loss(self, model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        loss = super().loss(model, batch)
        float(loss.detach())
        loss.detach().cpu()
        return loss


def reads(workload: Workload) -> tuple[int, int, int]:
    both = SideBySide(workload, {"predictor": "none", "total_steps": 300, "full_steps": 10})
    both.warm_up()
    found = count_transfers(both)
    return found.full_step, found.cycle, found.plain_step


def test_reads_are_counted_a_step_and_a_cycle() -> None:
    """A loss that reads twice, a number and a copy, costs two more reads a step, twenty a cycle of ten."""
    step, cycle, plain = reads(Regression(seed=0, device=CPU))
    assert plain == 1  # the loss; momentum reads nothing
    assert reads(TwoMoreReads(seed=0, device=CPU)) == (step + 2, cycle + 20, plain + 2)


def test_every_way_of_reading_is_seen_and_arithmetic_is_not() -> None:
    """`item`, `float`, a truth value and a copy are four; sums and products are none."""
    x = torch.ones(3)
    with counted_reads() as so_far:
        _ = (x * 2).sum() + 1
        assert so_far() == 0
        x[0].item()
        float(x.sum())
        bool(x.any())
        x.cpu()
        assert so_far() == 4


def test_the_command_stores_what_the_reports_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Into a folder, under its name, with every field of the file that the reports know, and the machine."""
    arguments = ["--workload", "mlp", "--predictor", "nesterov", "--steps", "300", "--blocks", "4", "--device", "cpu"]
    out = ["--threads", "1", "--transfers", "--out", str(tmp_path / "new"), "--json"]
    assert run(["profile", "--overhead", *arguments, *out]) == 0
    stored = tmp_path / "new" / "overhead.json"
    document = json.loads(stored.read_text())
    assert document == json.loads(capsys.readouterr().out)
    assert set(json.loads(EVIDENCE.read_text())) <= set(document)
    assert kind_of(document, stored).name == "overhead"
    assert document["machine"]["threads"] == document["threads"] == 1
    assert document["transfers"]["cycle"] >= document["transfers"]["full_step"]


def test_the_command_says_it_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Milliseconds and per cent, each with its interval."""
    arguments = ["--workload", "mlp", "--predictor", "nesterov", "--steps", "300", "--blocks", "2", "--device", "cpu"]
    assert run(["profile", "--overhead", *arguments]) == 0
    shown = capsys.readouterr().out
    assert "the trainer's own time in a full step: " in shown
    assert "%] of a step" in shown


@pytest.mark.parametrize("arguments", [["--overhead", "--steps-ratio", "1.2"], ["--transfers"]])
def test_flags_that_do_not_go_together_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit 2, nothing measured."""
    assert run(["profile", "--workload", "mlp", *arguments]) == 2
    assert "--overhead" in capsys.readouterr().err
