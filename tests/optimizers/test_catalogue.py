"""Inner optimizers by name, against the libraries they come from and closed forms."""

import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Muon, Optimizer

from hpt.errors import HptError, PrerequisiteError, UsageError
from hpt.optimizers.build import adamw_of, build_optimizers
from hpt.optimizers.catalogue import CATALOGUE, find_entry
from hpt.optimizers.memory import memory_steps

INPUTS = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
TARGETS = INPUTS[:, :3].argmax(dim=1)


def small_model() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def updates(model: nn.Module, optimizers: list[Optimizer], count: int) -> list[float]:
    """Losses of so many updates."""
    losses: list[float] = []
    for _ in range(count):
        for one in optimizers:
            one.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(INPUTS), TARGETS)
        loss.backward()
        for one in optimizers:
            one.step()
        losses.append(loss.item())
    return losses


def build(name: str, model: nn.Module, weight_decay: float = 0.1) -> list[Optimizer]:
    return build_optimizers(name, model, peak_lr=0.02, total_steps=100, weight_decay=weight_decay)


def weights(model: nn.Module, *names: str) -> list[nn.Parameter]:
    return [dict(model.named_parameters())[name] for name in names]


MATRICES, VECTORS = ("0.weight", "2.weight", "4.weight"), ("0.bias", "2.bias", "4.bias")


def test_only_tensors_of_two_or_more_axes_decay() -> None:
    """With zero gradients an update scales a matrix by 1 - lr * decay and leaves a bias alone."""
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    optimizer = adamw_of(model, 0.5)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in model.named_parameters():
        scale = 1 - 0.5 * 0.1 if name == "0.weight" else 1.0
        torch.testing.assert_close(value.detach(), before[name] * scale)


def test_frozen_parameters_are_left_out() -> None:
    """A parameter that needs no gradient is in no group."""
    model = nn.Linear(3, 3)
    model.bias.requires_grad_(False)
    held = [parameter for group in adamw_of(model, 0.1).param_groups for parameter in group["params"]]
    assert held == [model.weight]


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_optimizer_of_the_catalogue_learns_to_tell_the_samples_apart(name: str) -> None:
    """100 updates on 64 samples bring the loss below 0.8 of that of knowing nothing, log 3."""
    model = small_model()
    assert updates(model, build(name, model), 100)[-1] < 0.8 * torch.tensor(3.0).log().item()


def by_hand_muon(model: nn.Sequential) -> list[Optimizer]:
    """Hidden matrices: those of the first two layers."""
    rest = [
        {"params": weights(model, "4.weight"), "weight_decay": 0.1},
        {"params": weights(model, *VECTORS), "weight_decay": 0.0},
    ]
    muon = Muon(
        weights(model, "0.weight", "2.weight"), lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, AdamW(rest, lr=0.02, betas=(0.9, 0.95))]


def by_hand_soap(model: nn.Sequential) -> list[Optimizer]:
    from pytorch_optimizer import SOAP

    matrices = [{"params": weights(model, *MATRICES), "weight_decay": 0.1}]
    vectors = [{"params": weights(model, *VECTORS), "weight_decay": 0.0}]
    return [SOAP([*matrices, *vectors], lr=0.02, betas=(0.95, 0.95), precondition_frequency=10)]


def by_hand_lion(model: nn.Sequential) -> list[Optimizer]:
    """A fifth of AdamW's rate and five times its decay."""
    from pytorch_optimizer import Lion

    matrices = [{"params": weights(model, *MATRICES), "weight_decay": 0.5}]
    vectors = [{"params": weights(model, *VECTORS), "weight_decay": 0.0}]
    return [Lion([*matrices, *vectors], lr=0.004, betas=(0.9, 0.99), weight_decouple=True)]


@pytest.mark.parametrize(("name", "by_hand"), [("muon", by_hand_muon), ("soap", by_hand_soap), ("lion", by_hand_lion)])
def test_is_bit_for_bit_what_one_would_build_by_hand(
    name: str, by_hand: Callable[[nn.Sequential], list[Optimizer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """25 updates of the catalogue's and of the library's own, constructed here, give the same losses.

    Muon computes in single precision on a CPU, so torch's is made to.
    """
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    model, twin = small_model(), small_model()
    assert updates(model, build(name, model), 25) == updates(twin, by_hand(twin), 25)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_memory_that_the_table_tells_is_that_of_what_is_built(name: str) -> None:
    """The longest of the list, as the trainer reads it from the groups."""
    longest = max(map(memory_steps, build(name, small_model())))
    assert longest == pytest.approx(CATALOGUE[name].memory_steps)


def test_muon_without_a_hidden_matrix_is_adamw_alone() -> None:
    """A single layer is a head, and Muon is not for heads."""
    (only,) = build("muon", nn.Linear(6, 3))
    assert type(only) is AdamW


def test_roles_that_are_told_decide_what_muon_gets() -> None:
    """The second layer called a table goes to AdamW."""
    model = small_model()
    found = build_optimizers("muon", model, peak_lr=0.02, total_steps=100, roles={"2.*": "table"})
    assert found[0].param_groups[0]["params"] == weights(model, "0.weight")


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_trainable_parameter_is_held_once_and_no_frozen_one(name: str) -> None:
    """Over all optimizers of the list and all their groups."""
    model = small_model()
    weights(model, "2.bias")[0].requires_grad_(False)
    held = [id(one) for optimizer in build(name, model) for group in optimizer.param_groups for one in group["params"]]
    assert sorted(held) == sorted(id(one) for one in model.parameters() if one.requires_grad)


def test_no_decay_where_the_problem_asks_for_none() -> None:
    """With weight_decay=0 an update without gradient leaves AdamW's weights alone."""
    model = small_model()
    before = [one.detach().clone() for one in model.parameters()]
    for one in model.parameters():
        one.grad = torch.zeros_like(one)
    build("adamw", model, weight_decay=0.0)[0].step()
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_an_absent_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The import fails as it does where the extra was not installed."""
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(PrerequisiteError, match=r"pytorch-optimizer>=4.1.*pip install .*\[peers\]"):
        build("soap", small_model())


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """A slip of one letter."""
    with pytest.raises(UsageError, match="did you mean muon"):
        find_entry("mion")


def sgd_factory(*, model: nn.Module, peak_lr: float, total_steps: int) -> list[Optimizer]:
    """A user's own: two optimizers, the second at half the rate."""
    first, *others = model.parameters()
    return [SGD([first], lr=peak_lr), SGD(others, lr=peak_lr / 2 + 0 * total_steps)]


def wrong_factory(**_: object) -> str:
    return "adam"


def test_a_factory_of_ones_own_gets_the_peak_rate_and_may_return_a_list(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """Named by its import path; what is no optimizer is refused by its type."""
    monkeypatch.syspath_prepend(str(pytestconfig.rootpath / "tests" / "optimizers"))
    rates = [one.param_groups[0]["lr"] for one in build("test_catalogue:sgd_factory", small_model())]
    assert rates == [0.02, 0.01]
    with pytest.raises(HptError, match=r"returned a str, it must be a torch.optim.Optimizer"):
        build("test_catalogue:wrong_factory", small_model())


def test_only_schedulefree_says_that_jumps_make_no_sense_on_it() -> None:
    """Its weights are made anew at every step."""
    assert [name for name, entry in CATALOGUE.items() if entry.no_jumps] == ["schedulefree"]
