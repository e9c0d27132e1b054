"""Inner optimizers by name: what each is, how it is built, its rate and memory, and whether jumps make sense on it.

Rates are relative to AdamW's, so that a workload with one tuned rate has a place to start from for each of them. The
builders are in `hpt.optimizers.build`; nothing here imports torch.

Of your own: `package.module:factory`, called as `factory(model=, peak_lr=, total_steps=)`; it returns one optimizer or
a list of them, their rates at the peak.
"""

import difflib
from dataclasses import dataclass
from importlib.util import find_spec

from hpt.errors import PrerequisiteError, UsageError

OWN = "workload"
"""The workload's own optimizer, whatever it is."""
LION_SCALE = 0.2  # rate; its decay is as much larger, so that their product is AdamW's
SGD_SCALE = 20.0
PEERS = ("pytorch-optimizer>=4.1", "pytorch_optimizer")
SCHEDULE_FREE = ("schedulefree>=1.4", "schedulefree")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One inner optimizer.

    Attributes:
        build: function of `hpt.optimizers.build` that makes it, or `package.module:factory`.
        lr_scale: its learning rate over AdamW's.
        memory_steps: updates that its momentum averages over; a cycle is no shorter. None: as its groups say.
        what: one line for help and tables.
        package: what must be installed, and the module it brings; None if torch has it.
        no_jumps: why a jump makes no sense on it, "" if it does.
        has_schedule: it makes its own, and is given none.
    """

    build: str
    lr_scale: float
    what: str
    memory_steps: int | None = None
    package: tuple[str, str] | None = None
    no_jumps: str = ""
    has_schedule: bool = False


CATALOGUE: dict[str, Entry] = {
    "adamw": Entry(build="adamw", lr_scale=1.0, memory_steps=10, what="AdamW (arXiv:1711.05101)"),
    "sgd": Entry(build="sgd", lr_scale=SGD_SCALE, memory_steps=10, what="SGD with Nesterov momentum 0.9"),
    "muon": Entry(
        build="muon",
        lr_scale=1.0,
        memory_steps=20,
        what="Muon on hidden matrices, AdamW on the rest (arXiv:2502.16982)",
    ),
    "soap": Entry(build="soap", lr_scale=1.0, memory_steps=20, what="SOAP (arXiv:2409.11321)", package=PEERS),
    "ademamix": Entry(
        build="ademamix", lr_scale=1.0, memory_steps=10, what="AdEMAMix (arXiv:2409.03137)", package=PEERS
    ),
    "lion": Entry(build="lion", lr_scale=LION_SCALE, memory_steps=100, what="Lion (arXiv:2302.06675)", package=PEERS),
    "shampoo": Entry(
        build="shampoo", lr_scale=1.0, memory_steps=10, what="Shampoo, grafted (arXiv:2002.09018)", package=PEERS
    ),
    "adopt": Entry(build="adopt", lr_scale=1.0, memory_steps=10, what="ADOPT (arXiv:2411.02853)", package=PEERS),
    "mars": Entry(build="mars", lr_scale=1.0, memory_steps=20, what="MARS-AdamW (arXiv:2411.10438)", package=PEERS),
    "schedulefree": Entry(
        build="schedulefree",
        lr_scale=1.0,
        memory_steps=10,
        what="Schedule-Free AdamW (arXiv:2405.15682)",
        package=SCHEDULE_FREE,
        no_jumps="its weights are an average that step() makes anew from its own state, so a jump would be lost",
        has_schedule=True,
    ),
}


def find_entry(name: str) -> Entry:
    """The entry of that name, or one for `package.module:factory`.

    Raises:
        UsageError: there is none.
        PrerequisiteError: its package is not installed.
    """
    if ":" in name:
        return Entry(build=name, lr_scale=1.0, what=name)
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, CATALOGUE, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(CATALOGUE)}"
        raise UsageError(f"optimizer {name!r} is unknown; {hint} (your own: package.module:factory)")
    found = CATALOGUE[name]
    if found.package is not None and not _is_installed(found.package[1]):
        raise PrerequisiteError(
            f"optimizer {name} needs the package {found.package[0]}, which is not installed; "
            "pip install 'hybrid-predict-trainer[peers]'"
        )
    return found


def why_no_jumps(name: str) -> str:
    """Why a jump makes no sense on an optimizer, "" if it does; names are those of `find_entry`, and `OWN`."""
    return "" if name == OWN else find_entry(name).no_jumps


def makes_own_schedule(name: str) -> bool:
    """It is given no schedule; names are those of `find_entry`, and `OWN`."""
    return name != OWN and find_entry(name).has_schedule


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a module that was taken out by hand
        return False
