"""The numbers of a summary as rows of text: one table of measures a workload, one over all, one of settings.

Rows come from `summary.json` alone, so that a report made later says the same. Markdown and CSV are written here; the
terminal's tables are the command's business.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from hpt.compare.arms import SIMPLER, WITHOUT
from hpt.compare.ratios import ratio_words
from hpt.statistics import ROUNDING

HEAD = (
    *("arm", "role", "steps ratio", "work ratio", "wall ratio", "loss change", "at equal gradients"),
    *("backwards saved", "peak memory", "worst seed", "never hurts", "verdict"),
)
NOT_MEASURED = "not measured"
YES_NO = {True: "yes", False: "no", None: "-"}


@dataclass(frozen=True, slots=True)
class TextTable:
    """A titled table of strings."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables_of(summary: Mapping[str, Any]) -> list[TextTable]:
    """All tables, the overall one last."""
    found = [_workload_table(name, values) for name, values in summary["workloads"].items()]
    found += [_ablation_table(summary)]
    headline = [_headline_table(summary)] if _has_peers(summary) else []
    return [*found, _learning_table(summary), _settings_table(summary), *headline, _overall_table(summary)]


def _headline_table(summary: Mapping[str, Any]) -> TextTable:
    """The hybrid on each workload's best optimizer: over that optimizer by itself, and over the reference."""
    rows = [(name, *_headline_cells(values, values["best"])) for name, values in summary["workloads"].items()]
    rows.append(("all", *_headline_cells(summary, None)))
    head = ("workload", "best by itself", "chosen by", "a step's work")
    sides = [f"over {name}, {kind}" for name in ("it", "the reference") for kind in ("steps", "work", "verdict")]
    return TextTable("hybrid on the best optimizer", (*head, *sides), tuple(rows))


def _headline_cells(values: Mapping[str, Any], best: Mapping[str, Any] | None) -> list[str]:
    found, about = values["headline"], ["-", "-", "-"]
    if best is not None:
        alone = values["optimizers"][best["optimizer"]]
        about = [best["optimizer"], best["chosen_by"], "-" if alone is None else f"{alone['work_per_update']:.3f}"]
    if found is None:
        return [*about, *[NOT_MEASURED] * 6]
    sides = [found[side] for side in ("over_own", "over_reference")]
    cells = [
        [ratio_cell(side["steps_ratio"]), ratio_cell(side["work_ratio"]), side["judgement"]["verdict"]]
        for side in sides
    ]
    return [*about, *cells[0], *cells[1]]


def _workload_table(name: str, values: Mapping[str, Any]) -> TextTable:
    rows = [_baseline_row(values)]
    rows += [_arm_row(arm, found) for arm, found in values["arms"].items()]
    problem = "" if values["baseline"] is not None else f", baseline {NOT_MEASURED}: {values['problem']}"
    return TextTable(f"{name}, T = {values['steps']}{problem}", HEAD, tuple(rows))


def _baseline_row(values: Mapping[str, Any]) -> tuple[str, ...]:
    baseline = values["baseline"]
    if baseline is None:
        return ("baseline", "baseline", NOT_MEASURED, *[""] * (len(HEAD) - 3))
    loss = next(row["mean_loss"] for row in baseline["lengths"] if row["steps"] == values["steps"])
    spread = baseline["seed_sd"]
    text = f"loss {loss:.4f}" + ("" if spread is None else f" (sd {spread:.4f})")
    return ("baseline", "baseline", "1", "1", "1", text, *[""] * (len(HEAD) - 6))


def _arm_row(name: str, arm: Mapping[str, Any]) -> tuple[str, ...]:
    found = arm["measures"]
    if found is None:
        return (name, arm["role"], NOT_MEASURED, *[""] * (len(HEAD) - 3))
    saved, saved_frac = found["backwards_saved"], found["backwards_saved_frac"]
    worst = found["worst_seed"]
    return (
        name,
        arm["role"],
        ratio_cell(found["steps_ratio"]),
        ratio_cell(found["work_ratio"]),
        ratio_cell(found["wall_ratio"]),
        change_cell(found["loss_change"]),
        change_cell(found["loss_change_equal_gradients"]),
        NOT_MEASURED if saved is None else f"{saved:.0f} ({saved_frac:.1%})",
        memory_cell(found),
        f"{worst['work_ratio']:.3f}x (seed {worst['seed']})",
        YES_NO[found["never_hurts"]],
        _verdict(arm),
    )


def _verdict(arm: Mapping[str, Any]) -> str:
    known = arm["known_ratio"]
    if known is None:
        return arm["judgement"]["verdict"]
    found = {True: "found", False: "missed", None: "no interval"}[arm["finds_known_ratio"]]
    return f"true ratio {known:g}: {found}"


def ratio_cell(ratio: Mapping[str, Any] | None) -> str:
    """A ratio with its interval, or that there is none."""
    if ratio is None:
        return NOT_MEASURED
    return ratio_words(ratio["value"], ratio["low"], ratio["high"], ratio["bound"])


def change_cell(change: Mapping[str, Any] | None) -> str:
    """A difference of losses with its interval."""
    if change is None or isinstance(change["value"], str):
        return NOT_MEASURED if change is None else "diverged"
    if change["low"] is None:
        return f"{change['value']:+.4f}"
    return f"{change['value']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}]"


def memory_cell(found: Mapping[str, Any]) -> str:
    """Peak memory over the baseline's: the device's where there is one, else the host's."""
    for kind in ("device", "host"):
        if found[f"peak_{kind}_ratio"] is not None:
            return f"{found[f'peak_{kind}_ratio']:.2f}x {kind}"
    return NOT_MEASURED


def _learning_table(summary: Mapping[str, Any]) -> TextTable:
    """Methods over the simpler arms, the best forecaster, and what forks measured a jump to be worth."""
    rows: list[tuple[str, ...]] = []
    for workload, values in summary["workloads"].items():
        for name, arm in values["arms"].items():
            over, forecasts, jumps = (arm.get(key) for key in ("over", "forecasts", "jump_values"))
            if over or forecasts or jumps:
                ratios = ["-" if over is None or other == name else ratio_cell(over.get(other)) for other in SIMPLER]
                value = NOT_MEASURED if not jumps else _jump_value(jumps)
                rows.append((workload, name, *ratios, _best_forecast(forecasts or {}), value))
    head = ("workload", "arm", *(f"over {other}" for other in SIMPLER), "best forecast", "value of a jump")
    return TextTable("what learning adds", head, tuple(rows))


def _jump_value(jumps: Mapping[str, Any]) -> str:
    mean, number = jumps["value_mean"], len(jumps["forks"])
    value = "every branch broke down" if mean is None else f"{mean:+.5f}"
    return f"{value} ({number} {'fork' if number == 1 else 'forks'})"


def _best_forecast(forecasts: Mapping[str, Any]) -> str:
    known = {name: score["nll_mean"] for name, score in forecasts.items() if score["nll_mean"] is not None}
    # models that never learned tie with the constant, and then it is the constant that forecast
    best = min(known, key=lambda name: (known[name], name != "constant")) if known else None
    return NOT_MEASURED if best is None else f"{best}, {known[best]:.3f} nats"


def _ablation_table(summary: Mapping[str, Any]) -> TextTable:
    """The default over itself without each of its parts: what of it is worth its place."""
    rows: list[tuple[str, ...]] = []
    for where, arms in (
        *((name, one["arms"]) for name, one in summary["workloads"].items()),
        ("all", summary["overall"]),
    ):
        for name, arm in arms.items():
            parts = {one: ratio for one, ratio in (arm.get("over") or {}).items() if one.startswith(WITHOUT)}
            rows += [(where, name, one.removeprefix(WITHOUT), ratio_cell(r), _worth(r)) for one, r in parts.items()]
    return TextTable(
        "what is worth its place", ("workload", "arm", "part", "with it over without", "worth"), tuple(rows)
    )


def _worth(ratio: Mapping[str, Any]) -> str:
    """Verdict on a part, from the ratio of the default with it over the default without it."""
    if ratio["low"] is not None and ratio["low"] > 1.0 + ROUNDING:
        return "worth its place"
    is_harmful = ratio["high"] is not None and ratio["high"] < 1.0 - ROUNDING
    return "in the way" if is_harmful else "not shown"


def _tuned_arms(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Workload, arm and settings of the baseline and every arm with settings of its own."""
    for workload, values in summary["workloads"].items():
        arms = {"baseline": (values["baseline"] or {}).get("tuned")}
        arms |= {name: arm["tuned"] for name, arm in values["arms"].items()}
        yield from ((workload, name, tuned) for name, tuned in arms.items() if tuned is not None)


def _settings_table(summary: Mapping[str, Any]) -> TextTable:
    rows = [_settings_row(workload, arm, tuned) for workload, arm, tuned in _tuned_arms(summary)]
    head = ("workload", "arm", "learning rate", "shape", "memory", "source", "bracket closed", "trials")
    return TextTable("settings", head, tuple(rows))


def _settings_row(workload: str, arm: str, tuned: Mapping[str, Any]) -> tuple[str, ...]:
    recipe, closed = tuned["recipe"], tuned["bracket_closed"]
    memory = "workload's" if recipe["memory"] is None else f"{recipe['memory']:g}"
    rate = f"x {recipe['lr_factor']:.3g}"
    return (workload, arm, rate, recipe["shape"], memory, tuned["source"], YES_NO[closed], str(len(tuned["trials"])))


def trials_table(summary: Mapping[str, Any]) -> TextTable:
    """Every tuning trial: long, and for files only."""
    rows: list[tuple[str, ...]] = []
    for workload, arm, tuned in _tuned_arms(summary):
        for trial in tuned["trials"]:
            memory = "workload's" if trial["memory"] is None else f"{trial['memory']:g}"
            losses = (_trial_loss(trial, "loss"), _trial_loss(trial, "second_loss"))
            rows.append((workload, arm, f"x {trial['lr_factor']:.3g}", trial["shape"], memory, *losses))
    head = ("workload", "arm", "learning rate", "shape", "memory", "loss", "loss in the playoff")
    return TextTable("tuning trials", head, tuple(rows))


def _trial_loss(trial: Mapping[str, Any], name: str) -> str:
    if name not in trial:
        return ""
    return "diverged" if trial[name] is None else f"{trial[name]:.4f}"


def _overall_table(summary: Mapping[str, Any]) -> TextTable:
    rows = [
        (
            name,
            ratio_cell(values["steps_ratio"]),
            ratio_cell(values["work_ratio"]),
            values["judgement"]["best_control"] or "-",
            ratio_cell(values["judgement"]["over_control"]),
            values["judgement"]["verdict"],
        )
        for name, values in summary["overall"].items()
    ]
    head = ("arm", "steps ratio", "work ratio", "best control", "over it", "verdict")
    return TextTable("all workloads, geometric mean", head, tuple(rows))


def to_markdown(tables: Sequence[TextTable], sentences: Sequence[str]) -> str:
    """One document: every table under its title, then the sentences."""
    parts = [
        f"## {table.title}\n\n{tabulate(table.rows, table.head, tablefmt='github', disable_numparse=True)}\n"
        for table in tables
    ]
    lines = "\n".join(f"- {sentence}" for sentence in sentences)
    return "\n".join([*parts, f"## in words\n\n{lines}\n"])


def to_csv(summary: Mapping[str, Any]) -> str:
    """A line per workload, arm and seed, for spreadsheets."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["workload", "arm", "role", "seed", "final_loss", "steps_ratio", "work_ratio", "verdict"])
    for workload, values in summary["workloads"].items():
        for name, arm in values["arms"].items():
            found = arm["measures"]
            for place, seed in enumerate(found["seeds"] if found else []):
                ratios = [found[kind]["by_seed"][place] for kind in ("steps_ratio", "work_ratio")]
                loss, verdict = found["final_losses"][place], arm["judgement"]["verdict"]
                writer.writerow([workload, name, arm["role"], seed, loss, *ratios, verdict])
    return text.getvalue()


def sentences_of(summary: Mapping[str, Any]) -> list[str]:
    """What may be quoted: methods and calibrations on each workload, then over all."""
    found = [
        arm["sentence"]
        for values in summary["workloads"].values()
        for arm in values["arms"].values()
        if arm["role"] != "control"
    ]
    found += [values["sentence"] for values in summary["overall"].values() if values["role"] != "control"]
    found += [one["sentence"] for one in (summary.get("resolution") or {}).get("answers", ())]
    headlines = [*(values.get("headline") for values in summary["workloads"].values()), summary.get("headline")]
    return found + [one["sentence"] for one in headlines if one is not None and _has_peers(summary)]


def _has_peers(summary: Mapping[str, Any]) -> bool:
    return len(summary["settings"].get("optimizers", ())) > 1
