"""The program that pyperf runs: once as manager of one scenario, and, started by it, as each worker process.

pyperf's manager starts its own program again for the calibration and for every process, so this module imports next to
nothing by itself, and only a worker sets its scenario up. It is started with -P, so that no file in the working
directory can stand in for a module.

Every worker times the control right before its scenario: fixed work that touches none of the code under test. If it
took longer in one run than in another, the machine was slower then, and a difference between the runs proves nothing.

    python -P -m hpt.bench.worker --source package.module:NAME --scenario GROUP/NAME --threads 1 [pyperf's options]
"""

import argparse
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import pyperf

from hpt.bench.discovery import load_source
from hpt.bench.scenario import Measured, Preset, Scenario
from hpt.errors import HptError
from hpt.plugins import FAILURES, one_line, plugin_place
from hpt.run.parent import end_with_parent

PROGRAM = ("-P", "-m", "hpt.bench.worker")
FAILED = "scenario failed: "
"""Begins the line on stderr that says why a worker gave up."""
PER_UNIT = "hpt_per_unit_"
"""Begins the metadata that say what a unit of work consists of."""
_NUM_ROUNDS = 30  # about 35 ms in all: long enough to be interrupted as often as what it stands for
_PYTHON_ITERATIONS = 20_000
_NUM_PRODUCTS = 12
_SIZE = 128


def main(arguments: Sequence[str] | None = None) -> None:
    """Manage or work, as the options say.

    Raises:
        SystemExit: 1 when the scenario's set-up, self-check or measured call fails.
    """
    runner = pyperf.Runner(program_args=PROGRAM, add_cmdline_args=_pass_on)
    runner.argparser.add_argument("--source", required=True, metavar="MODULE:NAME")
    runner.argparser.add_argument("--scenario", required=True, metavar="GROUP/NAME")
    runner.argparser.add_argument("--preset", required=True, choices=[one.value for one in Preset])
    runner.argparser.add_argument("--torch-threads", required=True, type=int, metavar="N")
    options = runner.parse_args(arguments)
    if not options.worker:
        _end_with_command_line()
    try:
        _carry_out(runner, options)
    except FAILURES as error:
        if isinstance(error, HptError) or plugin_place(error) is not None:
            traceback.print_exc()
            print(f"\n{FAILED}{one_line(error)}", file=sys.stderr, flush=True)
            sys.exit(1)
        raise
    if options.worker:
        _leave_at_once()


def _end_with_command_line() -> None:
    """The manager's stdin is a pipe from the command line; when that is gone, manager and workers go as a group."""
    pipe = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    end_with_parent(pipe, lambda: os.killpg(0, signal.SIGKILL))


def _carry_out(runner: pyperf.Runner, options: argparse.Namespace) -> None:
    scenario = _find(options.source, options.scenario)
    measured = _prepare(scenario, options) if options.worker else _nothing()
    metadata = _metadata(scenario, measured) if options.worker else {}
    more: dict[str, Any] = {"inner_loops": scenario.inner_loops, "metadata": metadata}
    if measured.time_loops is not None:
        runner.bench_time_func(scenario.full_name, measured.time_loops, **more)
    else:
        runner.bench_func(scenario.full_name, measured.call, **more)


def _leave_at_once() -> None:
    """End without taking the interpreter apart, which is half a second with torch; the result has been handed over."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _pass_on(command: list[str], options: argparse.Namespace) -> None:
    """Give a worker the options that are ours."""
    for name in ("source", "scenario", "preset", "torch_threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]


def _find(source: str, full_name: str) -> Scenario:
    for scenario in load_source(source):
        if scenario.full_name == full_name:
            return scenario
    raise HptError(f"{source} has no scenario {full_name}; it was renamed since it was listed")


def _nothing() -> Measured:
    """For the manager, which never calls it."""
    return Measured(call=_unset, check=_unset)


def _unset() -> None:
    """Stands in where nothing is measured."""


def _prepare(scenario: Scenario, options: argparse.Namespace) -> Measured:
    """Set up and check, with the threads that were asked for."""
    _set_threads(options.torch_threads)
    gc.disable()  # importing torch makes many objects that all stay: a tenth of its time goes into looking for others
    try:
        measured = scenario.set_up(Preset(options.preset))
    finally:
        gc.enable()
    _set_threads(options.torch_threads)  # set-up may have been the first to import torch
    measured.check()
    return measured


def _set_threads(threads: int) -> None:
    """Tell torch, if the scenario imported it; the other libraries were told by their environment variables."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _metadata(scenario: Scenario, measured: Measured) -> dict[str, str | int | float]:
    return {
        "hpt_unit": scenario.unit,
        "hpt_num_units": scenario.num_units,
        "hpt_imports_torch": int("torch" in sys.modules),
        **{PER_UNIT + name: float(number) for name, number in measured.per_unit.items()},
        "hpt_control_s": measure_control(),
    }


def measure_control() -> float:
    """Seconds of one round, half interpreter and half matrix products; mean of thirty rounds after a warm-up.

    A mean and no median, because other programs that take the processor away are to be noticed.
    """
    import numpy as np  # noqa: PLC0415 - the manager does without

    matrix = np.linspace(-1, 1, _SIZE * _SIZE, dtype=np.float32).reshape(_SIZE, _SIZE)
    product = np.empty_like(matrix)

    def multiply() -> None:
        np.dot(matrix, matrix, product)

    _round(multiply)
    began = time.perf_counter()
    for _ in range(_NUM_ROUNDS):
        _round(multiply)
    return (time.perf_counter() - began) / _NUM_ROUNDS


def _round(multiply: Callable[[], None]) -> None:
    total = 0
    for number in range(_PYTHON_ITERATIONS):
        total += number * number % 7
    for _ in range(_NUM_PRODUCTS):
        multiply()


if __name__ == "__main__":
    main()
