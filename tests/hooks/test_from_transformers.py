"""`hpt.attach` where a library owns optimizer and loop: late optimizers, skipped steps, nothing kept alive."""

import gc
import weakref

import pytest
import torch

import hpt
from hpt import HybridConfig, Jumps, UsageError
from hpt.hooks.state import total_steps_of

SETTINGS = HybridConfig(predictor="prior", full_steps=10, warmup_steps=20, total_steps=100)


def one_weight() -> torch.nn.Linear:
    return torch.nn.Linear(2, 1, bias=False)


def train(network: torch.nn.Module, optimizer: torch.optim.Optimizer, jumps: Jumps, num_updates: int) -> None:
    """Updates of a loop that shows its losses."""
    for _ in range(num_updates):
        loss = network(torch.ones(4, 2)).square().mean()
        loss.backward()
        jumps.observe(loss)
        optimizer.step()
        optimizer.zero_grad()


def test_an_optimizer_that_the_loop_forgets_is_freed() -> None:
    """Being attached keeps neither it, nor its weights, nor the copies of them alive."""
    network = one_weight()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    jumps = hpt.attach(optimizer, SETTINGS, model=network)
    train(network, optimizer, jumps, 3)
    gone = [weakref.ref(one) for one in (network.weight, optimizer, jumps)]
    del network, optimizer, jumps
    gc.collect()
    assert [one() for one in gone] == [None, None, None]


def test_the_loss_of_a_skipped_step_is_forgotten() -> None:
    """A scaler's skipped step is unseen by the optimizer; the next update has its own loss, not both."""
    network = one_weight()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    jumps = hpt.attach(optimizer, SETTINGS, model=network)
    losses: list[float] = []
    for step in range(3):
        loss = network(torch.full((4, 2), step + 1.0)).square().mean()
        jumps.begin_update()
        jumps.observe(loss)
        scaler.scale(loss * (torch.inf if step == 1 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert jumps._run is not None
    observed = [float(torch.as_tensor(row)[0]) for row in jumps._run.readings.unread]
    assert observed == [losses[0], losses[2]]


def test_jumps_go_over_to_another_optimizer_and_begin_anew() -> None:
    """They count from 0 again, and the optimizer that they left may have others."""
    jumps = Jumps(None, SETTINGS)
    optimizers: list[torch.optim.Optimizer] = []
    for num_updates in (15, 5):
        network = one_weight()
        optimizers.append(torch.optim.SGD(network.parameters(), lr=0.1))
        jumps.attach_to(optimizers[-1], network)
        train(network, optimizers[-1], jumps, num_updates)
        assert jumps.summary()["num_updates"] == num_updates
    hpt.attach(optimizers[0], SETTINGS)
    with pytest.raises(UsageError):
        hpt.attach(optimizers[1], SETTINGS)


def test_jumps_stay_where_they_are_if_the_other_optimizer_is_refused() -> None:
    """It has jumps already; the updates of the first are still counted."""
    network = one_weight()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    jumps = hpt.attach(optimizer, SETTINGS, model=network)
    train(network, optimizer, jumps, 2)
    taken = torch.optim.SGD(one_weight().parameters(), lr=0.1)
    _other = hpt.attach(taken, SETTINGS)
    with pytest.raises(UsageError, match="attached to this optimizer already"):
        jumps.attach_to(taken)
    train(network, optimizer, jumps, 1)
    assert jumps.summary()["num_updates"] == 3


def test_a_state_tells_how_many_updates_its_run_was_to_have() -> None:
    """For a library that resumes a run without being told again."""
    network = one_weight()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    jumps = hpt.attach(optimizer, SETTINGS, model=network)
    train(network, optimizer, jumps, 1)
    assert total_steps_of(optimizer.state_dict()["hpt_jumps"]) == 100
