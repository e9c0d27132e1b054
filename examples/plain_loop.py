"""Jumps in a loop of your own: a small network learns the product of two sines from noisy samples."""

import torch
from torch import nn

import hpt
from hpt import HybridConfig

NUM_STEPS = 600

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
jumps = hpt.attach(optimizer, HybridConfig(predictor="prior", total_steps=NUM_STEPS), model=model)

for _ in range(NUM_STEPS):
    points = 3.0 * torch.rand(64, 2)
    heights = points.sin().prod(dim=1, keepdim=True) + 0.1 * torch.randn(64, 1)
    loss = nn.functional.mse_loss(model(points), heights)
    loss.backward()
    jumps.observe(loss)
    optimizer.step()  # at the end of a cycle the weights jump here
    optimizer.zero_grad()

told = jumps.summary()
print(f"{told['num_updates']} updates, {told['jumps_accepted']} jumps of {told['jumps_proposed']}; {told['why']}")
