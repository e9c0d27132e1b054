"""Names of predictors and how each is made; only the chosen one's module is imported."""

from importlib import import_module

from hpt.config import HybridConfig
from hpt.predictors.protocol import Predictor

# Learned online from this run; each module has build(config, num_groups).
LEARNED = ("rssm", "mlp", "linear", "ridge")

# Fixed formulas: name of the module, which is the predictor's, and its class, made from the config.
FIXED = {
    "nesterov": "Nesterov",
    "ema_nesterov": "EmaNesterov",
    "lookahead": "Lookahead",
    "linefit": "LineFit",
    "rre": "ReducedRank",
    "dmd": "DynamicModes",
    "coast": "Coast",
    "hindsight": "Hindsight",
    "none": "NoJump",
    "frozen": "Frozen",
    "random": "Random",
}

PREDICTORS = (*LEARNED, *FIXED)


def build_predictor(config: HybridConfig, *, num_parameters: int, num_groups: int) -> Predictor:
    """Make the predictor that `config.predictor` names.

    Args:
        config: settings.
        num_parameters: numbers trained, all parameters together.
        num_groups: parameter groups of the optimizer.

    Raises:
        ConfigError: the predictor's window is empty.
    """
    name = config.predictor
    module = import_module(f"hpt.predictors.{name}")
    if name in LEARNED:
        return module.build(config, num_groups)
    if name == "random":
        return module.Random(config, num_parameters)
    return getattr(module, FIXED[name])(config)
