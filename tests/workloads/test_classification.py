"""The generated classification problems: their noise, their chance level, and that they can be learned."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from hpt.workloads.classification import Classification
from hpt.workloads.cnn import IMAGE_SIZE, NOISE_STD, TemplateCNN, _placed_templates
from hpt.workloads.mlp import TeacherMLP, _teacher
from hpt.workloads.workload import batch_generator

CPU = torch.device("cpu")
KINDS = [TeacherMLP, TemplateCNN]


@pytest.mark.parametrize("kind", KINDS)
def test_chance_level_is_the_loss_of_a_constant_guess(kind: type[Classification]) -> None:
    """Cross-entropy of the validation labels under the shares counted in fresh training batches."""
    workload = kind(seed=1, device=CPU)
    labels = torch.cat([workload.batch(index)[1] for index in range(300)])
    shares = torch.bincount(labels, minlength=10) / len(labels)
    held_out = torch.cat([labels for _, labels in workload.validation_batches()])
    loss = float(-shares.log()[held_out].mean())
    assert loss == pytest.approx(workload.chance_loss, abs=0.005)
    assert workload.chance_loss <= math.log(10)


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_is_common_enough_to_matter(kind: type[Classification]) -> None:
    """No class has less than a quarter of its even share, so there are really ten."""
    labels = torch.cat([labels for _, labels in kind(seed=0, device=CPU).validation_batches()])
    assert int(torch.bincount(labels, minlength=10).min()) > len(labels) / 40


@pytest.mark.parametrize("kind", KINDS)
def test_the_stated_share_of_labels_is_random(kind: type[Classification]) -> None:
    """Against the true labels drawn from the same stream, noise x 9/10 of them differ, within 5 sigma."""
    workload = kind(seed=2, device=CPU)
    count, differing = 0, 0
    for index in range(200):
        _, true = workload.draw(batch_generator(2, index), workload.batch_size)
        noisy = workload.batch(index)[1].numpy()
        count += len(true)
        differing += int((true != noisy).sum())
    expected = workload.label_noise_frac * 0.9
    assert differing / count == pytest.approx(expected, abs=5 * math.sqrt(expected / count))


def test_teacher_labels_are_its_largest_output() -> None:
    """One sample at a time, in plain loops over the teacher's weights."""
    inputs, labels = TeacherMLP(seed=0, device=CPU).draw(batch_generator(0, 0), 20)
    _, first, second = _teacher()
    for sample, label in zip(inputs, labels, strict=True):
        hidden = [math.tanh(sum(x * w for x, w in zip(sample, column, strict=True))) for column in first.T]
        outputs = [sum(h * w for h, w in zip(hidden, column, strict=True)) for column in second.T]
        assert outputs.index(max(outputs)) == label


def test_inputs_are_anisotropic_as_stated() -> None:
    """Standard deviations fall geometrically from 1 to 0.1 over the 32 inputs."""
    inputs, _ = TeacherMLP(seed=0, device=CPU).draw(batch_generator(0, 0), 20_000)
    expected = [10 ** (-place / 31) for place in range(32)]
    np.testing.assert_allclose(inputs.std(axis=0), expected, rtol=0.04)


def test_images_are_shifted_templates_plus_noise() -> None:
    """What remains of an image after taking the nearest placed template of its class away is the noise."""
    images, labels = TemplateCNN(seed=0, device=CPU).draw(batch_generator(0, 0), 500)
    templates = _placed_templates()
    remainders, places = [], set()
    for image, label in zip(images, labels, strict=True):
        gaps = ((image - templates[label]) ** 2).mean(axis=(1, 2))
        remainders.append(gaps.min())
        places.add(int(gaps.argmin()))
    assert images.shape == (500, 1, IMAGE_SIZE, IMAGE_SIZE)
    assert np.mean(remainders) == pytest.approx(NOISE_STD**2, rel=0.02)
    assert places == set(range(25))


def test_a_template_at_another_place_is_the_same_template_shifted() -> None:
    """Place (r, c) is place (0, 0) rolled by r rows and c columns, and nothing is cut off."""
    templates = _placed_templates()
    for place in range(25):
        rolled = np.roll(templates[:, 0], shift=divmod(place, 5), axis=(1, 2))
        np.testing.assert_array_equal(templates[:, place], rolled)


@pytest.mark.parametrize(("kind", "steps", "margin"), [(TeacherMLP, 200, 0.5), (TemplateCNN, 100, 0.3)])
def test_training_gets_below_chance(kind: type[Classification], steps: int, margin: float) -> None:
    """A short run with the workload's own optimizer and schedule beats the label frequencies clearly."""
    workload = kind(seed=0, device=CPU)
    model = workload.build_model()
    optimizer = workload.build_optimizer(model)
    scheduler = workload.build_scheduler(optimizer, steps)
    for index in range(steps):
        workload.loss(model, workload.batch(index)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    assert workload.validation_loss(model) < workload.chance_loss - margin


def test_cnn_has_batch_norm_and_moves_its_statistics() -> None:
    """The running mean after one training pass is momentum times the batch mean of the first convolution."""
    workload = TemplateCNN(seed=0, device=CPU)
    model = workload.build_model()
    assert isinstance(model, nn.Sequential)
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    inputs, _ = workload.batch(0)
    model(inputs)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, 0.1 * model[0](inputs).mean(dim=(0, 2, 3)).detach())
