"""Jumps in a loop of Lightning Fabric: a small network learns the product of two sines from noisy samples."""

import torch
from lightning.fabric import Fabric
from torch import nn

import hpt
from hpt import HybridConfig

NUM_STEPS = 600

fabric = Fabric(accelerator="cpu")
fabric.seed_everything(0)
model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
module, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=3e-3))
config = HybridConfig(predictor="prior", total_steps=NUM_STEPS)
jumps = hpt.attach(optimizer.optimizer, config, model=model)  # the optimizer inside Fabric's

for _ in range(NUM_STEPS):
    points = 3.0 * torch.rand(64, 2)
    heights = points.sin().prod(dim=1, keepdim=True) + 0.1 * torch.randn(64, 1)
    loss = nn.functional.mse_loss(module(points), heights)
    fabric.backward(loss)
    jumps.observe(loss)
    optimizer.step()  # at the end of a cycle the weights jump here
    optimizer.zero_grad()

told = jumps.summary()
print(f"{told['num_updates']} updates, {told['jumps_accepted']} jumps of {told['jumps_proposed']}; {told['why']}")
