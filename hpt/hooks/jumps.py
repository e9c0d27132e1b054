"""`hpt.attach`: jumps in a training loop of your own, by hooks on its optimizer.

    jumps = hpt.attach(optimizer, HybridConfig(total_steps=n), model=model)
    for batch in loader:
        loss = loss_fn(model, batch)
        loss.backward()
        jumps.observe(loss)
        optimizer.step()           # once a cycle the weights jump here, after the update
        optimizer.zero_grad()

The hooks are those of torch.optim.Optimizer. The optimizer stays what it is, so schedulers, scalers, fused steps and
other libraries meet nothing new. Nothing is bound before the first step, because libraries replace parameters until
then. What is stored rides in `optimizer.state_dict()` under `STATE_KEY`, which other programs ignore.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch.optim import Optimizer

from hpt.config import HybridConfig
from hpt.distributed.together import Together
from hpt.errors import UsageError
from hpt.hooks.hosted import HostedRun, HostProbe
from hpt.hooks.losses import UpdateLoss
from hpt.hooks.requirements import check_config, check_kind, check_loaded, check_losses, check_run, check_together
from hpt.hooks.state import NOTHING, check_schema, losses_in, restore, state_of
from hpt.hooks.steps import is_inner_call, only_makes_state, was_skipped
from hpt.hooks.updates import after_update, start_anew
from hpt.optimizers.inner import InnerOptimizer
from hpt.records import Sink, discard
from hpt.trainer.requirements import check_state

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

STATE_KEY = "hpt_jumps"

_attached: WeakSet[Optimizer] = WeakSet()


def attach(
    optimizer: Optimizer | Sequence[Optimizer],
    config: HybridConfig | None = None,
    *,
    model: torch.nn.Module | None = None,
    probe: HostProbe | None = None,
    sink: Sink | None = None,
    process_group: "ProcessGroup | None" = None,
) -> "Jumps":
    """Let the weights that an optimizer trains jump, in a loop of your own.

    Args:
        optimizer: one, or a list in the order in which your loop steps them; the last one's step ends an update.
        config: settings; None: `predictor="prior"`, which needs no losses. What your loop decides (precision, clipping,
            accumulation, checkpoints) is refused here.
        model: whose weights these are: tells tables from matrices, and what the run is like. Without it the first is
            guessed by shape, and the second by the optimizer alone.
        probe: loss at the present weights, on the same data each time it is called within a jump; a jump that raises
            it too far is undone. Without it a jump is undone when gradients blow up after it.
        sink: receives jumps, decisions and events as records; None discards them.
        process_group: the processes that train this model on different data; None: all, where there are several.

    Raises:
        ModelError: the optimizer cannot be attached to; the message names the remedy.
        ConfigError: a setting is the loop's to decide.
        UsageError: it is attached to already.
    """
    jumps = Jumps(None, config, model=model, probe=probe, sink=sink, process_group=process_group)
    jumps.attach_to(optimizer)
    return jumps


class Jumps:
    """What `attach` returns; a `Stateful` for torch.distributed.checkpoint and accelerate's register_for_checkpointing.

    Args: see `attach`; optimizer None: it is not made yet, `attach_to` names it.
    """

    def __init__(
        self,
        optimizer: Optimizer | Sequence[Optimizer] | None,
        config: HybridConfig | None = None,
        *,
        model: torch.nn.Module | None = None,
        probe: HostProbe | None = None,
        sink: Sink | None = None,
        process_group: "ProcessGroup | None" = None,
    ) -> None:
        self._config = HybridConfig(predictor="prior") if config is None else config
        check_config(self._config)
        self._model, self._probe, self._group = model, probe, process_group
        self._sink = discard if sink is None else sink
        self._losses = UpdateLoss()
        self._run: HostedRun | None = None
        self._waiting: Mapping[str, Any] | None = None  # a state loaded before the first step
        self._skips_step = self._is_stale = False  # stale: weights of another time were loaded, without a state of ours
        self._num_before = 0  # updates counted when the run was bound
        self._each: list[Optimizer] = []
        self._handles: list[Any] = []
        if optimizer is not None:
            self.attach_to(optimizer, model)

    def attach_to(self, optimizer: Optimizer | Sequence[Optimizer], model: torch.nn.Module | None = None) -> None:
        """Begin anew with this optimizer, for a library that makes its own late, or another for each training.

        Args: see `attach`; model None: the one that was named before.

        Raises:
            ModelError, UsageError: see `attach`.
        """
        for one in optimizer if isinstance(optimizer, (list, tuple)) else [optimizer]:
            check_kind(one)
        each = InnerOptimizer(optimizer, model).each
        if any(one in _attached and one not in self._each for one in each):
            raise UsageError("jumps are attached to this optimizer already; call detach() on those first")
        self._take_hooks_off()
        self._run, self._losses, self._is_stale = None, UpdateLoss(), False
        self._model = self._model if model is None else model
        self._each = each
        self._handles = [handle for one in each for handle in self._hook(one)]

    def _hook(self, optimizer: Optimizer) -> list[Any]:
        _attached.add(optimizer)
        handles: list[Any] = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]
        if optimizer is self._each[0]:
            handles += [
                optimizer.register_state_dict_post_hook(self._add_state),
                optimizer.register_load_state_dict_pre_hook(self._take_state),
            ]
        return handles

    def observe(self, loss: torch.Tensor | float) -> None:
        """Show the loss of one micro-batch, as it was back-propagated, before the optimizer's step.

        The losses of an update are added. Reading it costs no transfer: it stays where it is until the cycle ends.
        """
        self._losses.add(loss)

    def begin_update(self) -> None:
        """Losses shown from now on are of a new update; needed only where one may be left out before.

        So it is with a `GradScaler`, which leaves a step out where gradients overflow, and tells nobody.
        """
        self._losses.drop()

    def set_total_steps(self, n: int) -> None:
        """How many updates the run will have; before its first step.

        Raises:
            UsageError: training has begun, with another number.
            ConfigError: `n` is out of range.
        """
        if n == self._config.total_steps:
            return
        if self._run is not None:
            raise UsageError(
                f"total_steps is {self._config.total_steps}, it cannot become {n} after the first step; "
                "call set_total_steps before it"
            )
        self._config = replace(self._config, total_steps=n)

    def detach(self) -> None:
        """Take the hooks off; the weights stay as they are, and the loop is as it was without hpt."""
        self._take_hooks_off()

    def _take_hooks_off(self) -> None:
        for handle in self._handles:
            handle.remove()
        _attached.difference_update(self._each)
        self._handles, self._each = [], []

    def summary(self) -> dict[str, Any]:
        """Updates, jumps, what was decided and why, as plain values; before the first step the settings alone."""
        run = self._run
        if run is None:
            return {"predictor": self._config.predictor, "num_updates": 0}
        decision = run.predictor.decision()
        counters = run.ledger.summary()["counters"]
        return {
            "predictor": self._config.predictor,
            "num_updates": run.controller.step,
            "cycle_steps": run.config.cycle_steps,
            "total_steps": run.config.total_steps,
            "has_losses": run.has_losses,
            **{name: number for name, number in counters.items() if name.startswith("jumps_")},
            "why": None if decision is None else decision.why,
            "counters": counters,
            "account": dict(run.predictor.summary()),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit; without content before the first step."""
        if self._run is None:
            return dict(NOTHING if self._waiting is None else self._waiting)
        return state_of(self._run, self._losses)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; before the first step it is kept until then.

        Raises:
            CheckpointError: it does not fit, and nothing has changed; where training has not begun, that comes with the
                first step.
        """
        if not state or state == NOTHING:
            return
        check_schema(state)
        if self._run is None:
            self._waiting = state
        else:
            self._is_stale = not restore(self._run, state)
        self._losses.load_state_dict(losses_in(state))

    def _add_state(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        mine = self.state_dict()
        if mine != NOTHING:
            state[STATE_KEY] = mine

    def _take_state(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        if STATE_KEY in state:
            self.load_state_dict(state[STATE_KEY])
        else:
            self._is_stale = True

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if is_inner_call(optimizer):
            return
        self._skips_step = only_makes_state(optimizer, args, kwargs)
        if self._skips_step:
            return
        if self._run is None:
            self._run = self._bound()
        elif self._is_stale:
            start_anew(self._run)
        self._is_stale = False
        self._run.others.__enter__()

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._skips_step or self._run is None or is_inner_call(optimizer):
            return
        if optimizer is self._each[-1]:
            if was_skipped(optimizer):
                self._losses.drop()
            else:
                self._updated(self._run)
        self._run.others.__exit__()

    def _updated(self, run: HostedRun) -> None:
        if run.ledger.counters.optimizer_updates == self._num_before:
            self._look_at_first_update(run)
        loss = self._losses.take()
        if self._losses.num_missing:
            run.event_once("loss_missing", "no loss was shown for an update; the one of the update before stands in")
        if loss is not None and not run.has_losses:
            run.event_once("losses_ignored", "losses came after the first step; show them from the first on")
        after_update(run, loss if run.has_losses else None)

    def _look_at_first_update(self, run: HostedRun) -> None:
        """Whether losses come (a closure shows its own inside the step), and what the optimizers keep."""
        check_state(run.optimizer)
        check_together(run.together, is_shown=self._losses.was_shown)
        if not self._losses.was_shown:
            check_losses(self._config)
            run.go_without_losses()

    def _bound(self) -> HostedRun:
        """The engine over the parameters as they are now, at the first step."""
        model = torch.nn.Module() if self._model is None else self._model
        inner, together = InnerOptimizer(self._each, model), Together(self._group)
        check_run(inner, self._model, self._config, together, probes=self._probe is not None)
        run = HostedRun(self._model, inner, self._config, self._sink, together, self._probe)
        if self._waiting is not None and not restore(run, self._waiting):
            start_anew(run)
        check_loaded(run.together, run.controller.step)
        self._waiting = None
        self._num_before = run.ledger.counters.optimizer_updates
        return run
