"""Writes a transformers BLIP as a checkpoint of the original BLIP code: its names, and all that its training leaves in."""

from collections import OrderedDict
from pathlib import Path

import torch

VISION = [
    ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
    ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
    ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
    ("vision_model.encoder.layers", "visual_encoder.blocks"),
    ("vision_model.post_layernorm", "visual_encoder.norm"),
    ("self_attn.projection", "attn.proj"),
    ("self_attn.qkv", "attn.qkv"),
    ("layer_norm1", "norm1"),
    ("layer_norm2", "norm2"),
]


def original_name(name: str) -> str:
    """The original name of a transformers tensor. Text names are the same in both."""
    if name.startswith("vision_model."):
        for theirs, original in VISION:
            name = name.replace(theirs, original)
    return name


def save(model, path: Path, dtype: torch.dtype):
    """Writes `{model, optimizer, config, epoch}` with the weights under `model`."""
    weights = OrderedDict(
        (original_name(name), tensor.to(dtype) if tensor.is_floating_point() else tensor)
        for name, tensor in model.state_dict().items()
    )
    positions = model.config.text_config.max_position_embeddings
    if "itm_head.weight" in weights:
        weights["text_encoder.embeddings.position_ids"] = torch.arange(positions)[None]
        noise = torch.Generator().manual_seed(0)
        width = model.config.projection_dim
        weights["temp"] = torch.tensor(0.05)
        for name in ("image_queue", "text_queue"):
            weights[name] = torch.randn(width, 64, generator=noise)
        weights["idx_queue"] = torch.full((1, 64), -100)
        weights["ptr_queue"] = torch.zeros(1, dtype=torch.long)
        for name in ("visual_encoder.norm.weight", "vision_proj.weight", "text_encoder.embeddings.LayerNorm.bias"):
            momentum = name.replace("encoder.", "encoder_m.").replace("proj.", "proj_m.")
            weights[momentum] = torch.randn(weights[name].shape, generator=noise)
    else:
        weights["text_decoder.bert.embeddings.position_ids"] = torch.arange(positions)[None]
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], lr=1e-5, weight_decay=0.05)
    parameter.grad = torch.ones(3)
    optimizer.step()
    config = {"image_size": model.config.vision_config.image_size, "vit": "base", "prompt": "a picture of ", "init_lr": 1e-5}
    torch.save({"model": weights, "optimizer": optimizer.state_dict(), "config": config, "epoch": 4}, path)
