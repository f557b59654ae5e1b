"""Draws pictures of every format and says what Pillow sees in them, for the test `differential`.

    python tests/golden/differential SEED FORMAT=COUNT..

Writes records to standard output: format, kind, file, and either Pillow's reason against it or two
pictures of it, as BLIP sees it (`convert("RGB")`) and upright on white. Lengths are 32 bits,
little-endian. The n-th file of a format depends on the seed and n alone.
"""

import importlib
import io
import os
import struct
import sys
import warnings

import numpy
from PIL import Image, ImageOps


def rgb(picture):
    """Of 16 bits the high byte, as the crate says; Pillow would clip grey ones."""
    if picture.mode.startswith("I"):
        high = (numpy.asarray(picture).astype(numpy.int64) >> 8).clip(0, 255)
        return Image.fromarray(high.astype(numpy.uint8)).convert("RGB")
    return picture.convert("RGB")


def on_white(picture):
    if picture.mode.startswith("I") or not picture.has_transparency_data:
        return rgb(picture)
    rgba = picture.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return white


def opened(content):
    picture = Image.open(io.BytesIO(content))
    depth = content[24]
    if picture.format == "PNG" and picture.mode in ("1", "L") and isinstance(picture.info.get("transparency"), int):
        # Only the lower bits count. Pillow spreads grey of 2 and 4 bits to 8, but not the transparent one.
        at = content.index(b"tRNS") + 4
        transparent = int.from_bytes(content[at : at + 2], "big") & (2**depth - 1)
        picture.info["transparency"] = transparent * (255 // (2**depth - 1))
    return picture


def seen(content):
    """What Pillow sees, or why it does not."""
    try:
        as_blip = rgb(opened(content))
        upright = on_white(ImageOps.exif_transpose(opened(content)))
    except Exception as error:
        return None, f"{type(error).__name__}: {error}".split(" <_io")[0]
    return (as_blip, upright), None


def field(content):
    return struct.pack("<I", len(content)) + content


def record(name, kind, content):
    views, reason = seen(content)
    parts = [field(name.encode()), field(kind.encode()), field(content)]
    if views is None:
        return b"".join([*parts, b"\0", field(reason.encode())])
    parts.append(b"\1")
    for view in views:
        parts += [struct.pack("<II", *view.size), field(view.tobytes())]
    return b"".join(parts)


def main():
    warnings.simplefilter("ignore")
    # libtiff writes of every damaged file.
    sys.stderr = os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    seed, *wanted = sys.argv[1:]
    for item in wanted:
        name, count = item.split("=")
        draw = importlib.import_module(f"draw_{name}").draw
        for number in range(int(count)):
            random = numpy.random.default_rng([int(seed), number, *name.encode()])
            content, kind = draw(random)
            sys.stdout.buffer.write(record(name, kind, content))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
