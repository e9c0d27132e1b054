"""GPT-2 in its four published sizes, and a tiny one that keeps the vocabulary, for tests.

Sizes: Radford et al., "Language models are unsupervised multitask learners" (2019), table 2 (whose parameter
counts are known to be wrong; the released models have 124, 355, 774 and 1558 million). Peak learning rates:
Brown et al., arXiv:2005.14165, table 2.1, for the model of nearest size; they belong to batches of half a
million tokens and are not tuned for the small batches here.

No merge table is shipped, so text enters as byte ids 0..255 and the other 50,001 rows of the embedding are
only ever pushed down by the softmax. Speed and memory are those of GPT-2; losses are nats per byte, not per
BPE token.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from hpt.workloads.language import LanguageSetup, LanguageWorkload
from hpt.workloads.transformer import GPTShape

VOCABULARY = 50257
CONTEXT = 1024
VALIDATION_TOKENS = 2048  # a forward pass of the largest size over them takes a minute on two cores


@dataclass(frozen=True)
class GPT2Size:
    """One member of the family; `peak_lr` is AdamW's."""

    layers: int
    heads: int
    dim: int
    peak_lr: float

    def shape(self) -> GPTShape:
        """The model's sizes with the family's vocabulary and context."""
        return GPTShape(self.layers, self.heads, self.dim, VOCABULARY, CONTEXT)


SIZES = {
    "gpt2": GPT2Size(layers=12, heads=12, dim=768, peak_lr=6e-4),
    "gpt2-medium": GPT2Size(layers=24, heads=16, dim=1024, peak_lr=3e-4),
    "gpt2-large": GPT2Size(layers=36, heads=20, dim=1280, peak_lr=2.5e-4),
    "gpt2-xl": GPT2Size(layers=48, heads=25, dim=1600, peak_lr=2e-4),
    "gpt2-nano": GPT2Size(layers=2, heads=2, dim=32, peak_lr=1e-3),
}


class GPT2Text(LanguageWorkload):
    """Next-byte prediction by a member of the GPT-2 family.

    Args:
        name: a key of `SIZES`.
        seed: decides initial weights and batches.
        data: text file or folder; None for the standard library's sources.
        device: where the model and the batches live.
        batch_size: windows per batch.
        seq_len: predicted tokens per window, at most 1024.
        called: name in records, if it is not that of the size.
        validation_tokens: of the validation set.

    Raises:
        DataError: the data is missing, unreadable, or shorter than a few batches.
    """

    def __init__(  # noqa: PLR0913 (each a size that a test or a workload sets)
        self,
        name: str,
        *,
        seed: int,
        data: Path | None,
        device: torch.device,
        batch_size: int = 2,
        seq_len: int = 64,
        called: str | None = None,
        validation_tokens: int = VALIDATION_TOKENS,
    ) -> None:
        setup = LanguageSetup(
            name=called or name,
            shape=SIZES[name].shape(),
            batch_size=batch_size,
            seq_len=seq_len,
            peak_lr=SIZES[name].peak_lr,
            validation_tokens=validation_tokens,
            default_steps=100,
        )
        super().__init__(setup, seed=seed, data=data, device=device)
