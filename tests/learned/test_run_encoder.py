"""The frozen encoder: the latents of its world model, whatever it is built with next time, and no learning."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hpt.errors import CheckpointError
from hpt.learned.forecast_model import Vector
from hpt.learned.learner import DynamicsLearner
from hpt.learned.rssm import SIZES
from hpt.learned.run_encoder import RunEncoder
from hpt.learned.world_model import WorldModel


def _weights(dims: str = "default", seed: int = 1) -> dict[str, Tensor]:
    """Those of a model with biases, as after training."""
    generator = torch.Generator().manual_seed(seed)
    model = WorldModel(SIZES[dims], generator)
    return {name: one + 0.2 * torch.randn(one.shape, generator=generator) for name, one in model.state_dict().items()}


def _ticks(num: int, seed: int = 0) -> tuple[Vector, Vector]:
    draw = np.random.default_rng(seed)
    features, actions = draw.standard_normal((num, 64)), draw.standard_normal((num, 3))
    return features.astype(np.float32), actions.astype(np.float32)


@pytest.mark.parametrize("dims", list(SIZES))
def test_latents_are_those_of_the_world_model(dims: str) -> None:
    """After each of three blocks, deter and then stoch of `RSSM.observe` with probabilities, to 1e-5.

    40 ticks, longer than a block of the encoder, from zeros and uniform categoricals.
    """
    weights, sizes = _weights(dims), SIZES[dims]
    model, encoder = WorldModel(sizes, torch.Generator()), RunEncoder(weights, dims)
    model.load_state_dict(weights)
    features, actions = _ticks(40)
    start = torch.zeros(1, sizes.deter), torch.full((1, sizes.stoch), 1 / sizes.num_classes)
    with torch.no_grad():
        seen = model.rssm.observe(start, torch.from_numpy(features)[:, None], torch.from_numpy(actions)[:, None], None)
    expected = torch.cat((seen.deter, seen.stoch), dim=2)[:, 0].numpy()
    np.testing.assert_allclose(encoder.latent(), torch.cat(start, dim=1)[0].numpy(), atol=1e-6)
    for first, stop in ((0, 1), (1, 30), (30, 40)):
        encoder.tick(features[first:stop], actions[first:stop])
        np.testing.assert_allclose(encoder.latent(), expected[stop - 1], atol=1e-5)


def test_without_weights_it_is_the_untrained_model_of_seed_0() -> None:
    """The bits of a learner of that seed that has not learned yet."""
    encoder, learner = RunEncoder(None), DynamicsLearner(max_horizon=4, seed=0)
    features, actions = _ticks(20)
    encoder.tick(features, actions)
    learner.tick(features, actions, np.zeros(20), np.zeros(20))
    np.testing.assert_array_equal(encoder.latent(), learner.latent())


def test_it_continues_bit_for_bit_whatever_weights_it_is_built_with() -> None:
    """Saved after 7 ticks and restored into an encoder of other weights and past, the latents to come are the same."""
    first, second = RunEncoder(_weights()), RunEncoder(None)
    features, actions = _ticks(30)
    first.tick(features[:7], actions[:7])
    second.tick(features[20:], actions[20:])
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first.latent(), second.latent())
    for encoder in (first, second):
        encoder.tick(features[7:], actions[7:])
    np.testing.assert_array_equal(first.latent(), second.latent())


def test_a_state_is_a_copy() -> None:
    """Later ticks do not change what was saved: restored, the latent is that of the moment of saving."""
    encoder = RunEncoder(_weights())
    features, actions = _ticks(10)
    encoder.tick(features[:5], actions[:5])
    state, latent = encoder.state_dict(), encoder.latent()
    encoder.tick(features[5:], actions[5:])
    assert not np.array_equal(encoder.latent(), latent)
    encoder.load_state_dict(state)
    np.testing.assert_array_equal(encoder.latent(), latent)


def test_it_never_learns() -> None:
    """After 40 ticks its weights are, to the bit, those it was given, also if the caller has changed those since."""
    given = _weights()
    before = {name: one.clone() for name, one in given.items()}
    encoder = RunEncoder(given)
    for one in given.values():
        one.zero_()
    encoder.tick(*_ticks(40))
    kept = encoder.state_dict()["model"]
    assert kept.keys() == before.keys()
    assert all(torch.equal(kept[name], one) for name, one in before.items())


def test_global_randomness_is_neither_used_nor_moved() -> None:
    """Two encoders without weights agree whatever torch's global generator does, and leave it where it was."""
    latents: list[Vector] = []
    for _ in range(2):
        torch.rand(3)
        before = torch.get_rng_state()
        encoder = RunEncoder(None)
        encoder.tick(*_ticks(5))
        latents.append(encoder.latent())
        assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(latents[0], latents[1])


def test_weights_and_states_of_other_sizes_are_refused() -> None:
    """Torch names the weight that does not fit, and a state says with which shape it was saved."""
    with pytest.raises(RuntimeError, match="size mismatch for rssm"):
        RunEncoder(_weights("reference"))
    with pytest.raises(CheckpointError, match="acting was saved with shape"):
        RunEncoder(None).load_state_dict(RunEncoder(None, "reference").state_dict())
