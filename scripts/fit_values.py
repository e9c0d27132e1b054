"""Learned models of the policies' worth against the simpler rules, on stored runs; writes their weights and scores.

The models are in `MODELS`, the scores in `value_scores.py`. Each is scored on runs that it has not seen, one workload
or one optimizer left out at a time.

    python scripts/fit_values.py --runs runs/policies --result reports/evidence/value_models.json
"""

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fit_prior import entries, fork_reading, traits
from measure_policies import LONGER
from policy_rssm import latents, train_world_model
from policy_study import NAMES, FloatArray, Setting, load, per_loss, value_of
from value_scores import LEAST_VARIANCE, Scores, documents

from hpt.control.bandit import LinUCB
from hpt.jsonfiles import write_json
from hpt.learned.belief import Belief
from hpt.learned.prior import ANY, ForkReading, reading_of
from hpt.learned.value_models import PATH, Correction, fit_correction
from hpt.machine import describe_machine, utc_now

MIN_RUNS = 8  # to fit anything on
PENALTY = 100.0  # prior precision of a weight, in runs: sixty-four features of a hundred runs explain little for sure
MODELS = {
    "constant": "one normal distribution for all runs",
    "prior": "one for each kind of run: optimizer's family and model's structure",
    "ridge": "the prior, corrected by the features of the run",
    "rssm": "the prior, corrected by the latent of an RSSM that was trained on the other runs",
    "two-fork": "the prior, revised by the run's own first two forks of full, which are charged",
    "linucb": "LinUCB over the policies in the context of the kind",
}
SPLITS = ("workload", "optimizer")
"""By what runs are left out."""


@dataclass(frozen=True)
class Row:
    """A run at the moment of its first fork.

    Attributes:
        setting: it belongs to.
        seed: of the run.
        kind, family: of its traits.
        raw: (64,) features.
        latent: of the RSSM; empty before it is made.
        worth: (A,) of the policies.
        forks: of this run, in order.
    """

    setting: Setting
    seed: int
    kind: str
    family: str
    raw: FloatArray
    latent: FloatArray
    worth: FloatArray
    forks: list[dict[str, Any]]

    @property
    def ticks(self) -> Path:
        """File of the run's ticks."""
        return self.setting.folder / self.setting.stem(self.seed)


Model = Callable[[Row], tuple[Belief, float]]
"""Belief about a row, and what it cost as a share of the run."""


def main() -> None:
    """Fit, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of measure_policies.py")
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=PATH)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = load(arguments.runs, LONGER)
    rows = rows_of(settings)
    if len(rows) < len(NAMES):
        sys.exit(f"--runs holds {len(rows)} runs with forks beside full runs, too few; run measure_policies.py")
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        scores = {what: held_out(rows, what, pool) for what in SPLITS}
    world = train_world_model([row.ticks for row in rows])
    rows = [replace(row, latent=latents(world, row.ticks, row.forks[0]["tick"])) for row in rows]
    save(rows, world, arguments.weights)
    document = {
        "schema_version": 1,
        "kind": "value-models",
        "what": "models of the worth of policies",
        "policies": list(NAMES),
        "num_runs": len(rows),
        "num_workloads": len({row.setting.workload for row in rows}),
        "num_optimizers": len({row.setting.optimizer for row in rows}),
        "models": MODELS,
        "left_out": scores,
        "runs": [described(row) for row in rows],
        "written_at": utc_now(),
        "environment": describe_machine(device="cpu", threads=1),
    }
    write_json(arguments.result, document)
    for what, table in scores.items():
        for name, score in (table or {"models": {}})["models"].items():
            nll = "-" if score["nll"] is None else f"{score['nll']:+.3f} nats"
            print(f"without {what}: {name:9s} {nll}, gap recovered {score['gap_recovered']:.0%}", file=sys.stderr)


def rows_of(settings: Sequence[Setting]) -> list[Row]:
    """One for every run with forks whose full runs are known."""
    rows: list[Row] = []
    for setting in settings:
        found = traits(setting)
        for seed, worth in setting.worth.items():
            forks = [fork for fork in setting.forks if fork["seed"] == seed]
            if forks:
                raw = np.array(forks[0]["raw"])
                rows.append(Row(setting, seed, found.kind, found.family, raw, np.zeros(0), worth, forks))
    return rows


def described(row: Row) -> dict[str, Any]:
    """What was measured of a run, as it is stored."""
    names = ("workload", "optimizer", "steps", "lr_factor")
    told = {name: getattr(row.setting, name) for name in names} | {"seed": row.seed, "kind": row.kind}
    return told | {"worth": np.round(row.worth, 5).tolist()}


def held_out(rows: Sequence[Row], left_out: str, pool: Pool) -> dict[str, Any] | None:
    """Scores of every model, each workload or optimizer left out in turn; None where too few runs are left to fit."""
    groups = {getattr(row.setting, left_out) for row in rows}
    halves = [
        (
            [row for row in rows if getattr(row.setting, left_out) != group],
            [row for row in rows if getattr(row.setting, left_out) == group],
        )
        for group in sorted(groups)
    ]
    halves = [(kept, left) for kept, left in halves if len(kept) >= MIN_RUNS]
    scores: dict[str, Scores] = {name: Scores() for name in MODELS}
    for (_, left), beliefs in zip(halves, pool.starmap(believed, halves), strict=True):
        for row, by_model in zip(left, beliefs, strict=True):
            for name, (belief, cost) in by_model.items():
                scores[name].add(belief, cost, row.worth)
    return documents(scores, [row.worth for _, left in halves for row in left], NAMES) if halves else None


def believed(kept: Sequence[Row], left: Sequence[Row]) -> list[dict[str, tuple[Belief, float]]]:
    """Of every run that was left out what each model believes, and what it cost to know."""
    torch.set_num_threads(1)
    fitted = models(kept, left)
    return [{name: model(row) for name, model in fitted.items()} for row in left]


def models(kept: Sequence[Row], left: Sequence[Row]) -> dict[str, Model]:
    """Every model, fitted on the rows that were kept."""
    settings = {id(row.setting): row.setting for row in kept}
    table = entries(list(settings.values()))
    reading = reading_of(fork_reading(list(settings.values())))
    world = train_world_model([row.ticks for row in kept])
    encoded = {id(row): latents(world, row.ticks, row.forks[0]["tick"]) for row in (*kept, *left)}

    def prior(row: Row) -> Belief:
        return prior_of(table, row)

    residuals = np.array([row.worth - prior(row).mean for row in kept])
    everything = np.array([row.worth for row in kept])
    constant = Belief(everything.mean(axis=0), np.cov(everything.T) + LEAST_VARIANCE * np.eye(len(NAMES)))
    spread = np.mean([prior(row).covariance for row in kept], axis=0)
    ridge = fit_correction(np.array([row.raw for row in kept]), residuals, PENALTY, spread)
    latent = fit_correction(np.array([encoded[id(row)] for row in kept]), residuals, PENALTY, spread)
    bandit = taught(kept)
    return {
        "constant": lambda _: (constant, 0.0),
        "prior": lambda row: (prior(row), 0.0),
        "ridge": lambda row: (ridge.corrected(prior(row).mean, row.raw), 0.0),
        "rssm": lambda row: (latent.corrected(prior(row).mean, encoded[id(row)]), 0.0),
        "two-fork": lambda row: two_forks(prior(row), row, reading),
        "linucb": lambda row: (
            Belief(np.array(bandit.choose(context(row)).means), np.diag([0.0] * len(NAMES))),
            0.0,
        ),
    }


def prior_of(table: Mapping[str, Any], row: Row) -> Belief:
    """That of its kind, else of its family, else of all, as training looks it up."""
    entry = next(table[name] for name in (row.kind, row.family, ANY) if name in table)
    return Belief(np.array(entry["mean"]), np.array(entry["covariance"]))


def two_forks(belief: Belief, row: Row, reading: ForkReading) -> tuple[Belief, float]:
    """The belief after two forks of `full`, and the share of the run that they cost."""
    place, cost = NAMES.index("full"), 0.0
    for fork in [one for one in row.forks if one["num_jumps"] == reading.num_jumps and one["fall"]][:2]:
        value = value_of(fork, NAMES[place], reading.settle_steps)
        factor = per_loss(row.setting, fork)
        belief = belief.revised(place, *reading.worth(place, value.value, value.value_se, factor))
        cost += (reading.num_jumps * fork["cycle_steps"] + reading.settle_steps) / row.setting.steps
    return belief, cost


def context(row: Row) -> list[float]:
    """Of the bandit: 1, and the family and structure as indicators."""
    structure = row.kind.rpartition("-")[2]
    families, structures = ("adam", "muon", "soap", "sign", "sgd"), ("text", "normalised", "plain")
    return [1.0, *(float(row.family == one) for one in families), *(float(structure == one) for one in structures)]


def taught(rows: Sequence[Row]) -> LinUCB:
    """LinUCB that was told the worth of every policy in every stored run."""
    bandit = LinUCB(NAMES, 9)
    for row in rows:
        for place, value in enumerate(row.worth.tolist()):
            bandit.observe(context(row), place, value)
    return bandit


def save(rows: Sequence[Row], world: dict[str, torch.Tensor], path: Path) -> None:
    """Corrections fitted on all runs, and the RSSM."""
    from safetensors.torch import save_file  # noqa: PLC0415

    table = entries(list({id(row.setting): row.setting for row in rows}.values()))
    priors = [prior_of(table, row) for row in rows]
    residuals = np.array([row.worth - prior.mean for row, prior in zip(rows, priors, strict=True)])
    spread = np.mean([prior.covariance for prior in priors], axis=0)
    tensors = {f"world.{name}": one.contiguous() for name, one in world.items()}
    for name, inputs in (("ridge", [row.raw for row in rows]), ("rssm", [row.latent for row in rows])):
        correction = fit_correction(np.array(inputs), residuals, PENALTY, spread)
        tensors |= {f"{name}.{field}": one for field, one in _tensors(correction)}
    save_file(tensors, path)


def _tensors(correction: Correction) -> list[tuple[str, torch.Tensor]]:
    names = ("centre", "scale", "weights", "inverse", "left")
    return [(name, torch.as_tensor(getattr(correction, name)).float().contiguous()) for name in names]


if __name__ == "__main__":
    main()
