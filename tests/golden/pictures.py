"""The pictures and texts of the reference numbers, and Pillow's way from bytes to pixels."""

import hashlib
import io
import re
from pathlib import Path

import numpy
import pyarrow.parquet as parquet
from PIL import Image
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

PICTURES = 220


class Pictures:
    """The first `PICTURES` pictures of a Parquet file with an `image` struct, ordered by path."""

    def __init__(self, path: Path):
        table = parquet.read_table(path)
        if "split" in table.column_names:
            table = table.filter([split == "demo" for split in table["split"].to_pylist()])
        text = "text" if "text" in table.column_names else "title"
        rows = zip(table["image"].to_pylist(), table[text].to_pylist(), strict=True)
        rows = sorted(rows, key=lambda row: row[0]["path"])[:PICTURES]
        self.paths = [image["path"] for image, _ in rows]
        self.titles = [title or "" for _, title in rows]
        self.rgb = [on_white(image["bytes"]) for image, _ in rows]
        self.sha256 = [hashlib.sha256(image["bytes"]).hexdigest() for image, _ in rows]

    def __len__(self):
        return len(self.paths)

    def manifest(self):
        """What a test needs in order to find the same pictures and to check its decoder first."""
        return [
            {
                "path": path,
                "sha256": sha256,
                "width": picture.width,
                "height": picture.height,
                "rgb_sha256": hashlib.sha256(picture.tobytes()).hexdigest(),
            }
            for path, sha256, picture in zip(self.paths, self.sha256, self.rgb, strict=True)
        ]

    def tensors(self, size: int) -> numpy.ndarray:
        """float32 [pictures, 3, size, size] by transformers' Pillow processor."""
        processor = BlipImageProcessorPil(size={"height": size, "width": size})
        return numpy.stack(
            [numpy.asarray(processor(picture)["pixel_values"][0], numpy.float32) for picture in self.rgb]
        )


def on_white(data: bytes) -> Image.Image:
    """The decoded picture as RGB, transparency composited on white."""
    picture = Image.open(io.BytesIO(data))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def clean_caption(text: str, max_words: int = 30) -> str:
    """What BLIP does to a text before its tokenizer sees it."""
    text = re.sub(r"[.!\"()*#:;~]", " ", text.lower())
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])
