"""The reference numbers of the training steps of CLIP, CoCa and FILIP."""

from pathlib import Path

import torch

import coca as contrastive_captioner
import dual
import reference

START, END = 62, 63

CLIP = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 16,
        "patch_size": 8,
        "width": 32,
        "layers": 2,
        "head_width": 16,
        "mlp_ratio": 2.0,
    },
    "text_cfg": {
        "context_length": 8,
        "vocab_size": 64,
        "width": 32,
        "layers": 2,
        "heads": 2,
    },
}

COCA = {
    "embed_dim": 24,
    "vision_cfg": {
        "image_size": 16,
        "patch_size": 8,
        "width": 32,
        "layers": 2,
        "head_width": 16,
        "mlp_ratio": 2.0,
        "attentional_pool": True,
        "attn_pooler_queries": 5,
        "attn_pooler_heads": 2,
        "output_tokens": True,
    },
    "text_cfg": CLIP["text_cfg"] | {"width": 24, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {
        "context_length": 8,
        "vocab_size": 64,
        "width": 24,
        "layers": 2,
        "heads": 2,
    },
}

# Poolers in cascade need all widths equal.
PAPER = COCA | {
    "embed_dim": 32,
    "vision_cfg": COCA["vision_cfg"] | {"attentional_pool": "cascade"},
    "text_cfg": COCA["text_cfg"] | {"width": 32, "layers": 1, "correct_cls_mask": True},
    "multimodal_cfg": COCA["multimodal_cfg"] | {"width": 32},
}

FILIP = CLIP | {"vision_cfg": CLIP["vision_cfg"] | {"patch_size": 4}}


def batch(seed: int) -> dict[str, torch.Tensor]:
    """Pictures, and texts of which the first has no pads."""
    tokens = reference.texts(START, END, range(1, START), [8, 6, 5, 7], 8, seed)
    return {
        "pixel_values": reference.pictures(seed),
        "input_ids": tokens,
        "attention_mask": (tokens != 0).long(),
    }


def write(folder: Path, model: torch.nn.Module, losses: dict, outputs: dict):
    """What is expected of `model`, whose float32 weights are written already."""
    reference.apart("image features", outputs["image_features"])
    reference.apart("text features", outputs["text_features"])
    expected = reference.prefixed("loss", losses.items()) | reference.prefixed("out", outputs.items())
    reference.save(folder / "expected.safetensors", expected | reference.gradients(model, losses["total"]))


def start(folder: Path, config: dict, model: torch.nn.Module, inputs: dict) -> torch.nn.Module:
    """Writes all that a step starts from, and returns the model in float64."""
    reference.save_config(folder / "config.json", config)
    reference.save(folder / "weights.safetensors", reference.weights(model))
    reference.save(folder / "inputs.safetensors", inputs)
    return model.double()


def features(outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Image and text features of what an open_clip model returns."""
    return {name: outputs[name] for name in ("image_features", "text_features")}


def clip(output: Path):
    """CLIP's step with each loss, on the same weights."""
    inputs = batch(41)
    for name, logit_bias in (("clip", None), ("clip-sigmoid", -1.5)):
        model = dual.clip(CLIP, logit_bias)
        reference.randomise(model, 42)
        model = start(output / name, CLIP, model, inputs)
        outputs = model(inputs["pixel_values"].double(), inputs["input_ids"])
        loss = dual.contrastive(outputs)
        write(output / name, model, {"contrastive": loss, "total": loss}, features(outputs))


def coca(output: Path):
    """open_clip's CoCa with the mask of all published weights, and with the correct one, on the same weights; the paper's."""
    inputs = batch(51)
    correct = COCA | {"text_cfg": COCA["text_cfg"] | {"correct_cls_mask": True}}
    for name, config, make in (
        ("coca", COCA, contrastive_captioner.coca),
        ("coca-correct-mask", correct, contrastive_captioner.coca),
        ("coca-paper", PAPER, contrastive_captioner.PaperCoca),
    ):
        model = make(config)
        reference.randomise(model, 52)
        model = start(output / name, config, model, inputs)
        outputs = model(inputs["pixel_values"].double(), inputs["input_ids"])
        losses = contrastive_captioner.losses(model, outputs)
        write(output / name, model, losses, features(outputs) | {"logits": outputs["logits"]})


def filip(output: Path):
    """FILIP's step on all tokens and on a quarter of them: four of 16 of a picture, one or two of a text."""
    folder, inputs = output / "filip", batch(61)
    model = dual.clip(FILIP)
    reference.randomise(model, 62)
    model = start(folder, FILIP, model, inputs)
    tokens, mask = inputs["input_ids"], inputs["attention_mask"]
    expected = {}
    for prefix, kept in (("", 1.0), ("kept.", 0.25)):
        image, text = dual.token_features(model, inputs["pixel_values"].double(), tokens)
        of_images, of_texts = dual.late(image, text, mask, model.logit_scale.exp(), kept)
        total = (of_images + of_texts) / 2
        found = reference.gradients(model, total) | {"loss.image": of_images, "loss.text": of_texts, "loss.total": total}
        expected |= {prefix + name: tensor for name, tensor in found.items()}
    expected |= {"out.image_tokens": image, "out.text_tokens": text}
    reference.save(folder / "expected.safetensors", expected)
