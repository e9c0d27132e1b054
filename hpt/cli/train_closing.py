"""The last lines of `hpt train`: the loss, whether jumps were made, and how to find out whether they paid."""

import math
import shlex
from pathlib import Path

from hpt.cli.closing import MORE, Closing
from hpt.cli.train_decisions import last_decision
from hpt.config import HybridConfig
from hpt.optimizers.catalogue import OWN, why_no_jumps
from hpt.run.launch import hpt_words, resume_line
from hpt.run.record import DONE, RunRecord

DEFAULT_PREDICTOR = HybridConfig().predictor
USUAL = (None, "cpu", "fp32")


def closing_of(record: RunRecord, folder: Path) -> Closing:
    """The last lines of a run, however it ended."""
    loss, steps = record.final_loss, record.num_updates or 0
    on = record.settings.get("optimizer") or OWN
    what = (
        f"{record.workload['name']}{'' if on == OWN else f' with {on}'}, {steps} of {record.settings['steps']} updates"
    )
    chance = float(record.workload["chance_loss"])
    if record.status != DONE or loss is None:
        again = resume_line(record.environment, folder)
        if loss is None or math.isfinite(loss):
            return Closing(f"{what}: {record.status}, validation loss not measured", _unfinished(record), again)
        plain = _train_again(record, predictor="none")
        return Closing(f"{what}: the validation loss is {loss}", "The run diverged; its weights are of no use.", plain)
    result = f"{what}: validation loss {loss:.4f} (guessing: {chance:.4f})"
    if loss >= chance:
        longer = f"{resume_line(record.environment, folder)} --steps {MORE * int(record.settings['steps'])}"
        return Closing(result, "The model predicts no better than a guess; train longer or retune.", longer)
    return Closing(result, _worth_of_jumps(record), _after_training(record, on))


def _unfinished(record: RunRecord) -> str:
    return "The run goes on from its last checkpoint." if record.message is None else f"{record.message}."


def _worth_of_jumps(record: RunRecord) -> str:
    if record.config["predictor"] == "none":
        return "This is ordinary training without jumps: a baseline."
    counters = record.counters or {}
    kept = int(counters.get("jumps_accepted", 0)) - int(counters.get("jumps_rolled_back", 0))
    if kept:
        covered = counters.get("steps_covered_by_jumps", 0)
        were = "jump was kept" if kept == 1 else "jumps were kept"
        return f"{kept} {were}, nominally in place of {covered} steps; one run cannot tell whether that helped."
    why = last_decision(record.predictor)
    return "No jump was kept" + (f" ({why})." if why else ".") + " The result is that of ordinary training."


def _after_training(record: RunRecord, optimizer: str) -> str:
    """The measurement that says whether jumps pay here; after ordinary training the same run with jumps."""
    if record.config["predictor"] == "none" and not why_no_jumps(optimizer):
        return _train_again(record, predictor=DEFAULT_PREDICTOR)
    words = ["hpt", "compare", "--workloads", f"{_workload(record)}={record.settings['steps']}"]
    words += ["--optimizers", f"adamw,{optimizer}"] if why_no_jumps(optimizer) else ["--arms", "hybrid,never"]
    if optimizer != OWN and not why_no_jumps(optimizer):
        words += ["--optimizers", optimizer]
    return shlex.join([*words, "--seeds", "3", *_circumstances(record)])


def _train_again(record: RunRecord, *, predictor: str) -> str:
    """The same run with another predictor, in the folder that follows from its settings."""
    words = [*hpt_words(record.environment), "train", "--workload", _workload(record)]
    words += ["--predictor", predictor, "--steps", str(record.settings["steps"]), "--seed", str(record.seed)]
    on = record.settings.get("optimizer") or OWN
    words += [] if on == OWN else ["--optimizer", on]
    words += ["--config", record.settings["config"]] if record.settings.get("config") else []
    return shlex.join([*words, *_circumstances(record)])


def _workload(record: RunRecord) -> str:
    """As the command line names it, which for one of the user's own is not the name that it has."""
    return str(record.settings.get("workload") or record.workload["name"])


def _circumstances(record: RunRecord) -> list[str]:
    """Data, device and dtype where they are not the usual ones."""
    chosen = {name: record.settings.get(name) for name in ("data", "device", "dtype")}
    unusual = {name: value for name, value in chosen.items() if value not in USUAL}
    return [word for name, value in unusual.items() for word in (f"--{name}", str(value))]
