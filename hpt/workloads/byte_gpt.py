"""A small byte-level GPT on real text, sized so that a step takes tens of milliseconds on two CPU cores.

The model is GPT-2 in small (`transformer.py`) with a vocabulary of 256 bytes. GPT-2's initial standard
deviation of 0.02 belongs to width 768; here it is scaled with 1/sqrt(width), so that logits start with the
same spread.

Measured, default sizes, 600 updates, one seed, validation loss by learning rate: 4e-3 1.684, 5.6e-3 1.653, 8e-3
1.675, 1.13e-2 1.646, 1.6e-2 1.724. The middle three are not even in order, so one seed does not tell them apart;
the smallest of them is the default. Other lengths were not measured.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from hpt.workloads.language import LanguageSetup, LanguageWorkload
from hpt.workloads.transformer import INIT_STD, GPTShape

VALIDATION_TOKENS = 131_072


@dataclass(frozen=True)
class ByteGPTSize:
    """Sizes of a byte-level GPT and of its batch; the learning rate belongs to the sizes."""

    name: str = "byte-gpt"
    dim: int = 64
    layers: int = 2
    heads: int = 4
    context: int = 32
    batch_size: int = 64
    peak_lr: float = 5.6e-3
    default_steps: int = 600


# A quarter of the batch, where the gradient's noise is larger; same model and learning rate.
SMALL_BATCH = ByteGPTSize(name="byte-gpt-b16", batch_size=16, default_steps=2000)
# Another width and context, for which nothing was tuned: a check on what was found with the default size.
VARIANT = ByteGPTSize(name="byte-gpt-variant", dim=96, context=24, peak_lr=4e-3)
# A million weights, about ten minutes on two CPU cores. Measured, 300 updates, one seed, validation loss by learning
# rate: 2.8e-3 1.850, 4e-3 1.823, 5.6e-3 1.992; the best is the default, other lengths were not measured.
MILLION = ByteGPTSize(
    name="byte-gpt-1m", dim=128, layers=5, heads=4, context=64, batch_size=32, peak_lr=4e-3, default_steps=1500
)
# Ten million weights, for a GPU or hours on a CPU. The learning rate is a guess, that of a million weights by the ratio
# of widths, to the nearest step of sqrt(2); nothing was measured.
TEN_MILLION = ByteGPTSize(
    name="byte-gpt-10m", dim=384, layers=6, heads=6, context=128, batch_size=32, peak_lr=1.4e-3, default_steps=3000
)
# 25 million weights, for a GPU; the learning rate is a guess between those of the default size and of GPT-2.
LARGE = ByteGPTSize(
    name="byte-gpt-large", dim=512, layers=8, heads=8, context=256, batch_size=64, peak_lr=1e-3, default_steps=3000
)
SIZES = {size.name: size for size in (ByteGPTSize(), SMALL_BATCH, VARIANT, MILLION, TEN_MILLION, LARGE)}


class ByteGPT(LanguageWorkload):
    """Next-byte prediction; `ByteGPT(size=ByteGPTSize(dim=32), ...)` makes other sizes.

    Raises:
        DataError: the data is missing, unreadable, or shorter than a few batches.
    """

    def __init__(self, size: ByteGPTSize | None = None, *, seed: int, data: Path | None, device: torch.device) -> None:
        size = size or ByteGPTSize()
        super().__init__(_setup(size), seed=seed, data=data, device=device)


def _setup(size: ByteGPTSize) -> LanguageSetup:
    shape = GPTShape(
        layers=size.layers,
        heads=size.heads,
        dim=size.dim,
        vocabulary=256,
        context=size.context,
        init_std=INIT_STD * math.sqrt(768 / size.dim),
    )
    return LanguageSetup(
        name=size.name,
        shape=shape,
        batch_size=size.batch_size,
        seq_len=size.context,
        peak_lr=size.peak_lr,
        validation_tokens=VALIDATION_TOKENS,
        default_steps=size.default_steps,
    )
