"""Names of predictors: complete, buildable, and importing only what was chosen."""

import inspect
import sys
from importlib import import_module

import pytest

from hpt import config
from hpt.config import HybridConfig
from hpt.predictors import registry
from hpt.predictors.protocol import Predictor
from hpt.predictors.registry import build_predictor

PROTOCOL_METHODS = [name for name, _ in inspect.getmembers(Predictor, inspect.isfunction) if name[0] != "_"]


def test_the_registry_and_the_settings_agree() -> None:
    """Every name the config accepts is known here, and no other."""
    assert sorted(registry.PREDICTORS) == sorted(config.PREDICTORS)


@pytest.mark.parametrize("name", config.PREDICTORS)
def test_every_name_builds_a_complete_predictor(name: str) -> None:
    """It bears the name asked for and has every method of the protocol with the protocol's arguments."""
    built = build_predictor(HybridConfig(predictor=name), num_parameters=10, num_groups=2)

    assert built.name == name
    assert {"observe", "propose", "own_direction", "state_dict"} <= set(PROTOCOL_METHODS)
    for method in PROTOCOL_METHODS:
        wanted = list(inspect.signature(getattr(Predictor, method)).parameters)[1:]
        assert list(inspect.signature(getattr(built, method)).parameters) == wanted
    assert all(0.0 <= mu < 1.0 for mu in built.scales)
    assert built.num_past >= 0


def test_only_the_chosen_module_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building `lookahead` loads neither the learned models nor another formula."""
    for name in list(sys.modules):
        if name.removeprefix("hpt.predictors.") in (*registry.PREDICTORS, "registry"):
            monkeypatch.delitem(sys.modules, name)

    afresh = import_module("hpt.predictors.registry")
    afresh.build_predictor(HybridConfig(predictor="lookahead"), num_parameters=10, num_groups=1)

    loaded = {name for name in registry.PREDICTORS if f"hpt.predictors.{name}" in sys.modules}
    assert loaded == {"lookahead"}
