"""Jumps in a Trainer of `pytorch_lightning`, which takes callbacks of its own class only.

from hpt.integrations.pytorch_lightning import Jumps
"""

from pytorch_lightning.callbacks import Callback

from hpt.integrations.fit_hooks import FitHooks


class Jumps(FitHooks, Callback):
    """Lets the weights that a fit trains jump; the arguments are those of `FitHooks`."""
