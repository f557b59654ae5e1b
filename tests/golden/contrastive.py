"""Small random CLIP, CoCa and FILIP models in open_clip's folder form, and what open_clip makes of them.

Writes `open_clip/<model>/` with the folder that `capfilt model import` reads, `numbers.safetensors` and `texts.json`.
FILIP is not in open_clip: its similarity is computed here, on open_clip's modules, as models.md says.

    python tests/golden/contrastive.py
"""

import gzip
import json
import tempfile
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from open_clip.model import CLIP
from open_clip.coca_model import CoCa
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

# open_clip 3.3.0 gives up on a transformers without beam search; what the other ways need is still there.
for name in ("LogitsProcessorList", "TopPLogitsWarper", "TopKLogitsWarper", "RepetitionPenaltyLogitsProcessor",
             "MinLengthLogitsProcessor", "MaxLengthCriteria", "EosTokenCriteria", "StoppingCriteriaList"):
    setattr(open_clip.coca_model, name, getattr(transformers, name))
open_clip.coca_model.GENERATION_TYPES["top_k"] = transformers.TopKLogitsWarper
open_clip.coca_model._has_transformers = True

HERE = Path(__file__).parent
OUT = HERE / "open_clip"
MERGES = 60
CONTEXT = 22
TEXTS = [
    "a photo of the cat",
    "The Dogs, and the HORSE!",
    "in",
    "there's   a person on\tthe other one",
    "winter rain on the stone house over there and another thing that is longer than the model",
]


def clip_tokenizer():
    """open_clip's own tokenizer with the first of its merges, and the same as a `tokenizer.json`."""
    lines = gzip.open(open_clip.tokenizer.default_bpe()).read().decode().split("\n")[: MERGES + 1]
    with tempfile.NamedTemporaryFile(suffix=".gz") as file:
        file.write(gzip.compress("\n".join(lines).encode()))
        file.flush()
        oracle = SimpleTokenizer(file.name, context_length=CONTEXT)
    merges = [tuple(line.split()) for line in lines[1:]]
    # The tokenizers on the hub call the tokens as OpenAI did.
    start, end = "<|startoftext|>", "<|endoftext|>"
    names = {"<start_of_text>": start, "<end_of_text>": end}
    vocabulary = {names.get(token, token): index for token, index in oracle.encoder.items()}
    added = [
        {"id": vocabulary[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": True, "special": True}
        for token in (start, end)
    ]
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    pieces = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": end, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "</w>", "fuse_unk": False, "byte_fallback": False,
                  "vocab": vocabulary, "merges": merges},
    }
    return oracle, json.dumps(pieces)


def word_tokenizer():
    """WordPieces, as small models that are trained here have them."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words += ["a", "photo", "of", "the", "cat", "dog", "##s", "and", "horse", ",", "!", "in", "person", "on", "one", "other"]
    words += [letter for letter in "bcdefghijklmnopqrstuvwxyz'"] + [f"##{letter}" for letter in "abcdefghijklmnopqrtuvwxyz"]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def oracle(texts):
        ids = torch.zeros(len(texts), CONTEXT, dtype=torch.long)
        for row, text in enumerate(texts):
            tokens = [2, *tokenizer.encode(text).ids[: CONTEXT - 2], 3]
            ids[row, : len(tokens)] = torch.tensor(tokens)
        return ids

    return oracle, tokenizer.to_str(), len(words)


VISION = {"image_size": 24, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2}
TEXT = {"context_length": CONTEXT, "width": 32, "heads": 4, "layers": 2}


def made(kind, seed, **config):
    """A model whose weights are stored in 16 bits, so that the files are small and nothing is rounded later."""
    torch.manual_seed(seed)
    model = kind(**config).eval()
    for name, parameter in model.named_parameters():
        # Matrices that are drawn as narrow as upstream does say the same of every picture and text; biases and norms
        # that are zeros and ones hide mistakes.
        noise = torch.randn_like(parameter)
        if parameter.ndim < 2:
            parameter.data = parameter.data + 0.1 * noise
        elif "embedding" in name or name.endswith("query"):
            parameter.data = 0.5 * noise
        else:
            parameter.data = noise * 1.2 * parameter.shape[-1] ** -0.5
        parameter.data = parameter.data.half().float()
    return model


def write(name, model, config, tokenizer, numbers, texts, preprocess):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2) + "\n"
    )
    (folder / "tokenizer.json").write_text(tokenizer)
    save_file({key: value.float().contiguous() for key, value in numbers.items()}, folder / "numbers.safetensors")
    (folder / "texts.json").write_text(json.dumps(texts, indent=1) + "\n")


def pictures(seed):
    torch.manual_seed(seed)
    # Large shapes differ more between pictures than noise of single pixels.
    rough = torch.randn(3, 3, 6, 6)
    return F.interpolate(rough, size=(24, 24), mode="nearest") + 0.3 * torch.randn(3, 3, 24, 24)


def spread(what, features):
    """Features of different inputs must differ, or a test passes for nothing."""
    distances = torch.cdist(features.flatten(1), features.flatten(1))
    least = distances[~torch.eye(len(features), dtype=bool)].min()
    print(f"{what}: least distance {least:.3f}")
    assert least > 0.05, what


@torch.no_grad()
def clip():
    oracle, tokenizer = clip_tokenizer()
    text = {**TEXT, "vocab_size": len(oracle.encoder)}
    config = {"embed_dim": 20, "vision_cfg": VISION, "text_cfg": text, "quick_gelu": True}
    model = made(CLIP, 5, **config)
    pixels, ids = pictures(1), oracle(TEXTS)
    numbers = {
        "pixel_values": pixels,
        "image_feat": model.encode_image(pixels, normalize=True),
        "text_feat": model.encode_text(ids, normalize=True),
    }
    spread("clip pictures", numbers["image_feat"])
    spread("clip texts", numbers["text_feat"])
    preprocess = {"size": 24, "mode": "RGB", "mean": [0.5, 0.4, 0.3], "std": [0.25, 0.3, 0.2],
                  "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0}
    write("clip", model, config, tokenizer, numbers, {"texts": TEXTS, "ids": ids.tolist()}, preprocess)


def greedy(model, pixels, start, end, least=5, most=20):
    """The highest logit at every step, the end token banned below `least` tokens."""
    captions = []
    for picture in pixels:
        latent, embeds = model._encode_image(picture[None])
        ids = [start]
        while len(ids) < most and ids[-1] != end:
            logits = model(None, torch.tensor([ids]), latent, embeds, output_labels=False)["logits"][0, -1]
            if len(ids) < least:
                logits[end] = -torch.inf
            ids.append(int(logits.argmax()))
        captions.append(ids)
    return captions


@torch.no_grad()
def coca():
    oracle, tokenizer = clip_tokenizer()
    text = {**TEXT, "vocab_size": len(oracle.encoder), "embed_cls": True, "output_tokens": True}
    # The pooler's width is `embed_dim`, the decoder's that of the text.
    vision = {**VISION, "width": 48, "attentional_pool": True, "attn_pooler_queries": 7, "attn_pooler_heads": 2, "output_tokens": True}
    writer = {"context_length": CONTEXT, "vocab_size": len(oracle.encoder), "width": 32, "heads": 4, "layers": 2}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text, "multimodal_cfg": writer, "custom_text": True}
    start, end = oracle.sot_token_id, oracle.eot_token_id
    model = made(CoCa, 11, **{key: value for key, value in config.items() if key != "custom_text"})
    projection = model.text_decoder.text_projection
    projection.data[:, end] = (1.5 * projection[:, end]).half().float()
    pixels, ids = pictures(2), oracle(TEXTS)
    latent, embeds = model._encode_image(pixels)
    numbers = {
        "pixel_values": pixels,
        "image_feat": latent,
        "image_embeds": embeds,
        "text_feat": model.encode_text(ids),
    }
    longest = ids[-1:]
    for index in range(len(pixels)):
        # Causal: every place says what a decoding step at its length says.
        logits = model(None, longest, latent[index : index + 1], embeds[index : index + 1], output_labels=False)["logits"]
        numbers[f"logits.{index}"] = logits[0]
    model.text.correct_cls_mask = True
    numbers["correct.text_feat"] = model.encode_text(ids)
    model.text.correct_cls_mask = False
    captions = greedy(model, pixels, start, end)
    theirs = model.generate(pixels, generation_type="top_k", top_k=1, seq_len=20, min_seq_len=5,
                            sot_token_id=start, eos_token_id=end)
    for ours, theirs in zip(captions, theirs.tolist()):
        # Upstream ends every caption at the limit, whatever the model says.
        assert ours[:19] == theirs[: len(ours)][:19], (ours, theirs)
    print("coca captions:", captions)
    spread("coca pictures", numbers["image_feat"])
    spread("coca texts", numbers["text_feat"])
    spread("coca tokens", numbers["image_embeds"])
    texts = {"texts": TEXTS, "ids": ids.tolist(), "captions": captions,
             "words": [oracle.decode([token for token in caption if token not in (start, end)]).strip() for caption in captions]}
    write("coca", model, config, tokenizer, numbers, texts, {"size": 24, "resize_mode": "squash"})


@torch.no_grad()
def filip():
    oracle, tokenizer, words = word_tokenizer()
    text = {**TEXT, "vocab_size": words, "pad_id": 0}
    config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": text, "capfilt_family": "filip"}
    model = made(CLIP, 17, **{key: value for key, value in config.items() if key != "capfilt_family"})
    pixels, ids = pictures(3), oracle(TEXTS)
    model.visual.output_tokens = True
    _, tokens = model.visual(pixels)
    images = F.normalize(tokens @ model.visual.proj, dim=-1)
    x = model.token_embedding(ids) + model.positional_embedding
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
    texts = F.normalize(x @ model.text_projection, dim=-1)
    similarity = torch.zeros(len(pixels), len(TEXTS))
    for i, image in enumerate(images):
        for j, row in enumerate(texts):
            s = image @ row[ids[j] != 0].T
            similarity[i, j] = (s.max(1).values.mean() + s.max(0).values.mean()) / 2
    numbers = {"pixel_values": pixels, "image_feat": images, "text_feat": texts, "similarity": similarity}
    spread("filip pictures", images)
    spread("filip similarities", similarity)
    write("filip", model, config, tokenizer, numbers, {"texts": TEXTS, "ids": ids.tolist()}, {"size": 24, "resize_mode": "squash"})


def crops():
    """Pictures as open_clip's `shortest` mode sees them before they are normalised: 8-bit RGB."""
    transform = image_transform_v2(PreprocessCfg(size=24, mean=(0, 0, 0), std=(1, 1, 1)), is_train=False)
    numbers = {}
    for name, size in (("wide", (61, 37)), ("tall", (20, 67)), ("square", (24, 24)), ("odd", (25, 24))):
        torch.manual_seed(len(name))
        rows = F.interpolate(torch.rand(1, 3, 7, 5), size=size[::-1], mode="bilinear")[0]
        picture = (rows * 255).round().byte().permute(1, 2, 0).contiguous()
        seen = transform(Image.fromarray(picture.numpy()))
        numbers[f"{name}.picture"] = picture
        numbers[f"{name}.seen"] = (seen * 255).round().byte().permute(1, 2, 0).contiguous()
    save_file(numbers, OUT / "crops.safetensors")


if __name__ == "__main__":
    clip()
    coca()
    filip()
    crops()
