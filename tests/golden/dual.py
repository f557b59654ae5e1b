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
