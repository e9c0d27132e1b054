"""What cannot be attached to is refused at once, in one line with what to do instead."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from references.host_loop import Loop
from references.problems import teacher
from torch import nn

import hpt
from hpt import ConfigError, HybridConfig, ModelError

Parameters = list[nn.Parameter]


class Wrapper:
    """Around an optimizer, without being one: as DeepSpeed, Apex and others have them."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.param_groups = optimizer.param_groups

    def step(self) -> None:
        """The inner one's."""
        self.optimizer.step()


def lookahead(parameters: Parameters) -> Any:
    from pytorch_optimizer import Lookahead

    return Lookahead(torch.optim.AdamW(parameters))


def schedule_free(parameters: Parameters) -> Any:
    from schedulefree import AdamWScheduleFree

    return AdamWScheduleFree(parameters)


class Strict(torch.optim.SGD):
    """Cannot step without a closure."""

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Evaluate the loss, and step."""
        return super().step(closure)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (torch.optim.LBFGS, "LBFGS makes many updates in one step.*use one whose step"),
        (schedule_free, "AdamWScheduleFree keeps weights of its own.*without hpt"),
        (lookahead, r"Lookahead wraps another.*pass the one inside, \.optimizer"),
        (lambda some: Wrapper(torch.optim.SGD(some, 0.1)), r"Wrapper wraps another.*pass the one inside, \.optimizer"),
        (lambda _: object(), "optimizer is a object, it must be a torch.optim.Optimizer"),
        (lambda _: None, "optimizer is a NoneType, it must be a torch.optim.Optimizer"),
        (lambda _: [], "optimizer is an empty list"),
        (lambda some: [torch.optim.SGD(some, 0.1), torch.optim.SGD(some[:1], 0.1)], "is held by optimizers 0"),
    ],
    ids=["LBFGS", "schedulefree", "Lookahead", "wrapper", "object", "None", "empty", "twice"],
)
def test_optimizers_that_hooks_cannot_follow_are_refused(make: Callable[[Parameters], Any], message: str) -> None:
    """By the real objects, when attaching."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = make(list(teacher().model.parameters()))
    with pytest.raises(ModelError, match=message) as caught:
        hpt.attach(optimizer)
    assert "\n" not in str(caught.value)


def sharded(model: nn.Module) -> None:
    """As the older FSDP marks the pieces that it leaves in place of the weights."""
    for one in model.parameters():
        one._fsdp_flattened = True  # pyright: ignore[reportAttributeAccessIssue]


def on_meta(model: nn.Module) -> None:
    model.to("meta")


@pytest.mark.parametrize(
    ("make", "spoil", "message"),
    [
        (lambda some: Strict(some, 0.1), None, r"evaluates the loss inside step\(closure\)"),
        (lambda some: torch.optim.SGD(some, 0.1), on_meta, "is on the meta device"),
        (lambda some: torch.optim.SGD(some, 0.1), sharded, "is a piece of a sharded weight"),
    ],
    ids=["closure", "meta", "FSDP"],
)
def test_runs_that_jumps_cannot_join_are_refused_with_the_first_step(
    make: Callable[[Parameters], Any], spoil: Callable[[nn.Module], None] | None, message: str
) -> None:
    """Before it is made: nothing is bound earlier, since libraries replace parameters until then."""
    model = teacher().model
    for one in model.parameters():
        one.grad = torch.ones_like(one)
    optimizer = make(list(model.parameters()))
    if spoil is not None:
        spoil(model)
    hpt.attach(optimizer, model=model)
    versions = [one._version for one in model.parameters()]
    with pytest.raises(ModelError, match=message):
        optimizer.step()
    assert [one._version for one in model.parameters()] == versions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"predictor": "none"}, "predictor is 'none', which never jumps; leave hpt.attach out"),
        ({"precision": {"autocast": "bf16"}}, "precision.autocast is set, but your own loop does that"),
        ({"update": {"clip_norm": 1.0}}, "update.clip_norm is set"),
        ({"update": {"accumulation_steps": 4}}, "update.accumulation_steps is set"),
        ({"checkpoint": {"dir": "x"}}, "checkpoint.dir is set"),
        ({"divergence": {"enabled": False}}, "divergence.enabled is set"),
    ],
)
def test_settings_of_what_the_loop_does_itself_are_refused(settings: dict[str, Any], message: str) -> None:
    """When attaching, and nothing is attached then."""
    optimizer = teacher().optimizer
    with pytest.raises(ConfigError, match=message):
        hpt.attach(optimizer, HybridConfig.from_dict(settings))
    assert not optimizer._optimizer_step_post_hooks


class Hiding(torch.optim.SGD):
    """Keeps its state in a tensor that hides others, as quantized ones do."""

    def step(self, closure: Any = None) -> Any:
        """Plain gradient descent, and a state."""
        from torch.testing._internal.two_tensor import TwoTensor

        for group in self.param_groups:
            for one in group["params"]:
                self.state[one]["hidden"] = TwoTensor(torch.zeros(2), torch.zeros(2))
        return super().step(closure)


def test_a_state_that_cannot_be_put_back_is_refused_with_the_first_update() -> None:
    """And not a cycle later."""
    problem = teacher()
    problem.optimizer, problem.scheduler = Hiding(problem.model.parameters(), lr=0.1), None
    with pytest.raises(ModelError, match="keeps its state in tensors that hide others"):
        Loop(problem).attach().run(1)
