"""The reference numbers of BLIP's training steps."""

from pathlib import Path

import torch
from transformers import BlipConfig

import med
import reference

BLIP = {
    "projection_dim": 16,
    "vision_config": {
        "image_size": 16,
        "patch_size": 8,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-5,
    },
    "text_config": {
        "vocab_size": 64,
        "max_position_embeddings": 16,
        "hidden_size": 32,
        "encoder_hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 0,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "eos_token_id": 3,
        "bos_token_id": 62,
        "enc_token_id": 63,
    },
}


def queue(seed: int, width: int = 16, length: int = 8) -> torch.Tensor:
    """Random columns [D,Q] of length 1."""
    return torch.nn.functional.normalize(torch.randn(width, length, generator=torch.Generator().manual_seed(seed)), dim=0)


def blip_inputs(seed: int, momentum: med.Momentum) -> dict[str, torch.Tensor]:
    """A batch, the momentum model and the queue before the step, and the negatives that chance chose."""
    tokens = reference.texts(2, 3, range(4, 62), [8, 6, 5, 7], 8, seed)
    return {
        "pixel_values": reference.pictures(seed),
        "input_ids": tokens,
        "attention_mask": (tokens != 0).long(),
        "alpha": torch.tensor(0.4 * 0.35),
        "image_queue": queue(seed + 1),
        "text_queue": queue(seed + 2),
        "queue_pointer": torch.tensor(4),
        **reference.prefixed("momentum", momentum.named_parameters()),
    }


def blip_matching(model: med.Filter, inputs: dict[str, torch.Tensor], config: BlipConfig):
    """One step of contrast and matching from the stored state; with the momentum model and queue as they are after it."""
    inputs = reference.double(inputs)
    momentum = med.Momentum(config).double()
    momentum.load_state_dict({name: inputs[f"momentum.{name}"] for name, _ in momentum.named_parameters()})
    entries = med.Queue(
        inputs["image_queue"].clone(), inputs["text_queue"].clone(), int(inputs["queue_pointer"]),
        inputs["queue_ids"].clone() if "queue_ids" in inputs else None,
    )

    def given(name: str) -> med.Draw:
        def choose(weights: torch.Tensor) -> torch.Tensor:
            chosen = inputs[name]
            assert (weights.gather(1, chosen[:, None]) > 0).all(), f"chance cannot choose {name}"
            return chosen

        return choose

    result = med.matching(
        model, momentum, entries, inputs["pixel_values"], inputs["input_ids"], inputs["attention_mask"],
        inputs["alpha"], ids=inputs.get("ids"), draw_image=given("negative_image"), draw_text=given("negative_text"),
    )
    reference.apart("image features", result.outputs["image_feat"])
    reference.apart("text features", result.outputs["text_feat"])
    result.outputs |= {
        "image_queue": entries.image, "text_queue": entries.text, "queue_pointer": torch.tensor(entries.pointer)
    }
    if entries.ids is not None:
        result.outputs["queue_ids"] = entries.ids
    return result, momentum


def blip_pretrain(output: Path):
    """One pretraining step with every loss; then the same for each way of sharing text parameters."""
    folder, config = output / "blip-pretrain", BlipConfig(**BLIP)
    model, momentum = med.Blip(config), med.Momentum(config)
    reference.randomise(model, 11)
    reference.randomise(momentum, 12)
    inputs = blip_inputs(13, momentum) | {
        "negative_image": torch.tensor([1, 0, 3, 2]),
        "negative_text": torch.tensor([2, 3, 0, 0]),
    }
    reference.save_config(folder / "config.json", BLIP)
    reference.save(folder / "weights.safetensors", reference.weights(model))
    reference.save(folder / "inputs.safetensors", inputs)
    losses, outputs, after = pretraining_step(model.double(), inputs, config)
    expected = reference.prefixed("loss", losses.items()) | reference.prefixed("out", outputs.items())
    # The large ones would only repeat the same rule.
    small = [(name, tensor) for name, tensor in after.named_parameters() if tensor.numel() <= 600]
    expected |= reference.prefixed("momentum", small) | reference.gradients(model, losses["total"])
    reference.save(folder / "expected.safetensors", expected)

    folder = output / "blip-sharing"
    apart = med.Blip(config, "none")
    reference.randomise(apart, 14)
    reference.save_config(folder / "config.json", BLIP)
    reference.save(folder / "weights.safetensors", reference.weights(apart))
    expected = {}
    for sharing in med.SHARING:
        model = med.Blip(config, sharing)
        # Parameters in common have the encoder's name here, and so its values.
        model.load_state_dict({name: dict(apart.named_parameters())[name] for name, _ in model.named_parameters()}, strict=False)
        losses, _, _ = pretraining_step(model.double(), inputs, config)
        norms = {name: grad.norm() for name, grad in reference.gradients(model, losses["total"]).items()}
        expected |= reference.prefixed(f"{sharing}.loss", losses.items())
        expected |= {f"{sharing}.{name.replace('grad.', 'grad_norm.', 1)}": norm for name, norm in norms.items()}
        expected[f"{sharing}.grad_norm"] = torch.stack(list(norms.values())).norm()
        expected[f"{sharing}.parameters"] = torch.tensor(sum(tensor.numel() for tensor in model.parameters()))
    reference.save(folder / "expected.safetensors", expected)


def pretraining_step(model: med.Blip, inputs: dict, config: BlipConfig):
    """All three losses with their sum, the outputs, and the momentum model after the step."""
    matched, momentum = blip_matching(model, inputs, config)
    embeds = matched.outputs["image_embeds"]
    lm, logits = med.captioning(model.text_decoder, embeds, inputs["input_ids"], inputs["attention_mask"])
    losses = {"itc": matched.itc, "itm": matched.itm, "lm": lm, "total": matched.itc + matched.itm + lm}
    return losses, matched.outputs | {"lm_logits": logits}, momentum


def blip_captioner(output: Path):
    """Captioner finetuning, with a prompt that is no target."""
    folder, config = output / "blip-captioner", BlipConfig(**BLIP)
    model = med.Captioner(config)
    reference.randomise(model, 21)
    tokens = reference.texts(2, 3, range(4, 62), [8, 6, 5, 7], 8, 22)
    inputs = {
        "pixel_values": reference.pictures(23),
        "input_ids": tokens,
        "attention_mask": (tokens != 0).long(),
        "prompt_length": torch.tensor(3),
    }
    reference.save_config(folder / "config.json", BLIP)
    reference.save(folder / "weights.safetensors", reference.weights(model))
    reference.save(folder / "inputs.safetensors", inputs)
    model.double()
    embeds = model.vision_model(inputs["pixel_values"].double()).last_hidden_state
    lm, logits = med.captioning(model.text_decoder, embeds, tokens, inputs["attention_mask"], 3)
    expected = {"loss.lm": lm, "loss.total": lm, "out.image_embeds": embeds, "out.lm_logits": logits}
    reference.save(folder / "expected.safetensors", expected | reference.gradients(model, lm))


def blip_filter(output: Path):
    """Filter finetuning: pictures 0 and 2 of the batch are one, and so is one in the queue."""
    folder, config = output / "blip-filter", BlipConfig(**BLIP)
    model, momentum = med.Filter(config), med.Momentum(config)
    reference.randomise(model, 31)
    reference.randomise(momentum, 32)
    inputs = blip_inputs(33, momentum) | {
        "ids": torch.tensor([7, 12, 7, 5]),
        "queue_ids": torch.tensor([12, 3, 7, 9, -100, -100, -100, -100]),
        "negative_image": torch.tensor([1, 3, 3, 2]),
        "negative_text": torch.tensor([3, 0, 1, 1]),
    }
    inputs["pixel_values"][2] = inputs["pixel_values"][0] + 0.5 * inputs["pixel_values"][2]
    reference.save_config(folder / "config.json", BLIP)
    reference.save(folder / "weights.safetensors", reference.weights(model))
    reference.save(folder / "inputs.safetensors", inputs)
    matched, _ = blip_matching(model.double(), inputs, config)
    losses = {"itc": matched.itc, "itm": matched.itm, "total": matched.itc + matched.itm}
    expected = reference.prefixed("loss", losses.items()) | reference.prefixed("out", matched.outputs.items())
    reference.save(folder / "expected.safetensors", expected | reference.gradients(model, losses["total"]))
