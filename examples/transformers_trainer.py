"""Jumps in a Hugging Face Trainer: a small Llama learns the sources of Python's standard library, byte by byte."""

import json
import random
import tempfile
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from hpt.integrations.transformers import add_jumps

LENGTH = 16

text = b"".join(Path(module.__file__ or "").read_bytes() for module in (json, tempfile, random))
rows = torch.tensor(list(text[: len(text) // LENGTH * LENGTH])).reshape(-1, LENGTH)
model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
    )
)

with tempfile.TemporaryDirectory() as folder:
    settings = TrainingArguments(folder, max_steps=300, learning_rate=3e-3, use_cpu=True, report_to="none")
    trainer = Trainer(model, settings, train_dataset=[{"input_ids": row, "labels": row} for row in rows])
    jumps = add_jumps(trainer)
    trainer.train()

told = jumps.summary()
print(f"{told['num_updates']} updates, {told['jumps_accepted']} jumps of {told['jumps_proposed']}; {told['why']}")
