"""Expected values of the bicubic resize, from Pillow 12.3.0.

    python tests/golden/resize.py        # writes tests/golden/resize.json

A picture is made on both sides from (content, seed, width, height): the samples
in row order are the high bytes of s[1], s[2], .. where s[0] = seed and
s[i] = 1664525 s[i-1] + 1013904223 modulo 2^32. Content `noise` takes them as they
are, `extremes` makes them 0 below 128 and 255 from there. What Pillow makes of it
is stored as SHA-256 of the RGB bytes, small results in full too.
"""

import hashlib
import json
from pathlib import Path

import numpy
import PIL
from PIL import Image

# (from width, from height, to width, to height)
SHAPES = [
    # Down and up, square and not, even and odd.
    (256, 256, 48, 48), (96, 96, 48, 48), (97, 61, 48, 48), (640, 480, 384, 384),
    (1024, 768, 384, 384), (333, 500, 384, 384), (48, 48, 384, 384), (31, 29, 97, 83),
    (300, 200, 150, 100), (100, 150, 200, 300), (255, 257, 256, 256), (385, 383, 384, 384),
    (500, 375, 224, 224), (123, 457, 56, 489), (64, 48, 47, 91),
    # One side unchanged, or both.
    (384, 100, 384, 384), (100, 384, 384, 384), (384, 384, 384, 384), (48, 200, 48, 50),
    (200, 48, 50, 48), (7, 7, 7, 7), (5, 9, 5, 10), (9, 5, 10, 5),
    # One pixel wide, high, or both.
    (1, 1, 1, 1), (1, 1, 48, 48), (1, 77, 48, 48), (77, 1, 48, 48), (1, 50, 1, 7),
    (50, 1, 7, 1), (64, 64, 1, 1), (64, 64, 1, 64), (64, 64, 64, 1), (3, 2, 1, 5),
    (1, 2, 2, 1), (2, 1, 3, 4),
    # Extreme aspect ratios.
    (3000, 3, 48, 48), (3, 3000, 48, 48), (5000, 1, 384, 2), (1, 5000, 2, 384),
    (2, 1000, 384, 5), (1500, 20, 16, 300), (4096, 2, 1, 1),
    # Around the place where Pillow changes the order of its passes.
    (10, 1000, 48, 48), (10, 1001, 48, 48), (4, 500, 48, 499), (4, 500, 48, 500),
    (4, 500, 48, 600),
    # Small ones, written in full.
    (2, 2, 3, 3), (3, 3, 2, 2), (4, 3, 6, 2), (8, 8, 3, 4), (5, 1, 2, 2), (9, 2, 4, 4),
]
FULL_UP_TO = 16  # pixels of a result that is written in full


def picture(content, seed, width, height):
    count = 3 * width * height
    with numpy.errstate(over="ignore"):
        powers = numpy.cumprod(numpy.full(count, 1664525, numpy.uint32), dtype=numpy.uint32)
        sums = numpy.cumsum(
            numpy.concatenate([[numpy.uint32(1)], powers[:-1]]), dtype=numpy.uint32
        )
        states = powers * numpy.uint32(seed) + sums * numpy.uint32(1013904223)
    samples = (states >> 24).astype(numpy.uint8)
    if content == "extremes":
        samples = numpy.where(samples < 128, 0, 255).astype(numpy.uint8)
    return Image.fromarray(samples.reshape(height, width, 3))


def main():
    assert PIL.__version__ == "12.3.0", f"got Pillow {PIL.__version__}, expected 12.3.0"
    cases = []
    for index, (width, height, to_width, to_height) in enumerate(SHAPES):
        for content in ("noise", "extremes"):
            seed = 2 * index + (content == "extremes")
            result = picture(content, seed, width, height).resize(
                (to_width, to_height), Image.Resampling.BICUBIC
            )
            samples = result.tobytes()
            case = {
                "content": content,
                "seed": seed,
                "from": [width, height],
                "to": [to_width, to_height],
                "sha256": hashlib.sha256(samples).hexdigest(),
            }
            if to_width * to_height <= FULL_UP_TO:
                case["samples"] = list(samples)
            cases.append(case)
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_suffix(".json").write_text(
        f'{{"pillow": "{PIL.__version__}", "cases": [\n{lines}\n]}}\n'
    )


if __name__ == "__main__":
    main()
