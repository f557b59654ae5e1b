"""Makes `processors.json`: what transformers makes of a picture by files that say how a BLIP wants its pictures.

    python tests/golden/processors.py

Also `processor_scores.json`: what the filter of `blip/original` answers about that picture where a `processor_config.json` has
mean and deviation 0.5. Every case is the content of `preprocessor_config.json` and `processor_config.json` in a folder whose `config.json` says
`blip`. The answer is the tensor of one small picture, or the error. With transformers 5.23.0, its Pillow backend.
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import AutoImageProcessor, BertTokenizerFast, BlipForImageTextRetrieval, BlipImageProcessor, BlipProcessor

from pictures import clean_caption

HERE = Path(__file__).parent
SIDE = 8
PLAIN, NESTED = "preprocessor_config.json", "processor_config.json"
BASE = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "BlipImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"height": SIDE, "width": SIDE},
}
# What the fast processors of transformers 4.50 to 4.57 write beside that.
FAST = {
    "_valid_kwargs_names": ["do_resize", "size"],
    "crop_size": None,
    "data_format": "channels_first",
    "default_to_square": True,
    "device": None,
    "disable_grouping": None,
    "do_center_crop": None,
    "do_pad": None,
    "image_processor_type": "BlipImageProcessorFast",
    "input_data_format": None,
    "pad_size": None,
    "processor_class": "BlipProcessor",
    "return_tensors": None,
}


def changed(**fields):
    return {PLAIN: {**BASE, **fields}}


def without(*names, **fields):
    return {PLAIN: {name: value for name, value in {**BASE, **fields}.items() if name not in names}}


def nested(fields, **others):
    return {NESTED: {"image_processor": fields, "processor_class": "BlipProcessor", **others}}


OTHER = {**BASE, "image_mean": [0.1, 0.2, 0.3]}
CASES = {
    "as BlipImageProcessor writes it": changed(),
    "as BlipProcessor of transformers 5 writes it": nested(BASE),
    "as BlipProcessorFast of transformers 4 writes it": changed(**FAST),
    "as the first BLIPs on the hub": changed(do_pad=True, size_divisor=32, processor_class="BlipProcessor"),
    "both files, the same": {PLAIN: BASE, **nested(BASE)},
    "both files, others": {PLAIN: OTHER, **nested(BASE)},
    "both files, the plain one broken": {PLAIN: {"resample": 0}, **nested(BASE)},
    "a processor of transformers 4 beside": {PLAIN: BASE, NESTED: {"processor_class": "BlipProcessor"}},
    "a processor without pictures": {PLAIN: BASE, NESTED: {"image_processor": None, "num_query_tokens": None}},
    "size as a number": changed(size=SIDE),
    "size as a list": changed(size=[SIDE, SIDE]),
    "size as a number for the shorter side": changed(size=SIDE, default_to_square=False),
    "size as a number, squares off": changed(size=SIDE, default_to_square=None),
    "size of the shorter side": changed(size={"shortest_edge": SIDE}),
    "size of both edges": changed(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE}),
    "size at most": changed(size={"max_height": SIDE, "max_width": SIDE}),
    "size with more": changed(size={"height": SIDE, "width": SIDE, "longest_edge": 9}),
    "size not square": changed(size={"height": SIDE, "width": SIDE + 4}),
    "size of another model": changed(size={"height": 16, "width": 16}),
    "size null": changed(size=None),
    "size absent": without("size"),
    "image_size beside": changed(image_size=SIDE),
    "image_size of another model": changed(image_size=16),
    "no types": without("image_processor_type"),
    "class of Pillow": changed(image_processor_type="BlipImageProcessorPil"),
    "feature extractor of BLIP": without("image_processor_type", feature_extractor_type="BlipFeatureExtractor"),
    "feature extractor of CLIP": without("image_processor_type", feature_extractor_type="CLIPFeatureExtractor"),
    "feature extractor of CLIP, crop of the same size": without(
        "image_processor_type", feature_extractor_type="CLIPFeatureExtractor", crop_size=SIDE
    ),
    "feature extractor of CLIP, no crop": without(
        "image_processor_type", feature_extractor_type="CLIPFeatureExtractor", do_center_crop=False
    ),
    "feature extractor of CLIP, size as a number": without(
        "image_processor_type", feature_extractor_type="CLIPFeatureExtractor", size=SIDE, crop_size=SIDE
    ),
    "feature extractor beside the class": changed(feature_extractor_type="CLIPFeatureExtractor"),
    "class of ViT": changed(image_processor_type="ViTImageProcessor"),
    "crop of the same size": changed(do_center_crop=True, crop_size={"height": SIDE, "width": SIDE}),
    "crop smaller": changed(do_center_crop=True, crop_size=4),
    "crop without a size": changed(do_center_crop=True),
    "crop that is not done": changed(do_center_crop=False, crop_size=4),
    "pad": changed(do_pad=True),
    "pad to the same size": changed(do_pad=True, pad_size={"height": SIDE, "width": SIDE}),
    "pad to more": changed(do_pad=True, pad_size={"height": 10, "width": 10}),
    "no resize": changed(do_resize=False),
    "resize null": changed(do_resize=None),
    "no rescale": changed(do_rescale=False),
    "rescale null": changed(do_rescale=None),
    "no colours": changed(do_convert_rgb=False),
    "no normalize": changed(do_normalize=False),
    "normalize null": changed(do_normalize=None, image_mean=None, image_std=None),
    "resample bilinear": changed(resample=2),
    "resample by name": changed(resample="bicubic"),
    "resample as 3.0": changed(resample=3.0),
    "resample null": changed(resample=None),
    "resample absent": without("resample"),
    "rescale by 1/127.5": changed(rescale_factor=1 / 127.5),
    "rescale factor null": changed(rescale_factor=None),
    "rescale factor absent": without("rescale_factor"),
    "mean null": changed(image_mean=None),
    "mean as one number": changed(image_mean=0.5, image_std=0.5),
    "mean and deviation absent": without("image_mean", "image_std"),
    "mean of four": changed(image_mean=[0.5] * 4, image_std=[0.5] * 4),
    "mean a text": changed(image_mean="imagenet"),
    "deviation zero": changed(image_std=[0.5, 0, 0.5]),
    "channels last": changed(data_format="channels_last"),
    "arrays with channels first": changed(input_data_format="channels_first"),
    "a step that is not known": changed(do_flip_channel_order=True),
    "a step that is not known and not done": changed(do_flip_channel_order=False, do_thumbnail=None),
    "a field that is not known": changed(crop_pct=0.9),
    "a field of the processor that is not known": nested(BASE, images_kwargs={"do_resize": False}),
    "neither": {},
    "a list": {PLAIN: [BASE]},
}


def answer(files, picture, folder):
    for name in (PLAIN, NESTED):
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    try:
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        return processor(picture, return_tensors="np")["pixel_values"][0]
    except Exception as error:  # noqa: BLE001: the kind of error is the answer
        return type(error).__name__


def saved(folder):
    """The files that the classes themselves write, which the first two cases must be."""
    tokenizer = folder / "vocab.txt"
    tokenizer.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    options = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    image = BlipImageProcessor(**options)
    image.save_pretrained(folder / "image")
    BlipProcessor(image, BertTokenizerFast(str(tokenizer))).save_pretrained(folder / "both")
    assert not (folder / "both" / PLAIN).exists()
    read = lambda name: json.loads((folder / name).read_text())  # noqa: E731
    return read(f"image/{PLAIN}"), read(f"both/{NESTED}")


TEXTS = ["a red dog", "two blue chairs on a table", "x"]


@torch.no_grad()
def scores(picture, folder):
    """Match probabilities, with [ENC] first, and similarities of the texts."""
    source = HERE / "blip/original/filter"
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(source / name, folder / name)
    model = BlipForImageTextRetrieval.from_pretrained(folder).eval().float()
    side = model.config.vision_config.image_size
    fields = {**BASE, "size": {"height": side, "width": side}}
    processor = {"image_processor": fields, "processor_class": "BlipProcessor"}
    (folder / NESTED).write_text(json.dumps(processor))
    (folder / PLAIN).unlink(missing_ok=True)
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(picture, return_tensors="pt")["pixel_values"]
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    words.enable_truncation(35)
    answers = []
    for text in TEXTS:
        ids = torch.tensor([words.encode(clean_caption(text)).ids])
        given = {"pixel_values": pixels, "attention_mask": torch.ones_like(ids)}
        similarity = model(input_ids=ids, use_itm_head=False, **given).itm_score
        ids[0, 0] = words.token_to_id("[ENC]")
        match = model(input_ids=ids, **given).itm_score.softmax(-1)[0, 1]
        answers.append({"text": text, "match": float(f"{match:.7g}"), "similarity": float(f"{similarity[0, 0]:.7g}")})
        print(answers[-1])
    return {"processor": processor, "answers": answers}


def main():
    pixels = numpy.random.default_rng(5).integers(0, 256, (9, 14, 3), dtype=numpy.uint8)
    picture = Image.fromarray(pixels)
    tensors, cases = [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "config.json").write_text(json.dumps({"model_type": "blip"}))
        plain, both = saved(folder)
        assert plain == BASE, plain
        assert both == CASES["as BlipProcessor of transformers 5 writes it"][NESTED], both
        for name, files in CASES.items():
            case = {"name": name, "files": files}
            got = answer(files, picture, folder)
            if isinstance(got, str):
                case["error"] = got
            elif got.shape != (3, SIDE, SIDE):
                case["shape"] = got.shape
            elif not numpy.isfinite(got).all():
                case["error"] = "not finite"
            else:
                values = [float(f"{value:.8g}") for value in got.flatten()]
                if values not in tensors:
                    tensors.append(values)
                case["tensor"] = tensors.index(values)
            cases.append(case)
            print(f"{name}: {case.get('error') or case.get('shape') or case.get('tensor')}")
    with tempfile.TemporaryDirectory() as folder:
        answers = scores(picture, Path(folder))
    (HERE / "processor_scores.json").write_text(json.dumps(answers, indent=1) + "\n")
    lines = [json.dumps(case, separators=(",", ":")) for case in cases]
    rows = [json.dumps(values, separators=(",", ":")) for values in tensors]
    rgb = json.dumps(pixels.flatten().tolist(), separators=(",", ":"))
    text = (
        f'{{"width":14,"height":9,"rgb":{rgb},"side":{SIDE},\n"tensors":[\n'
        + ",\n".join(rows) + '],\n"cases":[\n' + ",\n".join(lines) + "]}\n"
    )
    (HERE / "processors.json").write_text(text)


main()
