"""The RSSM predictor: the base preset watched over by a recurrent state-space model of the run.

The model is `hpt.learned.learner`; what it may decide, and when, is `hpt.predictors.chooser`.
"""

from hpt.config import HybridConfig
from hpt.learned.forecast import ForecastModel
from hpt.learned.learner import DynamicsLearner
from hpt.predictors.chooser import FALLBACK, LearnedChooser
from hpt.predictors.ridge import RidgeForecast


def build(config: HybridConfig, num_groups: int) -> LearnedChooser:
    """The base preset watched over by this model."""

    def models(num_arms: int, max_horizon: int) -> dict[str, ForecastModel]:
        learner = DynamicsLearner(config.learner, num_arms=num_arms, max_horizon=max_horizon, seed=config.seed)
        return {"rssm": learner, FALLBACK: RidgeForecast(num_arms, max_horizon)}

    return LearnedChooser("rssm", config, num_groups, models)
