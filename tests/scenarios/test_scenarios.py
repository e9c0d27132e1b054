"""The sixteen scenarios set up, pass their own checks, and their checks see through calls that do not do the work."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hpt.bench.discovery import Located, find_scenarios
from hpt.bench.scenario import Measured, Preset, SelfCheckFailed
from hpt.history import RunHistory
from hpt.jump.delta import WeightDelta
from hpt.jump.trajectory import Trajectory
from hpt.learned.features import FeatureEncoder
from hpt.learned.learner import DynamicsLearner
from hpt.learned.rollout import FastRollout, Judged
from hpt.predictors.selector import PolicySelector

ALL = {one.full_name: one for one in find_scenarios().scenarios}
WITHOUT_TORCH = ("state_encoding", "state_history")


def set_up(name: str, preset: Preset = Preset.DEFAULT) -> Measured:
    return ALL[name].scenario.set_up(preset)


@pytest.mark.parametrize("preset", list(Preset))
@pytest.mark.parametrize("one", ALL.values(), ids=ALL)
def test_it_sets_up_and_does_its_work(one: Located, preset: Preset) -> None:
    """Set-up, self-check, and the measured call, in both presets."""
    measured = one.scenario.set_up(preset)
    measured.check()
    if measured.call is not None:
        measured.call()
    else:
        assert measured.time_loops is not None
        assert measured.time_loops(2) > 0


def test_what_needs_no_torch_imports_none() -> None:
    """Set-up and check of these groups, in a process of their own; the others do need it."""
    script = """
import sys
from hpt.bench.discovery import find_scenarios
from hpt.bench.scenario import Preset
for one in find_scenarios().scenarios:
    if one.scenario.group in sys.argv[1:]:
        one.scenario.set_up(Preset.DEFAULT).check()
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script, *WITHOUT_TORCH], check=False)
    assert done.returncode == 0


def test_units_of_work_are_stated() -> None:
    """A horizon is that many predicted steps; a block is the twelve cycles of 50 observations that share an update."""
    horizons = {name: one.scenario.num_units for name, one in ALL.items() if name.startswith("rssm_prediction")}
    assert horizons == {f"rssm_prediction/horizon_{n}": n for n in (1, 5, 10, 15, 25, 50, 75)}
    training = ALL["rssm_training/observe_gradient"].scenario
    assert (training.num_units, training.inner_loops) == (1, 600)
    assert set_up("rssm_training/observe_gradient").per_unit == {"update": 1 / 600}


def test_multiply_adds_are_those_of_the_layers() -> None:
    """Counted from the weights of the model that is rolled forward."""
    from hpt.learned.rssm import SIZES
    from hpt.learned.world_model import WorldModel

    for preset in Preset:
        model = WorldModel(SIZES[preset], torch.Generator())
        layers = (model.rssm.cell.weight_ih, model.rssm.cell.weight_hh, model.rssm.prior.weight)
        used = sum(weight.numel() for weight in (*layers, model.heads.trunk.weight, model.heads.heads.weight))
        assert set_up("rssm_prediction/horizon_1", preset).per_unit == {"multiply-add": used}


Patch = Callable[[pytest.MonkeyPatch], None]


def _frozen_state(patch: pytest.MonkeyPatch) -> None:
    real = FastRollout.tick

    def tick(self: FastRollout, features: Any, actions: Any) -> Any:
        state = self.state_dict()
        latents = real(self, features, actions)
        self.load_state_dict(state)
        return latents

    patch.setattr(FastRollout, "tick", tick)


def _one_tick_for_all(patch: pytest.MonkeyPatch) -> None:
    real = FastRollout.imagine

    def imagine(self: FastRollout, actions: Any) -> Judged:
        first = real(self, actions[:1])
        return Judged(*(np.repeat(part, len(actions), axis=0) for part in (first.shift, first.log_scale)))

    patch.setattr(FastRollout, "imagine", imagine)


def _direct_head(patch: pytest.MonkeyPatch) -> None:
    """All ticks at once, each from the whole plan."""
    real = FastRollout.imagine
    patch.setattr(FastRollout, "imagine", lambda self, actions: real(self, actions + actions.mean()))


def _uneven_heads(patch: pytest.MonkeyPatch) -> None:
    real = FastRollout.imagine

    def imagine(self: FastRollout, actions: Any) -> Judged:
        judged = real(self, actions)
        judged.log_scale[:] = judged.log_scale[-1]
        return judged

    patch.setattr(FastRollout, "imagine", imagine)


def _dead_feature(patch: pytest.MonkeyPatch) -> None:
    real = FeatureEncoder.observe_steps
    mask = np.arange(64) != 17
    patch.setattr(FeatureEncoder, "observe_steps", lambda self, steps: real(self, steps) * mask)


def _stale_features(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FeatureEncoder, "observe_steps", lambda _, steps: np.ones((len(steps), 64)))


def _no_apply(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Trajectory, "apply", lambda *_: None)


def _moving_apply(patch: pytest.MonkeyPatch) -> None:
    real = Trajectory.apply

    def apply(self: Trajectory, delta: WeightDelta) -> None:
        real(self, delta)
        for parameter in self.parameters:
            parameter.data = parameter.data.clone()

    patch.setattr(Trajectory, "apply", apply)


def _no_clone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Trajectory, "begin_cycle", lambda _: None)


def _no_scale(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("hpt.numerics.tensors.scale_", lambda *_: None)


def _no_learning(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DynamicsLearner, "learn", lambda *_: None)


def _no_observing(patch: pytest.MonkeyPatch) -> None:
    """Every other step only."""
    real = DynamicsLearner.tick
    patch.setattr(DynamicsLearner, "tick", lambda self, *rows: real(self, *(one[::2] for one in rows)))


def _always_cached(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PolicySelector, "confidence", lambda _: 0.5)


def _never_cached(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        PolicySelector, "confidence", lambda self: float(str(self.chooser.confidence(self.forecasts.raw_features)))
    )


def _no_record(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RunHistory, "add", lambda *_: None)
    patch.setattr(RunHistory, "fill", lambda *_: None)


FAKES: list[tuple[str, Patch]] = [
    ("rssm_prediction/horizon_10", _frozen_state),
    ("rssm_prediction/horizon_10", _one_tick_for_all),
    ("rssm_prediction/horizon_10", _direct_head),
    ("rssm_prediction/horizon_10", _uneven_heads),
    ("rssm_prediction/horizon_1", _frozen_state),
    ("state_encoding/compute_features", _dead_feature),
    ("state_encoding/compute_features", _stale_features),
    ("weight_delta/apply", _no_apply),
    ("weight_delta/apply", _moving_apply),
    ("weight_delta/clone", _no_clone),
    ("weight_delta/scale", _no_scale),
    ("rssm_training/observe_gradient", _no_learning),
    ("rssm_training/observe_gradient", _no_observing),
    ("confidence/uncached", _always_cached),
    ("confidence/cached", _never_cached),
    ("state_history/record_step", _no_record),
    ("state_history/record_step_full_history", _no_record),
]


@pytest.mark.parametrize(("name", "fake"), FAKES, ids=[f"{name}{fake.__name__}" for name, fake in FAKES])
def test_a_call_that_does_not_do_its_work_is_refused(name: str, fake: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-check raises, so that nothing of it is timed."""
    if fake not in {_frozen_state, _stale_features}:
        fake(monkeypatch)
        measured = set_up(name)
    else:
        measured = set_up(name)
        fake(monkeypatch)
    with pytest.raises(SelfCheckFailed):
        measured.check()
