"""What PyTorch's training reaches on emoji: recall on one vendor's drawings, which it never saw.

    python tests/bench/emoji_torch.py TRAINING.json --family clip --data ../shared/data/emoji.parquet \\
        --tokenizer ../shared/models/mini-blip/captioner/tokenizer.json --held-out fluent-emoji-flat

`--data` are Parquet files as `capfilt run` writes them (`image`, `captions`, and the column `vendor` passed through), or with
one `caption` a row. TRAINING.json is what `families.py` describes, and {"steps": 2000, "lr": 1e-3, "seed": 0}; `vocabulary` is the
tokenizer's. The rate rises over the first tenth of the steps, then falls to 0 by a cosine.

Pictures lie on white, are resized to the model's size by torchvision's antialiased bicubic, and in training cropped to between
`crop` (0.8 if absent) and all of their area. Nothing is flipped, since arrows and letters have names. Needs `tests/golden/requirements.txt`.

Prints one JSON object. Recall is over all held-out pictures and their distinct captions, in percent; a rank counts those that are
strictly better and, among equal ones, those that come first.
"""

import argparse
import glob
import io
import json
import math
import os
import time
from pathlib import Path

import pyarrow.parquet as parquet
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torchvision.transforms.v2 import functional as transform
from torchvision.transforms.v2 import InterpolationMode, RandomResizedCrop

from families import FAMILIES

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
BATCH = 256


def picture(encoded: bytes) -> Tensor:
    """Bytes [3,H,W] of a picture on white."""
    with Image.open(io.BytesIO(encoded)) as opened:
        drawn = opened.convert("RGBA")
    page = Image.new("RGBA", drawn.size, "white")
    page.alpha_composite(drawn)
    return transform.pil_to_tensor(page.convert("RGB"))


def rows(patterns: list[str]) -> list[tuple[Tensor, str, str]]:
    """Picture, first caption and vendor of every row of every file."""
    found = []
    for file in sorted(name for pattern in patterns for name in glob.glob(pattern, recursive=True)):
        for row in parquet.read_table(file).to_pylist():
            caption = row["caption"] if "caption" in row else row["captions"][0]["text"]
            found.append((picture(row["image"]["bytes"]), caption, row["vendor"]))
    return found


class Texts:
    """Captions as token ids [B,T] and a mask [B,T]."""

    def __init__(self, file: Path, positions: int):
        self.tokenizer = Tokenizer.from_file(str(file))
        self.tokenizer.enable_truncation(positions)
        self.tokenizer.enable_padding(length=positions)

    def __call__(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """The ids, from the first token to the last and pads."""
        encoded = self.tokenizer.encode_batch(captions)
        return torch.tensor([one.ids for one in encoded]), torch.tensor([one.attention_mask for one in encoded])


def normalised(pixels: list[Tensor]) -> Tensor:
    """Numbers [B,3,S,S] as all families want them."""
    return (torch.stack(pixels).float() / 255 - MEAN) / DEVIATION


def recall(similarity: Tensor, right: Tensor) -> dict[str, float]:
    """R@1 and R@5 of every row of [A,B], by its best right answer; `right` [A,B] says which are."""
    order = similarity.argsort(dim=1, descending=True, stable=True)
    ranks = right.gather(1, order).int().argmax(1)
    return {f"r{k}": 100 * (ranks < k).float().mean().item() for k in (1, 5)}


@torch.no_grad()
def judge(family, held: list[tuple[Tensor, str, str]], texts: Texts, side: int) -> dict:
    """Recall both ways on pictures that were held out."""
    family.model.eval()
    captions = sorted({caption for _, caption, _ in held})
    tokens, mask = texts([family.caption(caption) for caption in captions])
    words = [family.text_features(*part) for part in zip(tokens.split(BATCH), mask.split(BATCH), strict=True)]
    sized = [transform.resize(pixels, [side, side], InterpolationMode.BICUBIC) for pixels, _, _ in held]
    images = [family.image_features(part) for part in normalised(sized).split(BATCH)]
    similarity = torch.cat(images) @ torch.cat(words).T
    places = {caption: place for place, caption in enumerate(captions)}
    right = torch.zeros_like(similarity, dtype=torch.bool)
    right[torch.arange(len(held)), torch.tensor([places[caption] for _, caption, _ in held])] = True
    return {
        "pictures": len(held),
        "captions": len(captions),
        "image_to_text": recall(similarity, right),
        "text_to_image": recall(similarity.T, right.T),
    }


def train(family, seen: list[tuple[Tensor, str, str]], texts: Texts, config: dict) -> float:
    """Trains, and returns the mean loss of the last tenth of the steps."""
    steps, batch = config["steps"], config["batch"]
    crop = RandomResizedCrop(config["vision"]["image-size"], (config.get("crop", 0.8), 1.0), interpolation=InterpolationMode.BICUBIC)
    optimizer = family.optimizer()
    family.model.train()
    order, losses = torch.tensor([], dtype=torch.long), []
    for step in range(steps):
        warmup = max(1, steps // 10)
        share = (step + 1) / warmup if step < warmup else (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
        for group in optimizer.param_groups:
            group["lr"] = config["lr"] * share
        if len(order) < batch:
            order = torch.randperm(len(seen))
        chosen, order = order[:batch].tolist(), order[batch:]
        pixels = normalised([crop(seen[place][0]) for place in chosen])
        loss = family.loss(pixels, *texts([family.caption(seen[place][1]) for place in chosen]), step * batch / len(seen))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        family.after_step()
        losses.append(loss.item())
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)


def main():
    """Trains one family and judges it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path)
    parser.add_argument("--family", choices=[name for name in FAMILIES if name != "filip"], required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--held-out", default="fluent-emoji-flat")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = json.loads(arguments.training.read_text())
    texts = Texts(arguments.tokenizer, config["text"]["positions"])
    config["vocabulary"] = texts.tokenizer.get_vocab_size()
    found = rows(arguments.data)
    seen = [row for row in found if row[2] != arguments.held_out]
    held = [row for row in found if row[2] == arguments.held_out]
    if not held:
        parser.error(f"no row of {arguments.data} has the vendor `{arguments.held_out}`: there are {sorted({row[2] for row in found})}")
    torch.manual_seed(config["seed"])
    family = FAMILIES[arguments.family](config)
    begun = time.perf_counter()
    loss = train(family, seen, texts, config)
    seconds = time.perf_counter() - begun
    judged = judge(family, held, texts, config["vision"]["image-size"])
    settings = {name: config[name] for name in ("steps", "batch", "lr", "seed")}
    print(json.dumps({"family": arguments.family, "held_out": arguments.held_out, **settings, "loss": loss, "seconds": seconds, **judged}))


if __name__ == "__main__":
    main()
