"""The acting path against the torch model and against the slow twin."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.rssm_loop import LoopRSSM

from hpt.learned.forecast_model import Vector
from hpt.learned.rollout import FastRollout
from hpt.learned.rssm import SIZES, Sizes
from hpt.learned.world_model import WorldModel


def _model(sizes: Sizes, seed: int) -> WorldModel:
    """Random biases and heads on top of the random weights."""
    generator = torch.Generator().manual_seed(seed)
    model = WorldModel(sizes, generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name or name.startswith("heads"):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def _inputs(num_features: int, num_ticks: int, seed: int) -> tuple[Vector, Vector]:
    draw = np.random.default_rng(seed)
    return (
        draw.standard_normal((num_ticks, num_features)).astype(np.float32),
        draw.standard_normal((num_ticks, 3)).astype(np.float32),
    )


_dims = st.builds(
    Sizes,
    features=st.integers(1, 9),
    deter=st.integers(1, 12),
    num_categoricals=st.integers(1, 4),
    num_classes=st.integers(2, 5),
    embed=st.integers(1, 6),
    trunk=st.integers(1, 8),
    ensemble=st.integers(1, 4),
)


@settings(max_examples=15, deadline=None)
@given(_dims | st.sampled_from(list(SIZES.values())), st.integers(1, 20), st.integers(0, 99))
def test_acting_equals_the_torch_model(sizes: Sizes, horizon: int, seed: int) -> None:
    """Filtering three ticks and imagining H gives the model's latent and all heads' outputs, to 1e-5."""
    model, fast = _model(sizes, seed), FastRollout(sizes, 20)
    fast.load(model)
    features, seen_actions = _inputs(sizes.features, 3, seed)
    _, actions = _inputs(1, horizon, seed + 1)
    fast.tick(features, seen_actions)
    with torch.no_grad():
        start = torch.zeros(1, sizes.deter), torch.full((1, sizes.stoch), 1 / sizes.num_classes)
        as_batch = [torch.from_numpy(one)[:, None] for one in (features, seen_actions, actions)]
        seen = model.rssm.observe(start, as_batch[0], as_batch[1], None)
        state = seen.deter[-1], seen.stoch[-1]
        wanted = model.heads(*model.rssm.imagine(state, as_batch[2]))
    np.testing.assert_allclose(fast.latent(), torch.cat(state, dim=1)[0].numpy(), atol=1e-5)
    got = fast.imagine(actions)
    np.testing.assert_allclose(got.shift, wanted.shift[:, 0].numpy(), atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(got.log_scale, wanted.log_scale[:, 0].numpy(), atol=1e-5, rtol=1e-5)


def test_the_latent_is_a_copy_in_single_precision() -> None:
    """(D + S,) float32 numbers that neither later ticks nor a roll-out change."""
    fast = FastRollout(SIZES["default"], 4)
    fast.load(_model(SIZES["default"], 2))
    features, actions = _inputs(64, 4, 3)
    fast.tick(features[:2], actions[:2])
    latent = fast.latent()
    before = latent.copy()
    assert (latent.shape, latent.dtype) == ((48 + 32,), np.float32)
    fast.imagine(actions)
    fast.tick(features[2:], actions[2:])
    np.testing.assert_array_equal(latent, before)
    assert not np.array_equal(fast.latent(), before)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.sets(st.integers(1, 39)), st.sampled_from(list(SIZES.values())))
def test_blocks_of_ticks_give_the_bits_of_single_ticks(num_ticks: int, cuts: set[int], sizes: Sizes) -> None:
    """Every latent, however ticks are split into blocks, also where a block is longer than the longest roll-out."""
    model = _model(sizes, 1)
    whole, single = FastRollout(sizes, 8), FastRollout(sizes, 8)
    whole.load(model)
    single.load(model)
    features, actions = _inputs(64, num_ticks, 2)
    places = sorted(cut for cut in cuts if cut < num_ticks)
    blocks = [
        whole.tick(some, led) for some, led in zip(np.split(features, places), np.split(actions, places), strict=True)
    ]
    for tick in range(num_ticks):
        single.tick(features[tick : tick + 1], actions[tick : tick + 1])
        parts = [np.concatenate(part)[tick] for part in zip(*blocks, strict=True)]
        np.testing.assert_array_equal(np.concatenate(parts), single.latent())


def test_acting_equals_the_slow_twin() -> None:
    """The same from plain loops in float64, at the default sizes."""
    sizes = SIZES["default"]
    model, fast = _model(sizes, 5), FastRollout(sizes, 8)
    fast.load(model)
    features, actions = _inputs(64, 8, 6)
    fast.tick(features[:1], actions[:1])
    twin = LoopRSSM({name: value.numpy() for name, value in model.state_dict().items()}, sizes.num_classes)
    h, s = twin.observe(np.zeros(48), np.full(32, 1 / 8), features[0].astype(float), actions[0].astype(float))
    np.testing.assert_allclose(fast.latent(), np.concatenate((h, s)), atol=1e-5)
    shifts = fast.imagine(actions).shift
    for t in range(8):
        h, s = twin.imagine(h, s, actions[t].astype(float))
        np.testing.assert_allclose(shifts[t], twin.heads(h, s)[:3], atol=1e-5)


def test_anchored_part_is_the_linear_layers() -> None:
    """Anchors times the heads' weights."""
    sizes = SIZES["default"]
    model, fast = _model(sizes, 1), FastRollout(sizes, 8)
    fast.load(model)
    given_anchors = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    expected = model.heads.anchors(torch.from_numpy(given_anchors)).detach().numpy()
    np.testing.assert_allclose(fast.anchored(given_anchors), expected, atol=1e-6)


def test_imagination_leaves_the_acting_state_alone() -> None:
    """Imagining changes neither the latent nor what a later roll-out says."""
    fast = FastRollout(SIZES["default"], 10)
    fast.load(_model(SIZES["default"], 2))
    features, actions = _inputs(64, 10, 3)
    fast.tick(features[:1], actions[:1])
    before = fast.latent()
    first = fast.imagine(actions).shift.copy()
    fast.imagine(-actions[:4])
    np.testing.assert_array_equal(fast.latent(), before)
    np.testing.assert_array_equal(fast.imagine(actions).shift, first)


def test_a_longer_imagination_begins_like_a_shorter_one() -> None:
    """The first h ticks do not depend on what comes after them."""
    fast = FastRollout(SIZES["default"], 30)
    fast.load(_model(SIZES["default"], 2))
    _, actions = _inputs(1, 30, 3)
    short = fast.imagine(actions[:7]).shift.copy()
    np.testing.assert_allclose(fast.imagine(actions).shift[:7], short, atol=1e-6)


def test_extreme_logits_stay_probabilities() -> None:
    """Logit weights ten thousand times too large give a finite latent whose categoricals sum to one."""
    sizes = SIZES["default"]
    model, fast = _model(sizes, 3), FastRollout(sizes, 5)
    with torch.no_grad():
        model.rssm.prior.weight.mul_(1e4)
        model.rssm.posterior.weight.mul_(1e4)
    fast.load(model)
    features, actions = _inputs(64, 5, 4)
    fast.tick(features[:1], actions[:1])
    sums = fast.latent()[48:].reshape(4, 8).sum(axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    assert np.isfinite(fast.imagine(actions).shift).all()


def test_weights_are_copied() -> None:
    """Changing the model changes what is imagined only after the next load."""
    sizes = SIZES["default"]
    model, fast = _model(sizes, 3), FastRollout(sizes, 5)
    fast.load(model)
    _, actions = _inputs(1, 5, 4)
    before = fast.imagine(actions).shift.copy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    np.testing.assert_array_equal(fast.imagine(actions).shift, before)
    fast.load(model)
    assert np.abs(fast.imagine(actions).shift - before).max() > 0.01


def test_state_continues_exactly() -> None:
    """A restored acting state gives the same next tick, bit for bit."""
    sizes = SIZES["default"]
    model = _model(sizes, 3)
    first, second = FastRollout(sizes, 5), FastRollout(sizes, 5)
    features, actions = _inputs(64, 2, 4)
    first.load(model)
    first.tick(features[:1], actions[:1])
    second.load(model)
    second.load_state_dict(first.state_dict())
    for fast in (first, second):
        fast.tick(features[1:], actions[1:])
    np.testing.assert_array_equal(first.latent(), second.latent())
