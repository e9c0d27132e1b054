"""Which cells a comparison consists of: arms, lengths and seeds, on one optimizer and on several."""

import pytest

from hpt.compare.arms import BASELINE
from hpt.compare.cells import Recipe
from hpt.compare.peers import BY_TRIALS, ONLY, Best, best_by_losses, best_by_trials, optimizers_of
from hpt.compare.plan import ComparisonPlan
from hpt.compare.roster import ARMS, SEVERAL
from hpt.compare.suite import Task
from hpt.errors import UsageError
from hpt.optimizers.catalogue import OWN

BESTS = {"mlp": Best(OWN, ONLY)}


def test_cells_are_paired_by_seed() -> None:
    """Same seeds for baseline and methods at T, disjoint ones for calibrations, tuned settings for their arm alone."""
    arms = tuple(ARMS[name] for name in (BASELINE, "hybrid", "lr-x1.25", "planted"))
    plan = ComparisonPlan(tasks=(Task("mlp", 100),), arms=arms, seeds=(0, 1), length_fracs=(0.7, 1.0, 1.3))
    settings = {("mlp", BASELINE): Recipe(lr_factor=2.0), ("mlp", "hybrid"): Recipe(lr_factor=0.5)}
    cells = plan.cells(settings, BESTS)
    found = {(cell.arm, cell.steps, cell.seed): cell.recipe.lr_factor for cell in cells}
    lengths = {(BASELINE, steps, seed): 2.0 for steps in (70, 100, 130) for seed in (0, 1)}
    methods = {("hybrid", 100, seed): 0.5 for seed in (0, 1)}
    controls = {("lr-x1.25", 100, seed): 2.5 for seed in (0, 1)}
    planted = {("planted", 130, seed): 2.0 for seed in (10_000, 10_001)}
    assert found == lengths | methods | controls | planted
    assert len({cell.key for cell in cells}) == len(cells)


def test_times_are_wanted_of_the_baseline_of_methods_and_of_the_arm_that_never_jumps() -> None:
    """The last one's wall-clock ratio is the trainer's own time; other controls are not timed."""
    arms = tuple(ARMS[name] for name in (BASELINE, "hybrid", "never", "frozen"))
    plan = ComparisonPlan(tasks=(Task("mlp", 100),), arms=arms, seeds=(0, 1), length_fracs=(0.7, 1.0))
    settings = {("mlp", BASELINE): Recipe(), ("mlp", "hybrid"): Recipe(lr_factor=0.5)}
    cells = plan.clocked_cells(settings, BESTS, 1)
    assert [(cell.arm, cell.steps, cell.seed) for cell in cells] == [
        (BASELINE, 100, 0),
        ("hybrid", 100, 0),
        ("never", 100, 0),
    ]
    assert [cell.recipe.lr_factor for cell in cells] == [1.0, 0.5, 0.5]


SEVERAL_PLAN = ComparisonPlan(
    tasks=(Task("mlp", 100),),
    arms=tuple(ARMS[name] for name in (BASELINE, *SEVERAL)),
    seeds=(0, 1),
    length_fracs=(0.7, 1.0),
    optimizers=("adamw", "muon", "schedulefree"),
)


def test_every_optimizer_runs_by_itself_and_under_the_hybrid_and_the_best_under_all_arms() -> None:
    """What is on the reference has its plain name; on Schedule-Free no jumps make sense."""
    alone = [BASELINE, "muon", "schedulefree"]
    assert [arm.name for arm in SEVERAL_PLAN.arms_on(None)] == [*alone, "hybrid", "hybrid-muon"]
    on_muon = [arm.name for arm in SEVERAL_PLAN.arms_on(Best("muon", BY_TRIALS))]
    assert on_muon == [*alone, "hybrid", "hybrid-muon", "never-muon", "fewer-steps-muon", "lr-boost-muon"]


def test_arms_train_with_their_optimizer_at_the_settings_that_were_tuned_for_it() -> None:
    """The hybrid on Muon has settings of its own, its shadow `never` has these, the control those of Muon by itself."""
    factors = {BASELINE: 1.0, "muon": 2.0, "schedulefree": 3.0, "hybrid": 4.0, "hybrid-muon": 5.0}
    recipes = {("mlp", name): Recipe(lr_factor=factor) for name, factor in factors.items()}
    cells = SEVERAL_PLAN.cells(recipes, {"mlp": Best("muon", BY_TRIALS)})
    found = {cell.arm: (cell.recipe.optimizer, cell.recipe.lr_factor) for cell in cells}
    assert found == {
        BASELINE: ("adamw", 1.0),
        "muon": ("muon", 2.0),
        "schedulefree": ("schedulefree", 3.0),
        "hybrid": ("adamw", 4.0),
        "hybrid-muon": ("muon", 5.0),
        "never-muon": ("muon", 5.0),
        "fewer-steps-muon": ("muon", 2.0),
        "lr-boost-muon": ("muon", 2.0),
    }


def test_the_reference_runs_longer_where_others_may_be_faster_and_they_run_around_t() -> None:
    """Twice and 2.5 times T besides its own lengths; a peer at four lengths."""
    task = Task("mlp", 100)
    assert SEVERAL_PLAN.lengths(task, "adamw") == [70, 100, 200, 250]
    assert SEVERAL_PLAN.lengths(task, "muon") == [85, 100, 115, 130]


def test_the_best_optimizer_is_that_of_the_lowest_trial() -> None:
    """A diverged trial counts as the worst; without trials of one of them there is no choice yet."""
    trials = {"adamw": [{"loss": 1.2}, {"loss": 1.1}], "muon": [{"loss": None}, {"loss": 1.0}]}
    assert best_by_trials(trials) == Best("muon", BY_TRIALS)
    assert best_by_trials(trials | {"soap": []}) is None


def test_without_trials_the_best_has_the_lowest_mean_over_seeds() -> None:
    """Once every optimizer has one."""
    found = best_by_losses({"adamw": [1.0, 1.2], "muon": [0.9, 1.4]})
    assert found is not None
    assert found.optimizer == "adamw"
    assert best_by_losses({"adamw": [1.0], "muon": []}) is None


def test_adamw_is_the_reference_wherever_it_stands() -> None:
    """A claim over AdamW is what people look for; without it the first one named is the reference."""
    assert optimizers_of("muon, adamw,lion") == ("adamw", "muon", "lion")
    assert optimizers_of("muon,lion") == ("muon", "lion")
    assert optimizers_of(None) == (OWN,)


@pytest.mark.parametrize("text", ["", "adamw,adamw", "adamw,mion"])
def test_nonsense_lists_of_optimizers_are_refused(text: str) -> None:
    """None, twice, unknown."""
    with pytest.raises(UsageError, match="--optimizers"):
        optimizers_of(text)
