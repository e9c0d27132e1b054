"""What Hugging Face's Trainer gains by `add_jumps` on byte-gpt: the loss without, with, and by HybridTrainer.

    python scripts/measure_attached.py --seeds 0,1,2 --out runs/attached_hf.json

The workload's model, batches, optimizer, schedule, clipping and validation set are those of `hpt compare`; Hugging
Face's Trainer makes the loop. Finished runs are kept in the file, and the same command goes on where it was stopped.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from hpt import HybridConfig, HybridTrainer
from hpt.integrations.transformers import add_jumps
from hpt.jsonfiles import write_json
from hpt.machine import describe_machine, utc_now
from hpt.workloads.registry import load_workload
from hpt.workloads.workload import Workload

STEPS = 1100
ARMS = ("hf", "hf-jumps", "hybrid-prior", "hybrid")
"""Hugging Face's Trainer without and with jumps; HybridTrainer with the same settings, and with its default."""

PREDICTORS = {"hybrid-prior": "prior", "hybrid": "rssm"}


class Batches(Dataset[int]):
    """Numbers of batches, in order; the workload makes each where it is used."""

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> int:
        return index


class ByWorkload(Trainer):
    """Hugging Face's Trainer on a workload's loss.

    Attributes:
        workload: gives batches and loss.
    """

    workload: Workload

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The workload's loss on the batch of that number."""
        del args, kwargs
        return self.workload.loss(model, self.workload.batch(inputs["number"]))


def by_hugging_face(workload: Workload, *, jumps: bool) -> torch.nn.Module:
    """The trained model."""
    model = workload.build_model()
    optimizer = workload.build_optimizer(model)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=STEPS,
            per_device_train_batch_size=1,
            max_grad_norm=workload.clip_norm or 0.0,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            logging_strategy="no",
            remove_unused_columns=False,
        )
        trainer = ByWorkload(
            model,
            arguments,
            data_collator=lambda items: {"number": items[0]},
            train_dataset=Batches(),
            optimizers=(optimizer, cast("LambdaLR", workload.build_scheduler(optimizer, STEPS))),
        )
        trainer._get_train_sampler = lambda *_: None  # type: ignore[method-assign]  # noqa: SLF001  # in order
        trainer.workload = workload
        if jumps:
            add_jumps(trainer, HybridConfig(total_steps=STEPS))
        trainer.train()
    return model


def by_hybrid_trainer(workload: Workload, predictor: str) -> torch.nn.Module:
    """The trained model."""
    model = workload.build_model()
    optimizer = workload.build_optimizer(model)
    config = HybridConfig.from_dict(
        {"predictor": predictor, "total_steps": STEPS, "update": {"clip_norm": workload.clip_norm}}
    )
    trainer = HybridTrainer(model, optimizer, workload.loss, config, workload.build_scheduler(optimizer, STEPS))
    while trainer.num_updates < STEPS:
        trainer.step(workload.batch(trainer.num_calls))
    return model


def loss_of(arm: str, seed: int) -> float:
    """Validation loss of one run, nats."""
    torch.manual_seed(seed)
    workload = load_workload("byte-gpt", seed=seed, data=None, device=torch.device("cpu"))
    if arm in PREDICTORS:
        model = by_hybrid_trainer(workload, PREDICTORS[arm])
    else:
        model = by_hugging_face(workload, jumps=arm == "hf-jumps")
    return workload.validation_loss(model)


def main() -> None:
    """Run what the file has not yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "schema_version": 1,
        "kind": "attached",
        "what": "validation loss of byte-gpt with AdamW, in nats, by arm and seed",
        "steps": STEPS,
        "losses": [],
        "machine": describe_machine(device="cpu", threads=1),
    }
    if options.out.exists():
        document = json.loads(options.out.read_text(encoding="utf-8"))
    for seed in map(int, options.seeds.split(",")):
        for arm in options.arms.split(","):
            if any((one["arm"], one["seed"]) == (arm, seed) for one in document["losses"]):
                continue
            document["losses"].append({"arm": arm, "seed": seed, "loss": loss_of(arm, seed)})
            write_json(options.out, document | {"finished_at": utc_now()})
            print(document["losses"][-1], flush=True)


if __name__ == "__main__":
    main()
