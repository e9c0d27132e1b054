"""attached_hf.json of `scripts/measure_attached.py`."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from hpt.documents import Finite, Size, Version1
from hpt_reports.contents.origin import Stored


class _Run(TypedDict):
    arm: str
    seed: int
    loss: Finite


class Attached(Stored):
    """Validation losses of Hugging Face's Trainer without and with jumps, and of HybridTrainer."""

    schema_version: Version1
    steps: Size
    losses: Annotated[list[_Run], Field(min_length=1)]
