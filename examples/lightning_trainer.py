"""Jumps in Lightning's Trainer: a small network learns the product of two sines from noisy samples."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hpt.integrations.lightning import Jumps


class Sines(LightningModule):
    """Two inputs, one output."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Mean squared error."""
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Any of torch's."""
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


torch.manual_seed(0)
points = 3.0 * torch.rand(64 * 200, 2)
heights = points.sin().prod(dim=1, keepdim=True) + 0.1 * torch.randn(len(points), 1)
jumps = Jumps()
trainer = Trainer(accelerator="cpu", max_epochs=3, callbacks=[jumps], logger=False, enable_checkpointing=False)
trainer.fit(Sines(), DataLoader(TensorDataset(points, heights), batch_size=64))

told = jumps.summary()
print(f"{told['num_updates']} updates, {told['jumps_accepted']} jumps of {told['jumps_proposed']}; {told['why']}")
