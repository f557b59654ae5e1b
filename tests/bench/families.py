"""The families as PyTorch trains them, for races against `capfilt train`: a model, the loss of a batch and an optimizer.

The modules are those of the reference numbers (`tests/golden`). A configuration is a JSON object; every family takes what it
needs of it, under the names of training files:

    {"vocabulary": 3772, "batch": 32,
     "vision": {"image-size": 48, "patch": 8, "width": 192, "layers": 6, "heads": 3},
     "text": {"width": 192, "layers": 4, "heads": 3, "positions": 24},
     "embed": 128, "kept-tokens": 0.25, "upper-layers": 4, "queries": 32, "pooler-heads": 3, "queue": 1024, "momentum": 0.995, "dropout": 0.1}

`hidden` of a tower is four times its width if absent. `embed` is what BLIP calls its projection; CoCa's is the width of its text.
Texts start with token 2, end with 3 and pads (0); BLIP's [DEC] and [ENC] are the last two of the vocabulary.
"""

import math
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.optim import AdamW, Optimizer
from transformers import BlipConfig

sys.path.append(str(Path(__file__).resolve().parent.parent / "golden"))

import coca
import dual
import med
from pictures import clean_caption

FIRST, LAST, WORDS = 2, 3, 5
# ln 100, above which CLIP's scale does not go.
MOST_SCALE = math.log(100)


def towers(config: dict, vision: dict, text: dict) -> dict:
    """An open_clip model configuration; `vision` and `text` are what a family adds."""
    image, words = config["vision"], config["text"]
    return {
        "embed_dim": config["embed"],
        "vision_cfg": {
            "image_size": image["image-size"],
            "patch_size": image["patch"],
            "width": image["width"],
            "layers": image["layers"],
            "head_width": image["width"] // image["heads"],
            "mlp_ratio": image.get("hidden", 4 * image["width"]) / image["width"],
            **vision,
        },
        "text_cfg": {
            "context_length": words["positions"],
            "vocab_size": config["vocabulary"],
            "width": words["width"],
            "layers": words["layers"],
            "heads": words["heads"],
            "mlp_ratio": words.get("hidden", 4 * words["width"]) / words["width"],
            **text,
        },
    }


class Contrastive:
    """What CLIP, CoCa and FILIP have in common: CLIP's optimizer, and a scale with an upper bound."""

    model: nn.Module

    def caption(self, text: str) -> str:
        """A text as the model is given it: as it is."""
        return text

    def optimizer(self) -> Optimizer:
        """CLIP's AdamW; what has one dimension does not decay."""
        matrices = [tensor for tensor in self.model.parameters() if tensor.ndim >= 2]
        others = [tensor for tensor in self.model.parameters() if tensor.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.2}, {"params": others, "weight_decay": 0.0}]
        return AdamW(groups, lr=5e-4, betas=(0.9, 0.98), eps=1e-6)

    @torch.no_grad()
    def after_step(self):
        """Keeps the scale between 1 and 100."""
        self.model.logit_scale.clamp_(0, MOST_SCALE)


class Clip(Contrastive):
    """open_clip's CLIP."""

    def __init__(self, config: dict):
        self.model = dual.clip(towers(config, {}, {"pool_type": "eos", "eos_id": LAST}))

    def loss(self, pixels: Tensor, tokens: Tensor, mask: Tensor, epoch: float) -> Tensor:
        """The mean of both directions."""
        return dual.contrastive(self.model(pixels, tokens))

    def image_features(self, pixels: Tensor) -> Tensor:
        """Features [B,D], of length 1."""
        return self.model.encode_image(pixels, normalize=True)

    def text_features(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Features [B,D], of length 1."""
        return self.model.encode_text(tokens, normalize=True)


class Coca(Clip):
    """open_clip's CoCa, which compares as CLIP does."""

    def __init__(self, config: dict):
        words = config["text"]
        vision = {
            "attentional_pool": True,
            "attn_pooler_queries": config["queries"],
            "attn_pooler_heads": config["pooler-heads"],
            "output_tokens": True,
        }
        upper = {
            "context_length": words["positions"],
            "vocab_size": config["vocabulary"],
            "width": words["width"],
            "layers": config["upper-layers"],
            "heads": words["heads"],
        }
        sizes = towers(config | {"embed": words["width"]}, vision, {"embed_cls": True, "output_tokens": True})
        self.model = coca.coca(sizes | {"multimodal_cfg": upper})

    def loss(self, pixels: Tensor, tokens: Tensor, mask: Tensor, epoch: float) -> Tensor:
        """Contrast and twice the caption."""
        return coca.losses(self.model, self.model(pixels, tokens))["total"]


class Filip(Contrastive):
    """FILIP on open_clip's towers."""

    def __init__(self, config: dict):
        self.model = dual.clip(towers(config, {}, {}))
        self.kept = config["kept-tokens"]

    def loss(self, pixels: Tensor, tokens: Tensor, mask: Tensor, epoch: float) -> Tensor:
        """The mean of both directions."""
        image, text = dual.token_features(self.model, pixels, tokens)
        return sum(dual.late(image, text, mask, self.model.logit_scale.exp(), self.kept)) / 2


def deviation(width: int) -> float:
    """The standard deviation that `capfilt train` draws a BLIP's layers with."""
    return 0.02 * math.sqrt(768 / width)


class Blip:
    """BLIP's pretraining: contrast against a momentum model and its queue, matching of hard negatives, captioning."""

    def __init__(self, config: dict):
        image, words, vocabulary = config["vision"], config["text"], config["vocabulary"]
        sizes = BlipConfig(
            projection_dim=config["embed"],
            vision_config={
                "image_size": image["image-size"],
                "patch_size": image["patch"],
                "hidden_size": image["width"],
                "num_hidden_layers": image["layers"],
                "num_attention_heads": image["heads"],
                "intermediate_size": image.get("hidden", 4 * image["width"]),
                "initializer_range": deviation(image["width"]),
            },
            text_config={
                "vocab_size": vocabulary,
                "max_position_embeddings": words["positions"],
                "hidden_size": words["width"],
                "encoder_hidden_size": image["width"],
                "num_hidden_layers": words["layers"],
                "num_attention_heads": words["heads"],
                "intermediate_size": words.get("hidden", 4 * words["width"]),
                "hidden_dropout_prob": config["dropout"],
                "attention_probs_dropout_prob": config["dropout"],
                "initializer_range": deviation(words["width"]),
                "pad_token_id": 0,
                "cls_token_id": FIRST,
                "sep_token_id": LAST,
                "eos_token_id": LAST,
                "bos_token_id": vocabulary - 2,
                "enc_token_id": vocabulary - 1,
            },
        )
        self.model = med.Blip(sizes)
        self.momentum = med.Momentum(sizes)
        self.momentum.follow(self.model, 0.0)
        self.rate = config["momentum"]
        columns = (config["embed"], config["queue"])
        self.queue = med.Queue(normalize(torch.randn(columns), dim=0), normalize(torch.randn(columns), dim=0), 0)

    def caption(self, text: str) -> str:
        """A text as the model is given it: BLIP's own cleaning takes cases and most punctuation away."""
        return clean_caption(text)

    def optimizer(self) -> Optimizer:
        """BLIP's AdamW: everything decays."""
        return AdamW(self.model.parameters(), lr=3e-4, weight_decay=0.05)

    def after_step(self):
        """The temperature is clamped before a step, not after it."""

    def loss(self, pixels: Tensor, tokens: Tensor, mask: Tensor, epoch: float) -> Tensor:
        """The sum of the three. The momentum model's weight in the targets grows over the first two epochs."""
        alpha = 0.4 * min(1.0, epoch / 2)
        matched = med.matching(self.model, self.momentum, self.queue, pixels, tokens, mask, alpha, rate=self.rate)
        written, _ = med.captioning(self.model.text_decoder, matched.outputs["image_embeds"], tokens, mask)
        return matched.itc + matched.itm + written

    def image_features(self, pixels: Tensor) -> Tensor:
        """Features [B,D], of length 1."""
        return normalize(self.model.vision_proj(self.model.vision_model(pixels).last_hidden_state[:, 0]), dim=-1)

    def text_features(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Features [B,D], of length 1."""
        states = self.model.text_encoder(tokens, attention_mask=mask).last_hidden_state
        return normalize(self.model.text_proj(states[:, 0]), dim=-1)


FAMILIES = {"blip": Blip, "clip": Clip, "coca": Coca, "filip": Filip}
