"""`hpt train`: one run of one workload, kept in a folder, interruptible at any step.

This file reads the flags and decides between a new run and the continuation of an old one; `hpt.run.session` does
the work and is imported only then, because it brings torch.
"""

import json
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from hpt.cli.closing import show_closing
from hpt.cli.console import result_console
from hpt.cli.main import debug_option
from hpt.cli.options import COUNT, QUIET, SEED, THREADS
from hpt.cli.train_closing import closing_of
from hpt.cli.train_display import Tally, show_progress, show_summary
from hpt.cli.train_processes import CommandOfProcesses, one_run
from hpt.config import PREDICTORS, HybridConfig
from hpt.documents import DocumentError
from hpt.errors import EXIT_DONE, EXIT_INTERRUPTED, ConfigError, UsageError
from hpt.optimizers.catalogue import CATALOGUE, OWN
from hpt.records import Sink, discard
from hpt.run.alone import Alone
from hpt.run.folder import RunFolder
from hpt.run.launch import hpt_words, resume_line
from hpt.run.record import DONE, INTERRUPTED, RunRecord
from hpt.run.settings import DEFAULT_WORKLOAD, DTYPES, EXPORTS, TrainSettings, default_folder, merge_config

if TYPE_CHECKING:
    from hpt.run.session import TrainSession

FROM_OUT = "<OUT>"  # what --resume stands for when it is given without a folder
EPILOG = """\b
Examples:
  hpt train --workload byte-gpt --steps 600 --seed 0 --out runs/first
  hpt train --workload regression --predictor none --steps 200 --json
  hpt train --workload byte-gpt-1m --optimizer soap
  hpt train --optimizer schedulefree --predictor none
  hpt train --config my.toml --dtype bf16 --log csv
  hpt train --workload my_package.my_module:factory --data corpus/
  hpt train --resume runs/first
  hpt train --resume runs/first --steps 1200      # a finished run, extended
  torchrun --nproc-per-node 2 -m hpt train --workload byte-gpt --steps 600 --out runs/two
"""


@click.command(cls=CommandOfProcesses, epilog=EPILOG)
@click.option(
    "--workload", metavar="NAME", help=f"What to train, or package.module:factory. [default: {DEFAULT_WORKLOAD}]"
)
@click.option(
    "--predictor",
    metavar="NAME",
    help=f"Method that proposes jumps, none for ordinary training: {', '.join(PREDICTORS)}. [default: rssm]",
)
@click.option(
    "--optimizer",
    metavar="NAME",
    help=f"Optimizer: {', '.join(CATALOGUE)}, or package.module:factory. [default: the workload's own]",
)
@click.option("--steps", type=COUNT, metavar="N", help="Number of optimizer updates. [default: the workload's own]")
@click.option("--seed", type=SEED, metavar="N", help="Seed of weights, batches and trainer. [default: 0]")
@click.option("--config", metavar="FILE", help="TOML file of trainer settings; flags take precedence.")
@click.option("--data", metavar="PATH", help="Text file, or folder of such, that the text workloads train on.")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1. [default: cuda where there is one, else cpu]")
@click.option("--dtype", type=click.Choice(tuple(DTYPES)), help="Autocast of the forward pass. [default: fp32]")
@click.option("--threads", type=THREADS, metavar="N", help="Number of torch threads. [default: torch's choice]")
@click.option(
    "--out",
    metavar="FOLDER",
    help="Folder of the run. [default: runs/<workload>-<predictor>[-<optimizer>]-s<seed>]",
)
@click.option(
    "--resume",
    metavar="[OUT]",
    is_flag=False,
    flag_value=FROM_OUT,
    help="Continue the run in that folder, or from that checkpoint file, with its stored settings. With larger --steps "
    "a finished run is extended.",
)
@click.option("--json", "as_json", is_flag=True, help="Print run.json, and nothing else, on stdout.")
@QUIET
@click.option(
    "--log", metavar="LIST", help=f"Export the steps in further formats, comma-separated: {', '.join(EXPORTS)}."
)
@debug_option
def train(*, out: str | None, resume: str | None, as_json: bool, quiet: bool, **flags: Any) -> int:
    """Train a workload with jumps, or with --predictor none without them.

    The run's folder holds run.json (settings and results), steps.jsonl (one line per step), events.jsonl and
    checkpoints/. Ctrl-C and SIGTERM stop after the current step, save a checkpoint and print the command that
    continues. After a crash or a kill, --resume continues from the last checkpoint.

    Under torchrun several processes make one run: of N processes number R takes batch N * call + R, so a step sees N
    times the data. The first keeps the folder and shows the run.
    """
    screen = _Screen(results=sys.stdout, as_json=as_json, is_quiet=quiet)
    with redirect_stdout(sys.stderr), one_run() as group:  # a workload may print; stdout is for the result
        settings = TrainSettings.of_flags(flags)
        run = _Run(group, screen)
        record, folder = run.begun(settings, out) if resume is None else run.resumed(settings, out, resume)
    if record.status != INTERRUPTED:
        return EXIT_DONE
    if group.is_first:
        click.echo(f"interrupted; to continue: {resume_line(group.launch.facts, folder.path)}", err=True)
    return EXIT_INTERRUPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Screen:
    """What is shown of a run.

    Attributes:
        results: the stream that its result goes to.
        as_json: the result is run.json.
        is_quiet: it is the last three lines, and there is no progress.
    """

    results: TextIO
    as_json: bool
    is_quiet: bool

    def tell(self, record: RunRecord, folder: RunFolder) -> None:
        """Print the result of a run on stdout: run.json, or tables and the last lines."""
        with redirect_stdout(self.results):
            if self.as_json:
                click.echo(json.dumps(record.to_document(), allow_nan=False, default=str))
                return
            console = result_console()
            if not self.is_quiet:
                show_summary(record, str(folder.path), console)
            show_closing(closing_of(record, folder.path), console)


@dataclass(frozen=True, slots=True)
class _Run:
    """A run, made by the processes of a group, of which the first shows it.

    Attributes:
        group: the processes.
        screen: what is shown.
    """

    group: Alone
    screen: _Screen

    def begun(self, settings: TrainSettings, out: str | None) -> tuple[RunRecord, RunFolder]:
        """Begin a run; refuses a folder that holds one."""
        values = merge_config(settings)
        folder = RunFolder(_folder_of(settings, values, out))
        self.group.once(folder.refuse_taken)
        command = [*hpt_words(self.group.launch.facts), *sys.argv[1:]]
        return self._trained(folder, settings=settings, values=values, command=command), folder

    def resumed(self, settings: TrainSettings, out: str | None, resume: str) -> tuple[RunRecord, RunFolder]:
        """The continuation of a run, its extension, or what it came to if it is done already."""
        folder, checkpoint = _resume_target(settings, out, resume)
        before = self.group.once(folder.read)
        is_done = before.status == DONE
        stored = TrainSettings.of_stored(before.settings).resumed_with(settings, folder.path, is_done=is_done)
        if is_done and stored.steps == before.settings["steps"]:
            self._tell_finished(before, folder)
            return before, folder
        values = before.config | {"total_steps": stored.steps}
        try:
            HybridConfig.from_dict(values)
        except ConfigError as error:
            raise DocumentError(folder.run_file, f"config: {error}") from error
        known = {"settings": stored, "values": values, "command": before.command, "before": before}
        return self._trained(folder, checkpoint=checkpoint, **known), folder

    def _tell_finished(self, record: RunRecord, folder: RunFolder) -> None:
        if self.group.is_first:
            text = f"the run in {folder.path} is finished; nothing to resume; a larger --steps extends it"
            click.echo(text, err=True)
            self.screen.tell(record, folder)

    def _trained(self, folder: RunFolder, **request: Any) -> RunRecord:
        """Train, with progress on stderr; the result is printed before the last checkpoint is written."""
        from hpt.run.request import TrainRequest  # noqa: PLC0415 - imports torch, which takes seconds
        from hpt.run.session import TrainSession  # noqa: PLC0415

        session = TrainSession(TrainRequest(folder=folder, **request), self.group)
        if not self.group.is_first:
            return session.run(lambda _: nullcontext(discard))
        if session.remark is not None:
            click.echo(f"hpt: {session.remark}", err=True)
        return session.run(self._progress, lambda record: self.screen.tell(record, folder))

    def _progress(self, session: "TrainSession") -> AbstractContextManager[Sink]:
        def covered() -> int:
            return session.trainer.summary()["counters"]["steps_covered_by_jumps"]

        return show_progress(Tally(session.steps, session.trainer.num_updates, covered), is_quiet=self.screen.is_quiet)


def _resume_target(settings: TrainSettings, out: str | None, resume: str) -> tuple[RunFolder, Path | None]:
    """Folder of the run to resume, and the checkpoint file if one was named."""
    if resume == FROM_OUT:
        values = merge_config(settings)
        return RunFolder(_folder_of(settings, values, out)), None
    path = Path(resume)
    folder, checkpoint = (path.parent.parent, path) if path.is_file() else (path, None)
    if out is not None and Path(out).resolve() != folder.resolve():
        raise UsageError(f"--out is {out}, but --resume continues {folder} in place; leave --out out")
    return RunFolder(folder), checkpoint


def _folder_of(settings: TrainSettings, values: dict[str, Any], out: str | None) -> Path:
    if out is not None:
        return Path(out)
    workload = settings.workload or DEFAULT_WORKLOAD
    predictor, seed = values.get("predictor", "rssm"), int(values.get("seed", 0))
    return default_folder(workload, predictor, seed, settings.optimizer or OWN)
