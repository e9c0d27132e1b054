"""Complex weights, one memory behind two of them, and weights that the optimizer keeps a copy of."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from references.problems import Problem, teacher, weights_of
from references.records import events_of
from torch import nn

from hpt.records import EventRecord, JumpRecord, Record

WHOLE_RUN: dict[str, Any] = {"gate": "always", "predict": {"window_start_frac": 0.0, "window_end_frac": 1.0}}


class Waves(nn.Module):
    """A complex linear map; as pairs of real numbers when asked for the twin."""

    def __init__(self, *, twin: bool) -> None:
        super().__init__()
        start = torch.randn(6, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
        bias = torch.zeros(3, dtype=torch.complex128)
        self.weight = nn.Parameter(torch.view_as_real(start).clone() if twin else start)
        self.bias = nn.Parameter(torch.view_as_real(bias).clone() if twin else bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = (p if p.is_complex() else torch.view_as_complex(p) for p in (self.weight, self.bias))
        return x @ weight + bias


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda ps: torch.optim.SGD(ps, lr=0.02, momentum=0.5),
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.01),
}


def waves(optimizer: str, *, twin: bool) -> Problem:
    target = torch.randn(6, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(2))

    def batch(index: int) -> torch.Tensor:
        return torch.randn(16, 6, dtype=torch.complex128, generator=torch.Generator().manual_seed(100 + index))

    model = Waves(twin=twin)
    return Problem(
        model,
        OPTIMIZERS[optimizer](list(model.parameters())),
        None,
        lambda net, x: (net(x) - x @ target - 1j).abs().square().mean(),
        batch,
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_complex_weights_jump_as_their_real_twins(optimizer: str) -> None:
    """Weights, and the length of every jump, are those of the same problem in pairs of real numbers."""
    weights: list[torch.Tensor] = []
    norms: list[list[float]] = []
    for twin in (False, True):
        problem, records = waves(optimizer, twin=twin), list[Record]()
        trainer = problem.trainer(records, **WHOLE_RUN | {"predict": WHOLE_RUN["predict"] | {"preset": "ramp"}})
        problem.run(trainer, 120)
        assert not events_of(records)
        norms.append([one.norm for one in records if isinstance(one, JumpRecord)])
        real = (torch.view_as_real(p.detach()) if p.is_complex() else p.detach() for p in problem.model.parameters())
        weights.append(torch.cat([one.reshape(-1) for one in real]))
    assert len(norms[0]) >= 5
    assert norms[0] == pytest.approx(norms[1], rel=1e-9)
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-9, atol=1e-12)


class Tied(nn.Module):
    """An encoder and a decoder over one memory, by object or by data."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.encode, self.decode = (nn.Linear(6, 6, bias=False, dtype=torch.float64) for _ in range(2))
        start = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        self.encode.weight.data = 0.3 * start
        if how == "object":
            self.decode.weight = self.encode.weight
        else:
            self.decode.weight.data = self.encode.weight.data

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(torch.tanh(self.encode(x)))


@pytest.mark.parametrize("preset", ["ramp", "orthogonal"])
def test_one_memory_behind_two_parameters_is_moved_once(preset: str) -> None:
    """Under SGD two parameters over one memory are one parameter, jumps included, to rounding."""
    weights: list[torch.Tensor] = []
    for how in ("object", "data"):
        model = Tied(how)
        problem = Problem(
            model,
            torch.optim.SGD(model.parameters(), lr=0.05),
            None,
            lambda net, x: (net(x) - x).square().mean(),
            lambda index: torch.randn(16, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(index)),
        )
        trainer = problem.trainer(**WHOLE_RUN | {"predict": WHOLE_RUN["predict"] | {"preset": preset}})
        problem.run(trainer, 120)
        assert trainer.summary()["counters"]["jumps_accepted"] >= 5
        assert model.encode.weight.data_ptr() == model.decode.weight.data_ptr()
        weights.append(model.encode.weight.detach().clone())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-8, atol=1e-10)


class WithMasters(torch.optim.Optimizer):
    """Adam on copies in single precision, written over the weights at every step, as mixed-precision wrappers do.

    The copies are in `state`, or in a list of the wrapper's own.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, *, in_state: bool, beside: int = 0) -> None:
        super().__init__(parameters, {"lr": lr})
        self.masters = [p.detach().float().clone().requires_grad_(True) for p in parameters]
        self.own = torch.optim.Adam(self.masters, lr=lr)
        self.beside = beside
        if in_state:
            for p, master in zip(parameters, self.masters, strict=True):
                self.state[p]["master"] = master.data

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        pairs = list(zip(self.param_groups[0]["params"], self.masters, strict=True))
        for p, master in pairs:
            master.grad = p.grad.float()
        for p, master in pairs[: self.beside]:
            master.copy_(p)  # these it keeps no copy of between steps
        self.own.step()
        for p, master in pairs:
            p.copy_(master)


@pytest.mark.parametrize("in_state", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_an_optimizer_with_masters_is_found_out_at_the_first_jump(dtype: torch.dtype, in_state: bool) -> None:
    """One event, no kept jump, none after it, and the weights from then on are the plain loop's."""
    runs: list[torch.Tensor] = []
    for predictor in ("nesterov", "none"):
        problem, records = teacher(), list[Record]()
        inner = problem.batch
        problem.batch = lambda index, inner=inner: tuple(one.to(dtype) for one in inner(index))
        problem.model.to(dtype)
        problem.scheduler = None
        problem.optimizer = WithMasters(list(problem.model.parameters()), 3e-3, in_state=in_state)
        trainer = problem.trainer(records, predictor=predictor, **WHOLE_RUN)
        problem.run(trainer, 100)
        counters = trainer.summary()["counters"]
        assert (counters["jumps_accepted"], counters["steps_covered_by_jumps"]) == (0, 0)
        if predictor == "nesterov":
            (event,) = events_of(records)
            assert event.name == "jumps_overwritten"
            assert "writes them over the model's" in event.message
            assert sum(isinstance(one, JumpRecord) for one in records) == counters["jumps_proposed"] == 1
            assert counters["jumps_rejected"] == 1
        runs.append(weights_of(problem.model))
    # one gradient of a hundred was taken at the weights of the jump, and the batches are one call apart
    assert float((runs[0] - runs[1]).norm()) < 0.1 * float(runs[1].norm())


OTHERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=3e-3),
    "fast sgd": lambda ps: torch.optim.SGD(ps, lr=0.1),
    "noisy rmsprop": lambda ps: torch.optim.RMSprop(ps, lr=1e-2),
    "adadelta": lambda ps: torch.optim.Adadelta(ps, lr=0.5),
    "no masters of the first three": lambda ps: WithMasters(ps, 3e-3, in_state=True, beside=3),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_optimizer_that_updates_in_place_keeps_its_jumps(name: str) -> None:
    """Also where the gradient takes part of them back, or a part of the weights has masters."""
    problem, records = teacher(), list[Record]()
    problem.scheduler = None
    problem.optimizer = OTHERS[name](list(problem.model.parameters()))
    trainer = problem.trainer(records, **WHOLE_RUN)
    problem.run(trainer, 100)
    assert not [one for one in records if isinstance(one, EventRecord) and one.name == "jumps_overwritten"]
    assert trainer.summary()["counters"]["jumps_accepted"] >= 1


def test_jumps_that_are_off_stay_off_after_a_resume(tmp_path: Any) -> None:
    """What was found out is in the checkpoint."""

    def fresh() -> Problem:
        problem = teacher()
        problem.scheduler = None
        problem.optimizer = WithMasters(list(problem.model.parameters()), 3e-3, in_state=True)
        return problem

    problem, records = fresh(), list[Record]()
    trainer = problem.trainer(**WHOLE_RUN)
    problem.run(trainer, 60)
    trainer.save(tmp_path / "run.ckpt")
    other = fresh()
    resumed = other.trainer(records, **WHOLE_RUN)
    resumed.load(tmp_path / "run.ckpt")
    other.run(resumed, 120)
    assert not any(isinstance(one, JumpRecord) for one in records)
