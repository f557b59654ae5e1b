"""Compares what `capfilt train` wrote for other programs with its packages.

    python tests/golden/exported.py OUTPUT --capfilt target/release/capfilt --pictures a.png b.png ..

OUTPUT is a finished training of a BLIP (`huggingface/`) or of a CLIP or CoCa (`open-clip/`). `transformers` and `open_clip` load the folders,
write greedy captions and score texts; `capfilt caption` and `capfilt score` do the same with the packages. Captions must be equal, scores
within 1e-4. Pictures are given as opaque RGB, so that both decode the same. Prints what was compared.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import torch
from PIL import Image

TEXTS = ["a red heart", "a smiling face", "a dog", "the flag of a country"]


def lines(capfilt: Path, *arguments) -> list[dict]:
    """What a command prints."""
    done = subprocess.run([capfilt, *map(str, arguments)], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def captions_of_blip(folder: Path, pictures: list[Path]) -> list[str]:
    from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

    model = BlipForConditionalGeneration.from_pretrained(folder).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), BlipImageProcessorPil.from_pretrained(folder)
    pixels = processor([Image.open(path) for path in pictures], return_tensors="pt").pixel_values
    with torch.no_grad():
        ids = model.generate(pixel_values=pixels, num_beams=1, do_sample=False, max_new_tokens=15)
    return [tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids]


def scores_of_blip(folder: Path, pictures: list[Path]) -> list[float]:
    from transformers import AutoTokenizer, BlipForImageTextRetrieval, BlipImageProcessorPil

    model = BlipForImageTextRetrieval.from_pretrained(folder).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), BlipImageProcessorPil.from_pretrained(folder)
    pixels = processor([Image.open(path) for path in pictures], return_tensors="pt").pixel_values
    found = []
    with torch.no_grad():
        for picture in pixels:
            tokens = tokenizer(TEXTS, padding=True, return_tensors="pt")
            given = {"pixel_values": picture[None].repeat(len(TEXTS), 1, 1, 1), "input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
            match = model(**given, use_itm_head=True).itm_score.softmax(1)[:, 1].tolist()
            similarity = model(**given, use_itm_head=False).itm_score.diagonal().tolist()
            found += list(zip(match, similarity, strict=True))
    return found


def similarities_of_open_clip(folder: Path, pictures: list[Path]) -> list[tuple[None, float]]:
    import open_clip
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from torchvision.transforms.functional import to_tensor

    config = json.loads((folder / "open_clip_config.json").read_text())
    sizes = dict(config["model_cfg"])
    sizes.pop("custom_text", None)
    correct = sizes["text_cfg"].pop("correct_cls_mask", False)
    kind = open_clip.CoCa if "multimodal_cfg" in sizes else open_clip.CLIP
    model = kind(**sizes)
    weights = load_file(folder / "open_clip_model.safetensors")
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all("mask" in name for name in missing), (missing, unexpected)
    if kind is open_clip.CoCa:
        model.text.correct_cls_mask = correct
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    length = sizes["text_cfg"]["context_length"]
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    ids = torch.tensor([one.ids for one in tokenizer.encode_batch(TEXTS)])
    preprocess = config["preprocess_cfg"]
    side = preprocess["size"]
    mean, deviation = (torch.tensor(preprocess[name])[:, None, None] for name in ("mean", "std"))
    pixels = [to_tensor(Image.open(path).resize((side, side), Image.Resampling.BICUBIC)) for path in pictures]
    model.eval()
    with torch.no_grad():
        images = model.encode_image((torch.stack(pixels) - mean) / deviation, normalize=True)
        texts = model.encode_text(ids, normalize=True)
    return [(None, value) for value in (images @ texts.T).flatten().tolist()]


def close(got: list[dict], expected: list[tuple[float | None, float]]) -> float:
    """The largest difference of scores."""
    worst = 0.0
    for line, (match, similarity) in zip(got, expected, strict=True):
        worst = max(worst, abs(line["similarity"] - similarity))
        if match is not None:
            worst = max(worst, abs(line["match"] - match))
    assert worst < 1e-4, worst
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--capfilt", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    output = arguments.output
    texts = [part for text in TEXTS for part in ("--text", text)]
    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        for number, path in enumerate(arguments.pictures):
            pictures.append(Path(folder) / f"{number}.png")
            Image.open(path).convert("RGB").save(pictures[-1])
        if (output / "huggingface/captioner").exists():
            expected = captions_of_blip(output / "huggingface/captioner", pictures)
            got = lines(arguments.capfilt, "caption", "--model", output / "captioner", "--decoding", "greedy", "--max-length", 16, "--min-length", 0, *pictures)
            for line, caption in zip(got, expected, strict=True):
                assert line["caption"] == caption, (line, caption)
            print(f"captioner: {len(expected)} captions are equal, such as {expected[0]!r}")
        for kind, scores in (("huggingface/filter", scores_of_blip), ("open-clip", similarities_of_open_clip)):
            if (output / kind).exists():
                expected = scores(output / kind, pictures)
                # `transformers` leaves [CLS] where the text starts.
                got = lines(arguments.capfilt, "score", "--model", output / "filter", "--first-token", "cls", *texts, *pictures)
                print(f"filter: {len(expected)} scores differ by at most {close(got, expected):.1e}")


if __name__ == "__main__":
    main()
