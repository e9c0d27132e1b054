"""Names of predictors: complete, buildable, and importing only what was chosen."""

import inspect
import subprocess
import sys

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


@pytest.mark.parametrize("name", registry.PREDICTORS)
def test_every_name_builds_a_complete_predictor(name: str) -> None:
    """It bears the name asked for and has every method of the protocol with the protocol's arguments."""
    built = build_predictor(HybridConfig(predictor=name))

    assert built.name == name
    assert {"observe", "propose", "state_dict"} <= set(PROTOCOL_METHODS)
    for method in PROTOCOL_METHODS:
        wanted = list(inspect.signature(getattr(Predictor, method)).parameters)[1:]
        assert list(inspect.signature(getattr(built, method)).parameters) == wanted
    assert 0.0 < built.scale < 1.0
    assert 0.0 <= built.window[0] < built.window[1] <= 1.0
    assert (built.far is not None) == (name in registry.LEARNED)


def test_only_the_chosen_module_is_imported() -> None:
    """Building a fixed formula loads neither torch nor another formula; ridge loads what chooses beside it."""
    script = """
import sys
from hpt.config import HybridConfig
from hpt.predictors.registry import build_predictor
build_predictor(HybridConfig(predictor=sys.argv[1]))
print(*(name.removeprefix("hpt.predictors.") for name in sorted(sys.modules) if name.startswith("hpt.predictors.")))
print("torch" in sys.modules)
"""
    found = [
        subprocess.run([sys.executable, "-c", script, name], check=True, capture_output=True, text=True).stdout.split()
        for name in ("ema_nesterov", "ridge")
    ]
    assert found[0] == ["ema_nesterov", "nesterov", "protocol", "registry", "False"]
    learned = ["chooser", "loss_forecasts", "nesterov", "protocol", "registry", "selector"]
    assert found[1][:-1] == learned
