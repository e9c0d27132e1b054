"""Jumps in a loop of accelerate, two micro-batches an update: a small network learns the product of two sines."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hpt
from hpt import HybridConfig

torch.manual_seed(0)
points = 3.0 * torch.rand(64 * 400, 2)
heights = points.sin().prod(dim=1, keepdim=True) + 0.1 * torch.randn(len(points), 1)
batches = DataLoader(TensorDataset(points, heights), batch_size=64)
model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
inside = torch.optim.AdamW(model.parameters(), lr=3e-3)

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
module, optimizer, batches = accelerator.prepare(model, inside, batches)
total_steps = 3 * len(batches) // accelerator.gradient_accumulation_steps
jumps = hpt.attach(inside, HybridConfig(predictor="prior", total_steps=total_steps), model=model)

for _ in range(3):
    for x, y in batches:
        with accelerator.accumulate(module):
            loss = nn.functional.mse_loss(module(x), y)
            accelerator.backward(loss)
            jumps.observe(loss / accelerator.gradient_accumulation_steps)  # as it was back-propagated
            optimizer.step()  # at the end of a cycle the weights jump here
            optimizer.zero_grad()

told = jumps.summary()
print(f"{told['num_updates']} updates, {told['jumps_accepted']} jumps of {told['jumps_proposed']}; {told['why']}")
