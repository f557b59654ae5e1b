"""The reference numbers of optimizers and of learning rates over time."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from open_clip_train.scheduler import cosine_lr
from timm.optim import Lamb
from torch.optim import SGD, AdamW, Optimizer
from torch.optim import Adafactor as CappedAdafactor
from torch.optim.lr_scheduler import CosineAnnealingLR
from transformers.optimization import Adafactor

import reference

STEPS = 10
SHAPES = {"matrix": (6, 5), "vector": (7,), "number": (1,)}


def groups(parameters: list[torch.Tensor], decay: float) -> list[dict]:
    """CLIP's rule: only what has two dimensions decays."""
    return [{"params": [tensor], "weight_decay": decay if tensor.ndim >= 2 else 0.0} for tensor in parameters]


OPTIMIZERS: dict[str, Callable[[list[torch.Tensor]], Optimizer]] = {
    "adamw": lambda tensors: AdamW(tensors, lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    "adamw-clip": lambda tensors: AdamW(groups(tensors, 0.2), lr=0.01, betas=(0.9, 0.98), eps=1e-6),
    "lamb": lambda tensors: Lamb(tensors, lr=0.01, betas=(0.9, 0.999), eps=1e-4, weight_decay=0.05, max_grad_norm=None),
    "adafactor": lambda tensors: Adafactor(tensors, lr=0.01, weight_decay=0.05, relative_step=False, scale_parameter=False),
    "adafactor-relative": lambda tensors: CappedAdafactor(tensors, lr=0.4, weight_decay=0.05),
}


def optimizers(output: Path):
    """What each optimizer makes of the same gradients, after every step."""
    noise = torch.Generator().manual_seed(71)
    begin = {name: torch.randn(shape, generator=noise) for name, shape in SHAPES.items()}
    # Of a norm of zero no ratio can be taken.
    begin["number"].zero_()
    slopes = {name: torch.randn(STEPS, *shape, generator=noise) for name, shape in SHAPES.items()}
    # As gradients differ in size from layer to layer.
    slopes["vector"] *= 0.01
    kept = reference.prefixed("start", begin.items()) | reference.prefixed("gradient", slopes.items())
    for name, make in OPTIMIZERS.items():
        parameters = {key: tensor.double().requires_grad_() for key, tensor in begin.items()}
        optimizer = make(list(parameters.values()))
        after = {key: [] for key in parameters}
        for step in range(STEPS):
            for key, tensor in parameters.items():
                tensor.grad = slopes[key][step].double()
            optimizer.step()
            for key, tensor in parameters.items():
                after[key].append(tensor.detach().clone())
        kept |= {f"{name}.{key}": torch.stack(values) for key, values in after.items()}
    reference.save(output / "optimizers.safetensors", kept)


def schedules(output: Path):
    """The learning rate of every step."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    warmup, steps = 4, 24
    adjust = cosine_lr(optimizer, 1e-3, warmup, steps)
    warm = {"lr": 1e-3, "warmup_steps": warmup, "steps": steps, "rates": [adjust(step) for step in range(steps)]}

    per_epoch, epochs = 6, 9
    start, peak, least, decay = 1e-6, 3e-4, 1.5e-4, 0.9
    rates = []
    for step in range(per_epoch * epochs):
        epoch = step // per_epoch
        rate = max(least, peak * decay**epoch)
        rates.append(min(peak, start + (peak - start) * step / warmup) if epoch == 0 else rate)
    stepwise = {
        "lr": peak, "warmup_lr": start, "min_lr": least, "decay": decay,
        "warmup_steps": warmup, "steps_per_epoch": per_epoch, "epochs": epochs, "rates": rates,
    }

    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1e-5)
    scheduler = CosineAnnealingLR(optimizer, epochs, eta_min=1e-7)
    rates = []
    for _ in range(epochs):
        rates += per_epoch * scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    cosine = {"lr": 1e-5, "min_lr": 1e-7, "steps_per_epoch": per_epoch, "epochs": epochs, "rates": rates}
    file = output / "schedules.json"
    file.write_text(json.dumps({"warmup-cosine": warm, "step-decay": stepwise, "epoch-cosine": cosine}, indent=1) + "\n")
