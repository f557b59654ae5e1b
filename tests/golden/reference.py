"""A folder of reference numbers for the trainer: a random model, its inputs, and what PyTorch makes of them.

Weights and inputs are float32. PyTorch computes in float64 and what it answers is rounded once, so that a difference is
the trainer's.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

# A key's bias adds the same to every score of a query, and softmax does not see it: its gradient is zero but for rounding.
UNSEEN = ("key.bias", "k_proj.bias")


BATCH = 4


def texts(first: int, last: int, words: range, lengths: list[int], width: int, seed: int) -> Tensor:
    """Random token ids [B,T] of the given lengths between two marks, padded with 0."""
    noise = torch.Generator().manual_seed(seed)
    rows = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = torch.randint(words.start, words.stop, (length,), generator=noise)
        row[0], row[length - 1] = first, last
    return rows


def pictures(seed: int, side: int = 16) -> Tensor:
    """Random pixels [B,3,S,S], already normalised."""
    return torch.randn(BATCH, 3, side, side, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def randomise(model: nn.Module, seed: int, attention: float = 2.0):
    """Random weights of which nothing vanishes: norms and biases too, and attention sharp enough to look somewhere."""
    noise = torch.Generator().manual_seed(seed)
    for name, tensor in sorted(model.named_parameters()):
        if tensor.ndim == 0:
            continue
        norm = "norm" in name.lower() or ".ln_" in f".{name}"
        if norm:
            values = torch.randn(tensor.shape, generator=noise) * 0.1 + (1.0 if name.endswith("weight") else 0.0)
        elif tensor.ndim == 1 or "embed" in name or name.endswith("query"):
            values = torch.randn(tensor.shape, generator=noise) * 0.3
        else:
            fan = tensor.shape[0] if name.endswith(("proj", "projection")) else math.prod(tensor.shape[1:])
            values = torch.randn(tensor.shape, generator=noise) * fan**-0.5
        if any(part in name for part in ("query.weight", "key.weight", "in_proj_weight", "q_proj_weight", "k_proj_weight", "qkv.weight")):
            values *= attention
        tensor.copy_(values)


def apart(name: str, features: Tensor):
    """Features of different pictures must differ, or equal numbers would prove nothing."""
    nearest = torch.pdist(features).min().item()
    assert nearest > 0.05, f"{name}: two of them are only {nearest} apart"


def gradients(model: nn.Module, total: Tensor) -> dict[str, Tensor]:
    """The gradient of `total` for every parameter by name, tied ones once, none of them zero."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(total, parameters)
    for name, gradient in zip(names, found, strict=True):
        assert gradient.isfinite().all(), f"the gradient of {name} is not finite"
        assert gradient.norm() > 1e-5 or name.endswith(UNSEEN), f"{name} takes no part: gradient {gradient.norm()}"
    return {f"grad.{name}": gradient for name, gradient in zip(names, found, strict=True)}


def save(path: Path, tensors: dict[str, Tensor]):
    """Writes float64 as float32, and everything else as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).detach().clone().contiguous()
        for name, tensor in sorted(tensors.items())
    }
    save_file(rows, path)
    path.chmod(0o644)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The parameters of a model by name, tied ones once."""
    return dict(model.named_parameters())


def save_config(path: Path, config: dict):
    """Writes a configuration."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=1) + "\n")


def double(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers in float64."""
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def prefixed(prefix: str, tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The same tensors with a prefix to their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors}
