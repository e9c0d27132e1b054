"""One of several processes that train together: `trainer_rank.py FOLDER`; its place is in torchrun's variables.

The Trainer gives every other batch to the second process, and these are noise: by its own losses, which never fall, it
would not jump. Writes what it ended with to FOLDER/RANK.pt: weights, losses of its own last updates, and how often it
jumped.
"""

import os
import sys
from pathlib import Path
from typing import Any, cast

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
torch.set_num_threads(1)

from references.tiny_trainer import EARLY, WORDS, Row, rows, trainer, weights  # noqa: E402

from hpt.integrations.transformers import add_jumps  # noqa: E402

NUM_UPDATES = 75  # the last five belong to no whole cycle, so that their losses are still each process's own

BATCH = 4


def half_noise() -> list[Row]:
    """New rows for every update; of each two batches the second can be learned by nobody."""
    data = rows(num_rows=2 * BATCH * NUM_UPDATES)
    generator = torch.Generator().manual_seed(1)
    for place, row in enumerate(data):
        if place // BATCH % 2:
            row["labels"] = torch.randint(0, WORDS, row["labels"].shape, generator=generator)
    return data


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), os.environ["RANK"]
    run = trainer(folder, max_steps=NUM_UPDATES, per_device_train_batch_size=BATCH, ddp_backend="gloo")
    run.train_dataset = cast("Any", half_noise())
    jumps = add_jumps(run, EARLY)
    run.train()
    assert jumps._run is not None
    end = {
        "weights": weights(run.model),
        "losses": torch.stack([torch.as_tensor(row)[0] for row in jumps._run.readings.unread]),
        "num_processes": torch.tensor(torch.distributed.get_world_size()),
        "num_jumps": torch.tensor(jumps.summary()["jumps_accepted"]),
    }
    torch.save(end, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()
