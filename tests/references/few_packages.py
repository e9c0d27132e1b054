"""`hpt.attach` where nothing is installed but torch, numpy, psutil and safetensors; run in a process of its own."""

import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from types import ModuleType

ALLOWED = ("torch", "numpy", "psutil", "safetensors")


def needed_by(names: Sequence[str]) -> set[str]:
    """Distributions, and what they cannot be installed without, in lower case with hyphens."""
    found, todo = set[str](), list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        found.add(name)
        todo += [re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line]
    return found


class Finder:
    """Of modules, in place of Python's own: finds none that another installed distribution brought."""

    def __init__(self) -> None:
        allowed = needed_by(ALLOWED)
        owners = {
            module: {re.sub(r"[-_.]+", "-", one).lower() for one in names}
            for module, names in packages_distributions().items()
        }
        self.hidden = {module for module, names in owners.items() if not names & allowed} - {"hpt"}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None where it is not to be found."""
        hidden = fullname.partition(".")[0] in self.hidden
        return None if hidden else PathFinder.find_spec(fullname, path, target)


def main() -> None:
    """A few hundred updates with jumps, by the prior and by the RSSM, saved and loaded."""
    finder = Finder()
    assert {"pydantic", "scipy", "click", "rich", "pandas"} <= finder.hidden, finder.hidden
    assert not {"torch", "numpy", "psutil", "safetensors", "sympy", "typing_extensions"} & finder.hidden
    assert not finder.hidden & set(sys.modules), finder.hidden & set(sys.modules)
    sys.meta_path[sys.meta_path.index(PathFinder) :] = [finder]

    import torch

    import hpt

    torch.set_num_threads(1)
    for predictor in ("prior", "rssm"):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
        target = torch.randn(8, 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        config = hpt.HybridConfig(predictor=predictor, total_steps=400, warmup_steps=100, gate="always")
        jumps = hpt.attach(optimizer, config, model=model)
        for _ in range(300):
            x = torch.randn(32, 8)
            loss = (model(x) - x @ target).square().mean()
            loss.backward()
            jumps.observe(loss)
            optimizer.step()
            optimizer.zero_grad()
        assert jumps.summary()["jumps_accepted"] > 5, jumps.summary()
        jumps.load_state_dict(jumps.state_dict())
    ours = sorted(one for one in sys.modules if one.partition(".")[0] in finder.hidden)
    assert not ours, ours


if __name__ == "__main__":
    main()
