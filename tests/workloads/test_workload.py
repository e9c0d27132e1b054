"""Properties of every workload: pure batches and models, a fixed validation set, nothing left behind."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpt.workloads.registry import load_workload
from hpt.workloads.workload import Workload, batch_generator, kept_rng, marginal_entropy, seeded_init

CPU = torch.device("cpu")
NAMES = ["byte-gpt", "gpt2-nano", "mlp", "cnn", "regression"]
SAMPLED = [name for name in NAMES if name != "regression"]


def load(name: str, seed: int = 0) -> Workload:
    return load_workload(name, seed=seed, device=CPU)


def tensors(batch: Any) -> list[Tensor]:
    return [batch] if isinstance(batch, Tensor) else list(batch)


def same(one: Any, other: Any) -> bool:
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def global_states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())  # noqa: NPY002 (watched)


@pytest.mark.parametrize("name", NAMES)
def test_batches_are_a_function_of_seed_and_index(name: str) -> None:
    """Any order of calls, in any instance, gives bitwise the same batch for the same index."""
    forward, backward = load(name), load(name)
    there = [forward.batch(index) for index in (0, 1, 7, 10**9)]
    back = [backward.batch(index) for index in (10**9, 7, 1, 0)]
    assert all(same(one, other) for one, other in zip(there, reversed(back), strict=True))


@pytest.mark.parametrize("name", SAMPLED)
def test_other_index_or_seed_is_another_batch(name: str) -> None:
    """Neighbouring indices and neighbouring seeds give different samples."""
    workload = load(name, seed=3)
    assert not same(workload.batch(4), workload.batch(5))
    assert not same(workload.batch(4), load(name, seed=4).batch(4))


@pytest.mark.parametrize("name", NAMES)
def test_models_are_a_function_of_the_seed(name: str) -> None:
    """One seed makes bitwise the same weights twice, another seed others."""
    weights = [nn.utils.parameters_to_vector(load(name, seed).build_model().parameters()) for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", NAMES)
def test_global_generators_are_never_touched(name: str) -> None:
    """Loading, building, drawing and validating leave torch's, numpy's and Python's states as they were."""
    before = global_states()
    workload = load(name, seed=5)
    model = workload.build_model()
    workload.batch(3)
    workload.validation_loss(model)
    assert global_states() == before


@pytest.mark.parametrize("name", NAMES)
def test_validation_set_is_the_same_for_every_seed(name: str) -> None:
    """Two seeds see bitwise the same held-out batches, all of one size, and none is a training batch."""
    one, other = load(name, 0).validation_batches(), load(name, 1).validation_batches()
    assert len(one) == len(other) > 0
    assert all(same(a, b) for a, b in zip(one, other, strict=True))
    assert len({tuple(tuple(part.shape) for part in tensors(batch)) for batch in one}) == 1
    seen = load(name).batch(0)
    assert not any(same(batch, seen) for batch in one)


@pytest.mark.parametrize("name", NAMES)
def test_description_is_plain_and_complete(name: str) -> None:
    """Everything in it is JSON, and the counts are those of the model and the batch."""
    workload = load(name)
    facts = workload.description
    model = workload.build_model()
    assert facts["parameters"] == sum(one.numel() for one in model.parameters())
    assert facts["batch_size"] == len(tensors(workload.batch(0))[0])
    assert facts["chance_loss"] == workload.chance_loss
    assert facts["data"]["source"]
    assert is_plain(facts)


def is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return type(value) in (bool, int, float, str)


class Counting(nn.Module):
    """Dropout, and a count of the modes it was called in."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(32, 1)
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.modes.append((self.training, torch.is_grad_enabled()))
        torch.rand(3)
        return self.linear(self.dropout(inputs))


def test_validation_runs_in_eval_mode_without_gradients_and_restores_flags() -> None:
    """A module that was in eval mode stays there, the others train again, and drawing inside is undone."""
    model = Counting()
    model.linear.eval()
    before = torch.get_rng_state()
    first, second = (load("regression").validation_loss(model) for _ in range(2))
    assert first == second
    assert set(model.modes) == {(False, False)}
    assert (model.training, model.dropout.training, model.linear.training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_restores_flags_when_the_model_fails() -> None:
    """A failing forward pass leaves the model in training mode."""
    model = nn.Linear(5, 1)
    with pytest.raises(RuntimeError):
        load("regression").validation_loss(model)
    assert model.training


def test_batch_norm_statistics_survive_validation() -> None:
    """Validation leaves the running statistics of the CNN bitwise alone; a training pass does not."""
    workload = load("cnn")
    model = workload.build_model()
    before = [buffer.clone() for buffer in model.buffers()]
    workload.validation_loss(model)
    assert all(torch.equal(one, other) for one, other in zip(before, model.buffers(), strict=True))
    workload.loss(model, workload.batch(0))
    assert not all(torch.equal(one, other) for one, other in zip(before, model.buffers(), strict=True))


def test_validation_loss_is_the_mean_over_all_held_out_samples() -> None:
    """The mean of batch means equals one pass over the whole set."""
    workload = load("mlp")
    model = workload.build_model()
    inputs, labels = (torch.cat(part) for part in zip(*workload.validation_batches(), strict=True))
    with torch.no_grad():
        whole = nn.functional.cross_entropy(model(inputs), labels)
    assert workload.validation_loss(model) == pytest.approx(float(whole), rel=1e-6)


@pytest.mark.parametrize("scope", [lambda: seeded_init(3), lambda: kept_rng(CPU)])
def test_generators_come_back_even_after_an_error(scope: Callable[[], Any]) -> None:
    """Whatever is drawn inside, and however it ends, torch's state is what it was."""

    def draw_and_fail() -> None:
        torch.rand(100)
        raise ZeroDivisionError

    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), scope():
        draw_and_fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_streams_of_neighbouring_keys_do_not_repeat_each_other() -> None:
    """Seed, stream and index each change the stream, and long draws never run into the next index's."""
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**62, 0, 0)]
    draws = [batch_generator(seed, index, stream).integers(0, 2**63, 2000) for seed, stream, index in keys]
    assert len(np.unique(np.concatenate(draws))) == 2000 * len(keys)


def test_marginal_entropy_in_closed_form() -> None:
    """Uniform over four is ln 4, certainty is 0, and (1/2, 1/4, 1/4) is 1.5 ln 2."""
    log2 = float(np.log(2))
    assert marginal_entropy(np.array([5, 5, 5, 5])) == pytest.approx(2 * log2)
    assert marginal_entropy(np.array([0, 9, 0])) == 0
    assert marginal_entropy(np.array([4, 2, 2, 0])) == pytest.approx(1.5 * log2)
