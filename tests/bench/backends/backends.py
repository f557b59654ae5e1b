"""The training step of `src/main.rs` with PyTorch: `python tests/bench/backends/backends.py`."""

import statistics
import time

import torch
from torch import nn


def main():
    """Ten steps after a first one."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(384, 6, 1536, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    model = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x = torch.randn(32, 64, 384)
    seconds = []
    for step in range(11):
        begun = time.perf_counter()
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found = loss.item()
        if step > 0:
            seconds.append(time.perf_counter() - begun)
            print(f"{step}: loss {found:.4f}, {seconds[-1]:.3f} s")
    print(f"PyTorch {torch.__version__}: median {statistics.median(seconds):.3f} s on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
