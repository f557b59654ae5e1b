"""BLIP as it is trained: transformers' modules, tied as BLIP ties them, with BLIP's own losses and momentum model.

transformers has none of the losses of pretraining, and its captioning loss differs from BLIP's.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import BlipConfig
from transformers.models.blip.modeling_blip import BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

SHARING = ("all-but-self-attention", "all", "all-but-cross-attention", "none")
# What cross-entropy leaves out.
IGNORE = -100


def first(tokens: Tensor, token: int) -> Tensor:
    """The same ids [B,T] with another token at index 0."""
    tokens = tokens.clone()
    tokens[:, 0] = token
    return tokens


class Captioner(nn.Module):
    """Image encoder and image-grounded decoder."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        self.vision_model = BlipVisionModel(config.vision_config)
        self.text_decoder = BlipTextLMHeadModel(config.text_config)
        tie_head(self.text_decoder)


class Filter(nn.Module):
    """Image encoder, text encoder in its unimodal and its grounded mode, and their heads."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        vision, text, width = config.vision_config, config.text_config, config.projection_dim
        self.vision_model = BlipVisionModel(vision)
        self.text_encoder = BlipTextModel(text, add_pooling_layer=False)
        self.vision_proj = nn.Linear(vision.hidden_size, width)
        self.text_proj = nn.Linear(text.hidden_size, width)
        self.itm_head = nn.Linear(text.hidden_size, 2)
        self.temp = nn.Parameter(torch.tensor(0.07))
        self.enc_token = text.enc_token_id


class Blip(Filter):
    """All four parts of the mixture, with the text parameters that `sharing` says held in common."""

    def __init__(self, config: BlipConfig, sharing: str = SHARING[0]):
        super().__init__(config)
        self.text_decoder = BlipTextLMHeadModel(config.text_config)
        encoder, decoder = self.text_encoder, self.text_decoder.bert
        if sharing != "none":
            decoder.embeddings = encoder.embeddings
            for ours, theirs in zip(decoder.encoder.layer, encoder.encoder.layer, strict=True):
                ours.intermediate, ours.output = theirs.intermediate, theirs.output
                if sharing != "all-but-self-attention":
                    ours.attention = theirs.attention
                if sharing != "all-but-cross-attention":
                    ours.crossattention = theirs.crossattention
        tie_head(self.text_decoder)


def tie_head(decoder: BlipTextLMHeadModel):
    """The output matrix is the word embedding."""
    head = decoder.cls.predictions
    head.decoder.weight = decoder.bert.embeddings.word_embeddings.weight
    head.decoder.bias = head.bias


class Momentum(nn.Module):
    """The slow copy of what makes features. Cross-attention takes no part in them and has no copy."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        text = copy.deepcopy(config.text_config)
        text.is_decoder = False
        width = config.projection_dim
        self.vision_model = BlipVisionModel(config.vision_config)
        self.text_encoder = BlipTextModel(text, add_pooling_layer=False)
        self.vision_proj = nn.Linear(config.vision_config.hidden_size, width)
        self.text_proj = nn.Linear(text.hidden_size, width)
        self.requires_grad_(False)

    @torch.no_grad()
    def follow(self, model: Filter, rate: float):
        """m <- rate m + (1 - rate) p; a rate of 0 copies."""
        theirs = dict(model.named_parameters())
        for name, mine in self.named_parameters():
            mine.mul_(rate).add_(theirs[name], alpha=1 - rate)


def features(model: Filter | Momentum, embeds: Tensor, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Image and text features [B,D], of length 1. Tokens start with [CLS]."""
    image = model.vision_proj(embeds[:, 0])
    text = model.text_proj(model.text_encoder(tokens, attention_mask=mask).last_hidden_state[:, 0])
    return normalize(image, dim=-1), normalize(text, dim=-1)


@dataclass
class Queue:
    """Momentum features of earlier batches as columns [D,Q], and the ids [Q] of their images where ids count."""

    image: Tensor
    text: Tensor
    pointer: int
    ids: Tensor | None = None

    def push(self, image: Tensor, text: Tensor, ids: Tensor | None):
        """Overwrites the next B columns."""
        batch, length = image.shape[0], self.image.shape[1]
        assert length % batch == 0, f"a queue of {length} is not divisible by the batch of {batch}"
        columns = slice(self.pointer, self.pointer + batch)
        self.image[:, columns] = image.T
        self.text[:, columns] = text.T
        if ids is not None:
            self.ids[columns] = ids
        self.pointer = (self.pointer + batch) % length


# From weights [B,B] to one index for each row.
Draw = Callable[[Tensor], Tensor]


def draw(weights: Tensor) -> Tensor:
    """BLIP's choice of hard negatives."""
    return torch.multinomial(weights, 1)[:, 0]


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over rows of -sum_j Y_j log softmax(logits)_j."""
    return -(targets * logits.log_softmax(-1)).sum(-1).mean()


Pair = tuple[Tensor, Tensor]


def contrast(fast: Pair, slow: Pair, queue: Queue, temp: Tensor, alpha: float, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ITC of image and text features [B,D] of the student and the momentum model, and both similarities [B,B+Q].

    `own` [B,B+Q] are the hard targets; no gradient goes through targets, nor through the momentum side.
    """
    (image, text), (slow_image, slow_text) = fast, slow
    images, texts = torch.cat([slow_image.T, queue.image], 1), torch.cat([slow_text.T, queue.text], 1)
    with torch.no_grad():
        soft_i2t, soft_t2i = (slow_image @ texts / temp).softmax(-1), (slow_text @ images / temp).softmax(-1)
    i2t, t2i = image @ texts / temp, text @ images / temp
    loss_i2t = soft_cross_entropy(i2t, alpha * soft_i2t + (1 - alpha) * own)
    loss_t2i = soft_cross_entropy(t2i, alpha * soft_t2i + (1 - alpha) * own)
    return (loss_i2t + loss_t2i) / 2, i2t, t2i


@dataclass
class Matching:
    """What contrast and matching made of a batch."""

    itc: Tensor
    itm: Tensor
    outputs: dict[str, Tensor]


def matching(
    model: Filter,
    momentum: Momentum,
    queue: Queue,
    pixels: Tensor,
    tokens: Tensor,
    mask: Tensor,
    alpha: float,
    *,
    rate: float = 0.995,
    ids: Tensor | None = None,
    draw_image: Draw = draw,
    draw_text: Draw = draw,
) -> Matching:
    """ITC and ITM of a batch (BLIP's pretraining rule; with `ids` of the images its finetuning rule).

    Moves the momentum model first, and pushes into the queue after the contrastive loss.
    """
    with torch.no_grad():
        model.temp.clamp_(0.001, 0.5)
    batch = len(pixels)
    embeds = model.vision_model(pixels).last_hidden_state
    image, text = features(model, embeds, tokens, mask)
    momentum.follow(model, rate)
    with torch.no_grad():
        slow_image, slow_text = features(momentum, momentum.vision_model(pixels).last_hidden_state, tokens, mask)
        columns = batch + queue.image.shape[1]
        if ids is None:
            own = torch.eye(batch, columns, dtype=image.dtype)
        else:
            same = (ids[:, None] == torch.cat([ids, queue.ids])[None]).to(image.dtype)
            own = same / same.sum(1, keepdim=True)
    itc, i2t, t2i = contrast((image, text), (slow_image, slow_text), queue, model.temp, alpha, own)
    queue.push(slow_image, slow_text, ids)

    with torch.no_grad():
        if ids is None:
            mine = torch.eye(batch, dtype=torch.bool)
            weights_i2t = (i2t[:, :batch].softmax(-1) + 1e-4).masked_fill(mine, 0)
            weights_t2i = (t2i[:, :batch].softmax(-1) + 1e-4).masked_fill(mine, 0)
        else:
            mine = ids[:, None] == ids[None]
            weights_i2t = (image @ text.T / model.temp).softmax(-1).masked_fill(mine, 0)
            weights_t2i = (text @ image.T / model.temp).softmax(-1).masked_fill(mine, 0)
    negative_image, negative_text = draw_image(weights_t2i), draw_text(weights_i2t)
    seen = torch.cat([embeds, embeds[negative_image], embeds])
    read = torch.cat([tokens, tokens, tokens[negative_text]])
    attention = torch.cat([mask, mask, mask[negative_text]])
    states = model.text_encoder(first(read, model.enc_token), attention_mask=attention, encoder_hidden_states=seen)
    logits = model.itm_head(states.last_hidden_state[:, 0])
    itm = cross_entropy(logits, (torch.arange(3 * batch) < batch).long())
    outputs = {
        "image_embeds": embeds,
        "image_feat": image,
        "text_feat": text,
        "momentum_image_feat": slow_image,
        "momentum_text_feat": slow_text,
        "weights_i2t": weights_i2t,
        "weights_t2i": weights_t2i,
        "itm_logits": logits,
    }
    return Matching(itc, itm, outputs)


def captioning(
    decoder: BlipTextLMHeadModel, embeds: Tensor, tokens: Tensor, mask: Tensor, prompt_length: int = 0
) -> tuple[Tensor, Tensor]:
    """The LM loss, smoothed by 0.1, and the logits [B,T,V]: those at t predict token t+1.

    Pads are no targets, nor are the tokens at the first `prompt_length` positions.
    """
    tokens = first(tokens, decoder.config.bos_token_id)
    logits = decoder(tokens, attention_mask=mask, encoder_hidden_states=embeds, is_decoder=True).logits
    labels = tokens.masked_fill(mask == 0, IGNORE)
    labels[:, :prompt_length] = IGNORE
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE, label_smoothing=0.1)
    return loss, logits
