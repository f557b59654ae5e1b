"""CLIP and FILIP as they are trained: open_clip's towers and losses, and FILIP's late interaction, which it has not."""

import open_clip
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def clip(config: dict, logit_bias: float | None = None) -> open_clip.CLIP:
    """A CLIP of an open_clip model configuration; with a `logit_bias` for the sigmoid loss."""
    return open_clip.CLIP(**config, init_logit_bias=logit_bias, output_dict=True)


def contrastive(outputs: dict[str, Tensor]) -> Tensor:
    """The softmax loss of a CLIP's outputs, or the sigmoid loss where they have a bias."""
    loss = SigLipLoss() if "logit_bias" in outputs else ClipLoss()
    return loss(**outputs)


def token_features(model: open_clip.CLIP, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Features of all image tokens but the class token [B,N,D] and of all text tokens [B,T,D], of length 1."""
    image = model.visual.ln_post(model.visual.transformer(model.visual._embeds(pixels)))[:, 1:] @ model.visual.proj
    places = model.positional_embedding[: tokens.shape[1]]
    text = model.transformer(model.token_embedding(tokens) + places, attn_mask=model.attn_mask)
    return normalize(image, dim=-1), normalize(model.ln_final(text) @ model.text_projection, dim=-1)


def best(asking: Tensor, answering: Tensor, present: Tensor) -> Tensor:
    """The largest similarity of every token of `asking` [A,N,D] to a `present` [B,T] token of each of `answering` [B,T,D]: [A,B,N]."""
    similarity = torch.einsum("and,btd->abnt", asking, answering)
    return similarity.masked_fill(~present[None, :, None], -torch.inf).max(-1).values


@torch.no_grad()
def telling(asking: Tensor, own: Tensor, answering: Tensor, present: Tensor, share: float) -> Tensor:
    """Which of its `own` [A,N] tokens each keeps: max(1, floor(share n)) with the largest similarity to any token of the other side."""
    largest = best(asking, answering, present).amax(1).masked_fill(~own, -torch.inf)
    counts = (own.sum(-1) * share).long().clamp(min=1)
    ranks = largest.argsort(-1, descending=True).argsort(-1)
    return ranks < counts[:, None]


def late(image: Tensor, text: Tensor, mask: Tensor, scale: Tensor, kept: float = 1.0) -> tuple[Tensor, Tensor]:
    """FILIP's two losses of token features, where `mask` [B,T] is 1 for tokens that are no pads."""
    seen, read = torch.ones(image.shape[:2], dtype=torch.bool), mask.bool()
    if kept < 1:
        seen, read = telling(image, seen, text, read, kept), telling(text, read, image, seen, kept)
    losses = []
    for asking, own, answering, present in ((image, seen, text, read), (text, read, image, seen)):
        scores = best(asking, answering, present).masked_fill(~own[:, None], 0).sum(-1) / own.sum(-1)[:, None]
        losses.append(cross_entropy(scale * scores, torch.arange(len(scores))))
    return losses[0], losses[1]
