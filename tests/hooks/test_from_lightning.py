"""What Lightning does to a model and its optimizer, without it."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

import hpt
from hpt.errors import ModelError


@pytest.mark.filterwarnings("ignore:.*FSDP.*", "ignore:.*NO_SHARD.*")
@pytest.mark.parametrize("use_orig_params", [False, True], ids=["flat", "original"])
def test_weights_that_fully_sharded_data_parallel_keeps_in_pieces_are_refused(
    tmp_path: Path, *, use_orig_params: bool
) -> None:
    """Lightning's strategy="fsdp" wraps its module, so what a callback names as the model has no wrapper around it."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        model = FullyShardedDataParallel(
            nn.Linear(4, 1), use_orig_params=use_orig_params, device_id=torch.device("cpu")
        )
        optimizer = torch.optim.AdamW(model.parameters())
        hpt.attach(optimizer, model=model.module)
        model(torch.ones(2, 4)).sum().backward()
        with pytest.raises(ModelError, match=r"is a piece of a sharded weight"):
            optimizer.step()
    finally:
        dist.destroy_process_group()
