"""Names of predictors and how each is made; only the chosen one's module is imported."""

from importlib import import_module

from hpt.config import HybridConfig
from hpt.optimizers.traits import UNKNOWN, RunTraits
from hpt.predictors.protocol import BasePredictor, Predictor

# Learned online from this run, over a base preset.
LEARNED = ("rssm", "mlp", "linear", "ridge")

# Fixed formulas: module and class, made from the config.
FIXED = {
    "nesterov": ("nesterov", "Nesterov"),
    "ema_nesterov": ("ema_nesterov", "EmaNesterov"),
    "lookahead": ("lookahead", "Lookahead"),
    "frozen": ("controls", "Frozen"),
    "random": ("controls", "Random"),
}

PREDICTORS = (*LEARNED, "prior", "none", *FIXED)


def build_predictor(config: HybridConfig, traits: RunTraits = UNKNOWN, jump_cost: float = 0.0) -> Predictor:
    """Make the predictor that `config.predictor` names.

    Args:
        config: settings.
        traits: of the run that it is for.
        jump_cost: what making a jump costs there, in full steps.

    Raises:
        ConfigError: the predictor's window is empty.
    """
    name = config.predictor
    if name == "none":
        return BasePredictor()
    if name == "prior":
        return import_module("hpt.predictors.prior_policy").PriorPolicy(config, traits, jump_cost)
    if name in LEARNED:
        return import_module("hpt.predictors.selector").build(name, config, traits, jump_cost)
    module, kind = FIXED[name]
    return getattr(import_module(f"hpt.predictors.{module}"), kind)(config)
