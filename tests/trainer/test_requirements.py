"""What cannot be trained is refused at construction, in one line with the remedy; what can be is not."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from references.fresh_process import run_fresh
from references.problems import Problem, teacher
from torch import nn
from torch.optim import lr_scheduler
from torch.testing._internal.two_tensor import TwoTensor

from hpt import HybridConfig, HybridTrainer
from hpt.errors import CheckpointError, ModelError


def assert_refused(problem: Problem, match: str, **settings: Any) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        problem.trainer(**settings)
    assert "\n" not in str(caught.value)


class Sharpness(torch.optim.SGD):
    """SAM (arXiv:2010.01412) as its users write it: ascend, evaluate again, descend."""

    def first_step(self) -> None: ...

    def second_step(self) -> None: ...


class Strict(torch.optim.SGD):
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        return super().step(closure)


CLOSURES: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "lbfgs": lambda parameters: torch.optim.LBFGS(parameters, lr=0.1),
    "sam": lambda parameters: Sharpness(parameters, lr=0.1),
    "own": lambda parameters: Strict(parameters, lr=0.1),
}


@pytest.mark.parametrize("predictor", ["nesterov", "none"])
@pytest.mark.parametrize("name", CLOSURES)
def test_optimizers_that_evaluate_the_loss_themselves_are_refused(name: str, predictor: str) -> None:
    """Also under a scheduler, which wraps their step."""
    problem = teacher()
    problem.optimizer = CLOSURES[name](problem.model.parameters())
    problem.scheduler = lr_scheduler.ConstantLR(problem.optimizer)
    assert_refused(
        problem,
        r"evaluates the loss inside step\(closure\).*use one whose step\(\) needs no closure",
        predictor=predictor,
    )


def test_schedules_on_a_metric_are_the_callers() -> None:
    """ReduceLROnPlateau is refused as scheduler=, and works stepped by the caller: the rate falls and stays."""
    problem = teacher()
    plateau = lr_scheduler.ReduceLROnPlateau(problem.optimizer, factor=0.5, patience=0)
    problem.scheduler = plateau
    assert_refused(problem, r"ReduceLROnPlateau needs metrics.*call scheduler.step\(metrics\) yourself")
    problem.scheduler = None
    trainer = problem.trainer(gate="always")
    for call in range(90):
        trainer.step(problem.batch(call))
        if call % 30 == 29:
            plateau.step(1.0)
    assert trainer.summary()["counters"]["jumps_accepted"] >= 3
    assert [group["lr"] for group in problem.optimizer.param_groups] == [3e-3 / 4] * 2


@pytest.mark.parametrize("predictor", ["nesterov", "none"])
def test_weights_that_are_not_there_yet_are_refused(predictor: str) -> None:
    """Lazy modules by name, and after one batch they train; weights on the meta device likewise."""
    problem = teacher()
    problem.model, problem.scheduler = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.Linear(4, 1)), None
    problem.optimizer = torch.optim.SGD(problem.model.parameters(), lr=1e-3)
    assert_refused(
        problem, "parameter 0.weight is not initialised.*run one batch through the model first", predictor=predictor
    )
    problem.model(problem.batch(0)[0])
    problem.optimizer = torch.optim.SGD(problem.model.parameters(), lr=1e-3)
    problem.run(problem.trainer(predictor=predictor), 3)
    problem.model.register_buffer("late", torch.empty(2, device="meta"))
    assert_refused(problem, "buffer late is on the meta device", predictor=predictor)


def _in_a_closure(optimizers: Mapping[nn.Parameter, torch.optim.Optimizer]) -> Callable[[Any], None]:
    def hook(parameter: nn.Parameter) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    return hook


class _Stepper:
    def __init__(self, optimizers: Mapping[nn.Parameter, torch.optim.Optimizer]) -> None:
        self._optimizers = list(optimizers.values())

    def __call__(self, parameter: nn.Parameter) -> None:
        self._optimizers[0].step()

    def stepped(self, parameter: nn.Parameter) -> None:
        self._optimizers[0].step()


def _step(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> None:
    optimizer.step()


def _halve(parameter: nn.Parameter) -> None:
    parameter.grad = None if parameter.grad is None else 0.5 * parameter.grad


HOOKS: dict[str, Callable[[Mapping[nn.Parameter, torch.optim.Optimizer]], Callable[[Any], None]]] = {
    "closure": _in_a_closure,
    "object": _Stepper,
    "method": lambda optimizers: _Stepper(optimizers).stepped,
    "partial": lambda optimizers: functools.partial(_step, next(iter(optimizers.values()))),
}


@pytest.mark.parametrize("name", HOOKS)
def test_optimizers_inside_the_backward_pass_are_refused(name: str) -> None:
    """However the hook gets at them; a hook without an optimizer is no reason."""
    problem = teacher()
    optimizers = {one: torch.optim.SGD([one], lr=0.1) for one in problem.model.parameters()}
    for one in problem.model.parameters():
        one.register_post_accumulate_grad_hook(_halve)
    problem.run(problem.trainer(), 2)
    problem.model.get_parameter("0.weight").register_post_accumulate_grad_hook(HOOKS[name](optimizers))
    assert_refused(problem, "parameter 0.weight is updated by an optimizer inside the backward pass.*remove the hooks")
    problem.trainer(predictor="none")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchs_own_optimizers_in_backward_are_refused() -> None:
    """torch.distributed.optim marks the parameters that it updates."""
    from torch.distributed.optim.apply_optimizer_in_backward import _apply_optimizer_in_backward

    problem = teacher()
    _apply_optimizer_in_backward(torch.optim.SGD, problem.model.parameters(), {"lr": 0.1})
    assert_refused(problem, "inside the backward pass")


class HiddenMoments(torch.optim.Optimizer):
    """Momentum in a tensor that hides two others, as torchao's optimizers keep theirs."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 1e-3})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            moments = self.state[p].setdefault("moments", TwoTensor(torch.zeros_like(p), torch.zeros_like(p)))
            p.add_(moments.a.add_(p.grad), alpha=-1e-3)


def test_state_that_hides_tensors_is_named() -> None:
    """Torchao's by the package at construction, any other before the first copy; the plain loop trains with it."""
    problem = teacher()
    problem.optimizer, problem.scheduler = HiddenMoments(problem.model.parameters()), None
    with pytest.raises(ModelError, match="HiddenMoments keeps its state in tensors that hide others"):
        problem.run(problem.trainer(), 30)
    problem.run(problem.trainer(predictor="none"), 30)
    HiddenMoments.__module__ = "torchao.optim.adam"
    assert_refused(problem, "HiddenMoments keeps its state in tensors that hide others.*use torch.optim's")


def test_checkpoints_that_could_never_be_written_are_refused(tmp_path: Any) -> None:
    """A frozen weight that hides tensors trains with jumps; with a folder for checkpoints it is refused by name."""
    problem = teacher()
    hidden = TwoTensor(torch.zeros(2), torch.zeros(2))
    problem.model.register_buffer("codes", hidden)
    problem.trainer()
    with pytest.raises(CheckpointError, match=r"model/codes is a .*TwoTensor.*leave checkpoint.dir empty"):
        problem.trainer(checkpoint={"dir": str(tmp_path)})


def build_sharded(path: str) -> int:
    """In a group of one process: sums in parts and flat parameters are refused, the plain loop is not."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.tensor import DTensor, Partial

    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=0, world_size=1)
    problem = teacher()
    problem.run(problem.trainer(), 2)
    flat = teacher()
    flat.model = FullyShardedDataParallel(nn.Sequential(flat.model), device_id=torch.device("cpu"))
    flat.optimizer, flat.scheduler = torch.optim.SGD(flat.model.parameters(), lr=0.1), None
    assert_refused(flat, "FullyShardedDataParallel, whose flat parameters.*use torch.distributed.fsdp.fully_shard or D")
    mesh = init_device_mesh("cpu", (1,))
    weight = DTensor.from_local(torch.zeros(1, 8), mesh, [Partial()])
    problem.model = nn.Linear(8, 1)
    problem.model.weight = nn.Parameter(weight)
    problem.optimizer, problem.scheduler = torch.optim.SGD(problem.model.parameters(), lr=0.1), None
    assert_refused(problem, "parameter weight is a DTensor placed by Partial.*redistribute it")
    problem.trainer(predictor="none")
    torch.distributed.destroy_process_group()
    return 0


def test_weights_in_pieces_that_cannot_be_moved_make_no_jumps(tmp_path: Any) -> None:
    """With a predictor they are refused; the plain loop trains them."""
    ended = run_fresh("trainer.test_requirements:build_sharded", str(tmp_path / "one"))
    assert ended.returncode == 0, ended.stderr


def test_an_engine_that_steps_the_optimizer_itself_is_refused() -> None:
    """Known by the package of its class."""

    class DeepSpeedEngine(nn.Linear):
        """What deepspeed.initialize returns is a module."""

    DeepSpeedEngine.__module__ = "deepspeed.runtime.engine"
    problem = teacher()
    problem.model = DeepSpeedEngine(8, 1)
    problem.optimizer, problem.scheduler = torch.optim.SGD(problem.model.parameters(), lr=0.1), None
    assert_refused(problem, "the model is a DeepSpeed .*DeepSpeedEngine, which keeps and steps the weights itself")


def test_nothing_to_train_is_refused() -> None:
    """A frozen model; the remedy is named."""
    model = nn.Linear(2, 1).requires_grad_(requires_grad=False)
    with pytest.raises(ModelError, match="no parameter that requires a gradient; unfreeze some"):
        HybridTrainer(model, torch.optim.SGD(model.parameters(), lr=0.1), lambda net, x: net(x).sum(), HybridConfig())
