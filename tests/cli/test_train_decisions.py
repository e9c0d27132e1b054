"""`hpt train` says what it plays and why: while it runs, at its end, in run.json and in every log."""

import json
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from references.forking_prior import SETTINGS, forking_prior
from references.records import jump_at
from rich.console import Console

from hpt.cli.main import run
from hpt.cli.train_decisions import last_decision, told
from hpt.cli.train_display import Tally, show_progress, show_summary
from hpt.jsonfiles import read_lines
from hpt.records import DecisionRecord, ForkRecord
from hpt.run.folder import RunFolder
from hpt_reports.decided import decided_by
from hpt_reports.evidence import gather

WHY = "half-kept: muon-text, prior of 12 runs; half-kept is worth +0.050 +- 0.060 in log work ratio"
DECISION = DecisionRecord(240, 0.4, "half-kept", {"half-kept": 0.05}, {"half-kept": 0.06}, WHY)
FORK = ForkRecord(240, 90, 3, "full", -0.0028, 0.0005, goes_on=False)


def test_a_decision_and_a_fork_are_a_line_each() -> None:
    """What was decided at which update and why; what the fork measured, and whether the run goes on from it."""
    assert told(DECISION) == f"update 240: {WHY}"
    assert told(FORK) == "fork at update 240: full -0.0028 +- 0.0005 a jump, does not go on"
    broken = ForkRecord(60, 90, 3, "half", float("-inf"), float("nan"), goes_on=False)
    assert told(broken) == "fork at update 60: half broke down, does not go on"
    assert told(jump_at(3, 4)) is None


@pytest.mark.parametrize("predictor", [None, {}, {"values": None}, {"values": {"count": 0}}])
def test_where_nothing_was_decided_there_is_no_line(predictor: dict[str, Any] | None) -> None:
    """No predictor, one that does not choose, and a run of an earlier version."""
    assert last_decision(predictor) is None


def shown_live(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **terminal: str) -> str:
    for name, value in terminal.items():
        monkeypatch.setenv(name, value)
    with show_progress(Tally(600)) as sink:
        sink(FORK)
        sink(DECISION)
    return capsys.readouterr().err


def test_a_terminal_of_80_columns_wraps_the_line_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line is longer, no word is cut."""
    err = shown_live(monkeypatch, capsys, FORCE_COLOR="1", COLUMNS="80", TERM="xterm")
    lines = [re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", line).strip("\r") for line in err.splitlines()]
    start = next(place for place, line in enumerate(lines) if line.startswith("update 240"))
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines[start : start + 2]).split()) == f"update 240: {WHY}"


def test_away_from_a_terminal_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a log can be searched."""
    lines = shown_live(monkeypatch, capsys, COLUMNS="80").splitlines()
    assert lines == [told(FORK), told(DECISION)]


@dataclass(frozen=True)
class Made:
    """A real run.

    Attributes:
        folder: of the run.
        out: its standard output.
        err: its standard error.
    """

    folder: RunFolder
    out: str
    err: str

    @property
    def values(self) -> dict[str, Any]:
        """What run.json says of the values."""
        return json.loads(self.folder.run_file.read_text())["predictor"]["values"]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Lines of events.jsonl."""
        return [line for line in read_lines(self.folder.events_file) if line["kind"] == kind]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """400 updates of mlp, in which a fork pays."""
    place = tmp_path_factory.mktemp("decided")
    (place / "settings.toml").write_text(SETTINGS)
    words = ["train", "--workload", "mlp", "--steps", "400", "--threads", "1", "--log", "csv", "--device", "cpu"]
    out, err = StringIO(), StringIO()
    with forking_prior(place), redirect_stdout(out), redirect_stderr(err):
        assert run([*words, "--config", str(place / "settings.toml"), "--out", str(place / "out")]) == 0
    return Made(RunFolder(place / "out"), out.getvalue(), err.getvalue())


def test_every_decision_and_fork_of_a_run_is_told_while_it_goes(made: Made) -> None:
    """In the order of the log, with the log's numbers."""
    decisions, forks = made.events("decision"), made.events("fork")
    assert decisions
    assert forks
    told_of = [line for line in made.err.splitlines() if line.startswith(("update ", "fork at "))]
    expected = [
        f"update {one['step']}: {one['why']}"
        if one["kind"] == "decision"
        else f"fork at update {one['step']}: {one['policy']} {one['value']:+.4f} +- {one['value_se']:.4f} a jump, "
        f"{'goes on' if one['goes_on'] else 'does not go on'}"
        for one in read_lines(made.folder.events_file)
        if one["kind"] in ("decision", "fork")
    ]
    assert told_of == expected


def test_the_log_and_run_json_agree(made: Made) -> None:
    """Decisions field by field, and the measurements of forks."""
    logged = [{name: one[name] for name in one if name not in ("kind", "in_call")} for one in made.events("decision")]
    assert logged == made.values["decisions"]
    measured = [(one["step"], one["policy"], one["value"], one["value_se"]) for one in made.values["measurements"]]
    assert measured == [(one["step"], one["policy"], one["value"], one["value_se"]) for one in made.events("fork")]


def test_the_csv_tables_hold_the_same(made: Made) -> None:
    """A row a fork and a decision; means and standard deviations by policy."""
    forks = pd.read_csv(made.folder.path / "forks.csv")
    decisions = pd.read_csv(made.folder.path / "decisions.csv")
    assert forks.to_dict("records") == [
        {name: one[name] for name in one if name not in ("kind", "in_call")} for one in made.events("fork")
    ]
    for row, one in zip(decisions.to_dict("records"), made.values["decisions"], strict=True):
        assert [row[name] for name in ("step", "progress", "policy", "why")] == [
            one[name] for name in ("step", "progress", "policy", "why")
        ]
        for side in ("means", "sds"):
            assert {name: row[f"{side}_{name}"] for name in one[side]} == pytest.approx(one[side])


def test_the_summary_ends_with_the_last_decision(made: Made) -> None:
    """In the table of the outcome; on 80 columns it is wrapped between words, and nothing is lost."""
    last = made.values["decisions"][-1]
    line = f"update {last['step']}: {last['why']}"
    assert line in " ".join(made.out.split())
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        show_summary(made.folder.read(), "runs/a", console)
    assert max(map(len, capture.get().splitlines())) <= 80
    assert line in " ".join(capture.get().split())


def test_the_json_of_the_command_has_them_too(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    """What `--json` prints of the finished run is run.json, decisions included."""
    assert run(["train", "--resume", str(made.folder.path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["predictor"]["values"]
    assert printed == made.values
    assert set(printed) >= {"model", "prior", "measurements", "decisions"}


def test_a_report_of_the_run_draws_its_beliefs_and_names_their_basis(made: Made, tmp_path: Path) -> None:
    """The entry of the prior is the one that run.json names; the data are its decisions and forks."""
    words = ["report", "evaluation", "--runs", str(made.folder.path), "--out", str(tmp_path / "out")]
    assert run(words) == 0
    (file,) = (tmp_path / "out" / "figures").glob("decided_*.csv")
    data = pd.read_csv(file)
    beliefs = data[data["what"] == "belief"]
    assert list(beliefs["mean"]) == pytest.approx(
        [mean for one in made.values["decisions"] for mean in one["means"].values()], rel=1e-5
    )
    assert list(data[data["what"] == "fork"]["update"]) == [one["step"] for one in made.events("fork")]
    assert list(data[data["what"] == "fork"]["goes_on"]) == [one["goes_on"] for one in made.events("fork")]
    decided = decided_by(gather(made.folder.path).sources[0])
    assert decided is not None
    prior = made.values["prior"]
    basis = f"{prior['kind']}, prior of {prior['num_runs']} runs of {prior['entry']}"
    assert {one.basis for one in decided.stories[0].decisions} == {basis}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [({"step": "early"}, "predictor.values.decisions[0].step"), ({"why": None}, "predictor.values.decisions[0].why")],
)
def test_a_damaged_decision_is_refused_by_name(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: dict[str, Any], reason: str
) -> None:
    """One line with file and field, and no traceback."""
    record = json.loads(made.folder.run_file.read_text())
    record["predictor"]["values"]["decisions"][0] |= damage
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert run(["train", "--resume", str(tmp_path)]) == 2
    assert reason in capsys.readouterr().err
