"""A `transformers.Trainer` so small that a hundred updates take a second, and settings under which it jumps early."""

from pathlib import Path
from typing import Any, cast

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from hpt import HybridConfig

BATCH, NUM_ROWS, NUM_UPDATES = 8, 64, 120
UPDATES_AN_EPOCH = NUM_ROWS // BATCH
EARLY = HybridConfig(predictor="prior", full_steps=10, warmup_steps=40)
WORDS = 32

Row = dict[str, torch.Tensor]


def rows(seed: int = 0, num_rows: int = NUM_ROWS) -> list[Row]:
    """Sequences that a model can learn: each word is the one before and a step that the sequence keeps to."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(0, WORDS, (num_rows, 1), generator=generator)
    step = torch.randint(1, 4, (num_rows, 1), generator=generator)
    words = (first + step * torch.arange(8)) % WORDS
    return [{"input_ids": one, "labels": one.clone()} for one in words]


def model(dropout: float = 0.0) -> LlamaForCausalLM:
    """A Llama of one layer, the same every time."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=WORDS,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=8,
            attention_dropout=dropout,
        )
    )


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    """On the CPU, reporting to nobody, batches in order."""
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_strategy": "no",
        "save_strategy": "no",
        "dataloader_pin_memory": False,
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": BATCH,
        "max_steps": NUM_UPDATES,
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "optim": "adamw_torch",
        "remove_unused_columns": False,
    }
    return TrainingArguments(**{**settings, **changes})


def trainer(folder: Path, network: torch.nn.Module | None = None, **changes: Any) -> Trainer:
    """Over `rows`, with these changes to its arguments."""
    data, held_out = cast("Any", rows()), cast("Any", rows(1, BATCH))
    return Trainer(network or model(), arguments(folder, **changes), train_dataset=data, eval_dataset=held_out)


def weights(of: torch.nn.Module | None) -> torch.Tensor:
    """All of them, in a row."""
    assert of is not None
    return torch.cat([one.detach().flatten() for one in of.parameters()])
