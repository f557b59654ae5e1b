"""Opens what `capfilt train` wrote for other programs by nothing but their documented calls, and compares what they make of it.

    python tests/golden/exported.py OUTPUT --capfilt target/release/capfilt --pictures a.png b.png ..
    python tests/golden/exported.py --expected a.json b.json ..

OUTPUT is a finished training of a BLIP (`huggingface/`) or of a CLIP, CoCa or FILIP (`open-clip/`): its packages are asked by `capfilt
caption` and `capfilt score`. Captions must be equal, scores within 1e-4. Pictures are given as opaque RGB, so that both decode the same.
A file of `--expected` names an exported folder and says what the trainer makes of some pictures and texts: token ids must be equal,
pixels and scores within 1e-6, captions equal. The tests of `capfilt-train` write them. Prints what was compared.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import torch
from PIL import Image

TEXTS = ["a red heart", "a smiling face", "a dog", "the flag of a country"]


def captioner(folder: Path, pictures: list[Path], texts: list[str], longest: int, prompt: str) -> dict:
    """What `transformers` makes of `huggingface/captioner`. A caption has at most `longest` tokens, the first and the prompt's included."""
    from transformers import AutoProcessor, AutoTokenizer, BlipForConditionalGeneration, BlipProcessor

    model = BlipForConditionalGeneration.from_pretrained(folder).eval()
    processor = BlipProcessor.from_pretrained(folder, backend="pil")
    images = [Image.open(path) for path in pictures]
    given = processor(images=images, return_tensors="pt")
    # By default transformers 5 resizes with torchvision, which rounds otherwise than Pillow here and there.
    for default in (BlipProcessor.from_pretrained(folder), AutoProcessor.from_pretrained(folder)):
        pixels = default(images=images, return_tensors="pt").pixel_values
        assert float((pixels - given.pixel_values).abs().max()) < 1.01 / 255 / min(default.image_processor.image_std)
    begun = processor(text=[prompt] * len(images), return_tensors="pt")
    # [SEP] is not part of what a caption starts with.
    left = longest - begun.input_ids.shape[1] + 1
    with torch.no_grad():
        ids = model.generate(pixel_values=given.pixel_values, **begun, num_beams=1, do_sample=False, max_new_tokens=left)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    captions = [processor.decode(row, skip_special_tokens=True) for row in ids]
    return {
        "ids": [processor(text=text, truncation=True).input_ids for text in texts],
        "automatic": [tokenizer(text, truncation=True).input_ids for text in texts],
        "pixels": given.pixel_values.flatten(1).tolist(),
        "captions": [caption.removeprefix(prompt.strip()).strip() for caption in captions],
    }


def filter_of_blip(folder: Path, pictures: list[Path], texts: list[str], _longest: int, _prompt: str) -> dict:
    """What `transformers` makes of `huggingface/filter`."""
    from transformers import AutoTokenizer, BlipForImageTextRetrieval, BlipProcessor

    model = BlipForImageTextRetrieval.from_pretrained(folder).eval()
    processor = BlipProcessor.from_pretrained(folder, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    match, similarity, pixels = [], [], []
    with torch.no_grad():
        for path in pictures:
            given = processor(images=[Image.open(path)] * len(texts), text=texts, padding=True, truncation=True, return_tensors="pt")
            match.append(model(**given, use_itm_head=True).itm_score.softmax(1)[:, 1].tolist())
            similarity.append(model(**given, use_itm_head=False).itm_score.diagonal().tolist())
            pixels.append(given.pixel_values[0].flatten().tolist())
    ids = [processor(text=text, truncation=True).input_ids for text in texts]
    return {"ids": ids, "automatic": [tokenizer(text, truncation=True).input_ids for text in texts], "pixels": pixels, "match": match, "similarity": similarity}


def late(images: torch.Tensor, texts: torch.Tensor, is_word: torch.Tensor) -> list[list[float]]:
    """FILIP's similarities of the features of all tokens, `[B, N, E]` and `[C, T, E]`."""
    found = []
    for image in images[:, 1:]:
        row = []
        for text, words in zip(texts, is_word, strict=True):
            table = image @ text[words].T
            row.append(float(table.amax(1).mean() + table.amax(0).mean()) / 2)
        found.append(row)
    return found


def of_open_clip(folder: Path, pictures: list[Path], texts: list[str], longest: int, _prompt: str) -> dict:
    """What `open_clip` makes of `open-clip`."""
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    pixels = torch.stack([preprocess(Image.open(path)) for path in pictures])
    ids = tokenizer(texts)
    with torch.no_grad():
        images, words = model.encode_image(pixels, normalize=True), model.encode_text(ids, normalize=True)
    pad = tokenizer.tokenizer.pad_token_id
    found = {"ids": ids.tolist(), "pixels": pixels.flatten(1).tolist(), "pad": pad}
    found["similarity"] = late(images, words, ids != pad) if images.ndim == 3 else (images @ words.T).tolist()
    if isinstance(model, open_clip.CoCa):
        found["captions"] = [greedy(model, tokenizer.tokenizer, image[None], ids.shape[1], longest) for image in pixels]
    return found


def greedy(model, tokenizer, image: torch.Tensor, width: int, longest: int) -> str:
    """The most likely caption, token by token. (`generate` of open_clip 3.3 wants a part of transformers that 5 has not.)"""
    row = [tokenizer.cls_token_id]
    while len(row) < longest and row[-1] != tokenizer.sep_token_id:
        text = torch.full((1, width), tokenizer.pad_token_id)
        text[0, : len(row)] = torch.tensor(row)
        with torch.no_grad():
            row.append(int(model(image, text)["logits"][0, len(row) - 1].argmax()))
    return tokenizer.decode(row, skip_special_tokens=True).strip()


KINDS = {"huggingface/captioner": captioner, "huggingface/filter": filter_of_blip, "open-clip": of_open_clip}


def off(got: list[list[float]], expected: list[list[float]]) -> float:
    """The largest difference."""
    return float((torch.tensor(got, dtype=torch.float64) - torch.tensor(expected, dtype=torch.float64)).abs().max())


def compare_with_trainer(expected: dict):
    folder = Path(expected["folder"])
    pictures = [Path(path) for path in expected["pictures"]]
    found = KINDS[expected["kind"]](folder, pictures, expected["texts"], expected["longest"], expected["prompt"])
    for name in ("ids", "automatic"):
        for got, ours in zip(found.get(name, []), expected["ids"], strict=name == "ids"):
            assert got[: len(ours)] == ours and set(got[len(ours) :]) <= {found.get("pad")}, (name, got, ours)
    differences = {name: off(found[name], expected[name]) for name in ("pixels", "similarity", "match") if name in expected}
    assert max(differences.values()) < 1e-6, differences
    if "captions" in expected:
        assert found["captions"] == expected["captions"], (found["captions"], expected["captions"])
    said = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    print(f"{folder}: ids equal; {said}; {len(expected.get('captions', []))} captions equal")


def lines(capfilt: Path, *arguments) -> list[dict]:
    """What a command prints."""
    done = subprocess.run([capfilt, *map(str, arguments)], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare_with_packages(output: Path, capfilt: Path, originals: list[Path]):
    texts = [part for text in TEXTS for part in ("--text", text)]
    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        for number, path in enumerate(originals):
            pictures.append(Path(folder) / f"{number}.png")
            Image.open(path).convert("RGB").save(pictures[-1])
        for kind, ask in KINDS.items():
            if not (output / kind).exists():
                continue
            found = ask(output / kind, pictures, TEXTS, 16, "")
            if "captions" in found:
                got = lines(capfilt, "caption", "--model", output / "captioner", "--decoding", "greedy", "--max-length", 16, "--min-length", 0, *pictures)
                for line, caption in zip(got, found["captions"], strict=True):
                    assert line["caption"] == caption, (line, caption)
                print(f"{kind}: {len(got)} captions are equal, such as {found['captions'][0]!r}")
            if "similarity" in found:
                # `transformers` leaves [CLS] where the text starts.
                got = lines(capfilt, "score", "--model", output / "filter", "--first-token", "cls", *texts, *pictures)
                worst = off([[line["similarity"] for line in got]], [sum(found["similarity"], [])])
                if "match" in found:
                    worst = max(worst, off([[line["match"] for line in got]], [sum(found["match"], [])]))
                assert worst < 1e-4, worst
                print(f"{kind}: {len(got)} scores differ by at most {worst:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, nargs="?")
    parser.add_argument("--expected", type=Path, nargs="+", default=[])
    parser.add_argument("--capfilt", type=Path)
    parser.add_argument("--pictures", type=Path, nargs="+")
    arguments = parser.parse_args()
    for path in arguments.expected:
        compare_with_trainer(json.loads(path.read_text()))
    if arguments.output:
        compare_with_packages(arguments.output, arguments.capfilt, arguments.pictures)


if __name__ == "__main__":
    main()
