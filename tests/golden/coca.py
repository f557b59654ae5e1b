"""CoCa as it is trained: open_clip's, and the design of the paper (arXiv 2205.01917), made of the same blocks."""

import torch
from open_clip.coca_model import CoCa
from open_clip.loss import ClipLoss
from open_clip.transformer import MultimodalTransformer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

# Tokens that are no targets.
PAD = 0


def coca(config: dict) -> CoCa:
    """open_clip's CoCa. Its 3.3.0 knows `correct_cls_mask` as an attribute only, later ones as a field of `text_cfg`."""
    text = dict(config["text_cfg"])
    correct = text.pop("correct_cls_mask", False)
    model = CoCa(**config | {"text_cfg": text})
    model.text.correct_cls_mask = correct
    with torch.no_grad():
        # open_clip calls no `init_parameters` here, and leaves whatever the memory held.
        nn.init.normal_(model.text_decoder.text_projection, std=model.text.width**-0.5)
    return model


class Decoder(MultimodalTransformer):
    """The paper's upper half: one MLP in a layer, after both attentions. open_clip has one after each."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        for block in self.cross_attn:
            del block.ln_2, block.mlp

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Logits [B,T,V] for pooled image tokens [B,S,W] and text tokens [B,T,W]."""
        length = text.shape[1]
        for own, cross in zip(self.resblocks, self.cross_attn, strict=True):
            text = text + own.attention(own.ln_1(text), attn_mask=self.attn_mask[:length, :length])
            seen = cross.ln_1_kv(image)
            text = text + cross.attention(cross.ln_1(text), seen, seen)
            text = text + own.mlp(own.ln_2(text))
        return self.ln_final(text) @ self.text_projection


class PaperCoca(CoCa):
    """The paper's CoCa: poolers in cascade, the class token of a text at its end and in no pad's way, and `Decoder`.

    open_clip's `attentional_pool: cascade` is the cascade; its widths fit if all widths are equal.
    """

    def __init__(self, config: dict):
        text, multimodal = dict(config["text_cfg"]), config["multimodal_cfg"]
        del text["correct_cls_mask"]
        super().__init__(**config | {"text_cfg": text})
        self.text.correct_cls_mask = True
        self.text_decoder = Decoder(
            width=multimodal["width"], layers=multimodal["layers"], heads=multimodal["heads"],
            context_length=multimodal["context_length"], output_dim=text["vocab_size"],
        )
        nn.init.normal_(self.text_decoder.text_projection, std=multimodal["width"] ** -0.5)

    def _encode_image(self, images: Tensor, normalize: bool = True):
        # One query answers with one token [B,1,E], which the losses want as [B,E].
        image, tokens = super()._encode_image(images, normalize)
        return image[:, 0], tokens


def losses(model: CoCa, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contrast, caption and their weighted sum, of what a model returns. The paper does not halve its contrast."""
    contrast = ClipLoss()(outputs["image_features"], outputs["text_features"], outputs["logit_scale"])
    if isinstance(model, PaperCoca):
        contrast = 2 * contrast
    caption = cross_entropy(outputs["logits"].flatten(0, 1), outputs["labels"].flatten(), ignore_index=PAD)
    return {"contrastive": contrast, "caption": caption, "total": contrast + 2 * caption}
