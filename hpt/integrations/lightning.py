"""Jumps in a Trainer of `lightning`.

from hpt.integrations.lightning import Jumps

trainer = Trainer(callbacks=[Jumps()])
"""

from lightning.pytorch.callbacks import Callback

from hpt.integrations.fit_hooks import FitHooks


class Jumps(FitHooks, Callback):
    """Lets the weights that a fit trains jump; the arguments are those of `FitHooks`."""
