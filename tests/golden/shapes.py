"""Random BLIP checkpoints of different shapes, small enough to be committed."""

import collections
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BlipConfig, BlipForConditionalGeneration, BlipForImageTextRetrieval

INITIALIZER_RANGE = 0.08


@dataclass(frozen=True)
class Shape:
    """One configuration and the numbers that make its random captions worth comparing."""

    name: str
    seed: int
    vocabulary: int
    image_size: int
    patch: int
    vision: dict
    text: dict
    projection: int
    prompt: str = ""
    # Added to the [SEP] bias of the language-model head, so that captions end at many lengths.
    sep_bias: float = 0.0
    # Factors on the decoder's initial weights. Narrow random decoders say nearly the same about every picture: these
    # make its attention sharp and its captions different.
    sight: float = 1.0
    attention: float = 1.0
    position: float = 1.0
    inner: float = 1.0
    specials: tuple = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    # The configuration's own `eos_token_id`; BLIP stops at `sep_token_id`, and the default of the other one is a trap.
    eos: int | None = None
    shard: bool = False


def dims(hidden, heads, layers, inner, eps):
    """The part of a sub-configuration that says its shape."""
    return {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "layer_norm_eps": eps,
    }


SHAPES = [
    Shape(
        name="wide-patches",
        seed=67,
        vocabulary=301,
        image_size=40,
        patch=8,
        vision=dims(64, 4, 2, 128, 1e-5),
        text=dims(48, 2, 3, 96, 1e-12) | {"max_position_embeddings": 40},
        projection=32,
        eos=2,
        specials=("[PAD]", "[UNK]", "[MASK]", "[SEP]", "[CLS]"),
        sep_bias=1.5,
        sight=2.0,
        attention=4.0,
    ),
    Shape(
        name="prompted",
        seed=71,
        vocabulary=380,
        image_size=42,
        patch=14,
        vision=dims(96, 3, 3, 200, 1e-6),
        text=dims(64, 4, 2, 160, 1e-12) | {"max_position_embeddings": 48},
        projection=48,
        prompt="a picture of ",
        sep_bias=1.25,
        sight=2.0,
        attention=4.0,
        position=2.0,
        inner=1.5,
    ),
    Shape(
        name="deep-text",
        seed=1000,
        vocabulary=449,
        image_size=56,
        patch=8,
        vision=dims(48, 2, 4, 192, 1e-5),
        text=dims(96, 3, 4, 256, 1e-12) | {"max_position_embeddings": 64},
        projection=24,
        sep_bias=2.0,
        attention=6.0,
        shard=True,
    ),
]

# Head width 64, inner width four times the hidden one, epsilon 1e-6: what an original `.pth` takes for granted.
ORIGINAL = Shape(
    name="original",
    seed=432,
    vocabulary=290,
    image_size=24,
    patch=8,
    vision=dims(64, 1, 2, 256, 1e-6),
    text=dims(128, 2, 1, 512, 1e-12) | {"max_position_embeddings": 40},
    projection=32,
    prompt="a picture of ",
    sep_bias=1.75,
    sight=2.0,
    attention=6.0,
    position=2.0,
    inner=3.0,
)


def tokenizer(shape: Shape, texts: list[str]) -> Tokenizer:
    """A WordPiece tokenizer with exactly `shape.vocabulary` entries, of the commonest words of `texts`."""
    characters = "abcdefghijklmnopqrstuvwxyz0123456789'-,&?/"
    pieces = list(shape.specials) + list(characters) + ["##" + c for c in characters[:36]]
    words = collections.Counter(word for text in texts for word in text.split() if word.isalpha())
    endings = collections.Counter("##" + word[-3:] for word in words.elements() if len(word) > 4)
    common = [sorted(counts, key=lambda piece: (-counts[piece], piece)) for counts in (words, endings)]
    known = set(pieces)
    for piece in ["a", "picture", "of"] + common[0] + common[1]:
        if len(pieces) == shape.vocabulary - 2:
            break
        if piece not in known:
            known.add(piece)
            pieces.append(piece)
    pieces += ["[DEC]", "[ENC]"]
    assert len(pieces) == shape.vocabulary, f"{shape.name}: {len(pieces)} pieces, wanted {shape.vocabulary}"
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    result = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    result.normalizer = normalizers.BertNormalizer(lowercase=True)
    result.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    result.decoder = decoders.WordPiece(cleanup=True)
    result.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    result.add_special_tokens([*shape.specials, "[DEC]", "[ENC]"])
    return result


def config(shape: Shape, words: Tokenizer) -> BlipConfig:
    """The transformers configuration of a shape."""
    text = {
        "vocab_size": shape.vocabulary,
        "encoder_hidden_size": shape.vision["hidden_size"],
        "projection_dim": shape.projection,
        "initializer_range": INITIALIZER_RANGE,
        "bos_token_id": words.token_to_id("[DEC]"),
        "sep_token_id": words.token_to_id("[SEP]"),
        "eos_token_id": words.token_to_id("[SEP]") if shape.eos is None else shape.eos,
        "pad_token_id": words.token_to_id("[PAD]"),
    }
    vision = {
        "image_size": shape.image_size,
        "patch_size": shape.patch,
        "projection_dim": shape.projection,
        "initializer_range": INITIALIZER_RANGE,
    }
    return BlipConfig(
        text_config=text | shape.text,
        vision_config=vision | shape.vision,
        projection_dim=shape.projection,
        image_text_hidden_size=shape.projection,
        initializer_range=INITIALIZER_RANGE,
    )


@torch.no_grad()
def randomise(model, shape: Shape, seed: int):
    """Random weights that fp16 holds exactly. Biases and norms are random too: zeros and ones would hide an omission."""
    torch.manual_seed(seed)
    sep = model.config.text_config.sep_token_id
    for name, tensor in sorted(model.named_parameters()):
        if "LayerNorm" in name or "norm" in name:
            tensor.normal_(1.0 if name.endswith("weight") else 0.0, 0.1)
        elif tensor.ndim == 0:
            continue
        else:
            tensor.normal_(0.0, INITIALIZER_RANGE)
        if name.startswith("text_decoder."):
            tensor.mul_(factor(name, shape))
        if name.startswith("text_encoder.") and ("query.weight" in name or "key.weight" in name):
            # Sharp enough for texts to matter, not so sharp that rounding does.
            tensor.mul_(3.0)
        if name.startswith("itm_head") or name.endswith("_proj.weight"):
            tensor.mul_(4.0)
        if name.endswith("cls.predictions.bias"):
            tensor[sep] += shape.sep_bias
    for tensor in model.parameters():
        tensor.copy_(tensor.half().float())


def factor(name: str, shape: Shape) -> float:
    """What the initial values of a decoder's tensor are multiplied by."""
    if "crossattention.self.value" in name or "crossattention.output.dense.weight" in name:
        return shape.sight
    if "query.weight" in name or "key.weight" in name:
        return shape.attention
    if name.endswith("position_embeddings.weight"):
        return shape.position
    if "intermediate.dense.weight" in name or ("output.dense.weight" in name and "attention" not in name):
        return shape.inner
    return 1.0


def captioner(shape: Shape, words: Tokenizer) -> BlipForConditionalGeneration:
    """The random captioner of a shape, in fp32 with weights that fp16 holds."""
    model = BlipForConditionalGeneration(config(shape, words)).eval()
    randomise(model, shape, shape.seed)
    return model


def matcher(shape: Shape, words: Tokenizer) -> BlipForImageTextRetrieval:
    """The random filter of a shape, in fp32 with weights that fp16 holds."""
    model = BlipForImageTextRetrieval(config(shape, words)).eval()
    randomise(model, shape, shape.seed + 1000)
    return model
