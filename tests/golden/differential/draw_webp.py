"""Draws WebP files: lossy, lossless, with alpha, animated, with orientation, and mutations."""

import io
import struct

import numpy
from PIL import Image

import exif


def picture(random, width, height, has_alpha):
    channels = 4 if has_alpha else 3
    y, x = numpy.mgrid[0:height, 0:width]
    turns = random.uniform(-0.25, 0.25, (channels, 3))
    smooth = 127 + 120 * numpy.sin(turns[:, 0, None, None] * x + turns[:, 1, None, None] * y + 9 * turns[:, 2, None, None])
    if random.random() < 0.2:
        smooth = random.integers(0, 256, (channels, height, width))
    pixels = numpy.moveaxis(smooth, 0, -1).round().clip(0, 255).astype(numpy.uint8)
    return Image.fromarray(numpy.ascontiguousarray(pixels))


def chunks(content):
    found, at = [], 12
    while at + 8 <= len(content):
        length = struct.unpack("<I", content[at + 4 : at + 8])[0]
        found.append((content[at : at + 4], content[at + 8 : at + 8 + length]))
        at += 8 + length + (length & 1)
    return found


def joined(found):
    body = b"WEBP"
    for name, content in found:
        body += name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) & 1)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def mutated(random, content):
    found = chunks(content)
    kind = int(random.integers(0, 4))
    if kind == 0:
        found.insert(int(random.integers(1, len(found) + 1)), (b"priv", b"private"))
    elif kind == 1:
        return content[: int(random.integers(12, len(content)))], "cut"
    elif kind == 2:
        spoiled = bytearray(content)
        spoiled[int(random.integers(12, len(spoiled)))] ^= 1 << int(random.integers(0, 8))
        return bytes(spoiled), "a bit changed"
    else:
        return content + b"trailing", "trailing bytes"
    return joined(found), f"mutation {kind}"


def draw(random):
    width, height = (int(random.integers(1, 49)) for _ in range(2))
    has_alpha, lossless = random.random() < 0.4, random.random() < 0.5
    first = picture(random, width, height, has_alpha)
    options = {"lossless": bool(lossless), "quality": int(random.integers(5, 101)), "exact": bool(random.random() < 0.7)}
    options["method"] = int(random.integers(0, 7))
    kind = f"{width}x{height} alpha {has_alpha} lossless {lossless}"
    if has_alpha:
        options["alpha_quality"] = int(random.choice([100, 60]))
    if random.random() < 0.2:
        more = [picture(random, width, height, has_alpha) for _ in range(2)]
        options |= {"save_all": True, "append_images": more, "duration": 100, "allow_mixed": bool(random.random() < 0.3)}
        kind += " animated"
    if random.random() < 0.3:
        block, what = exif.block(random)
        options["exif"] = exif.prefix(random) + block
        kind += " " + what
    if random.random() < 0.2:
        options["xmp"], what = exif.packet(random)
        kind += " " + what
    buffer = io.BytesIO()
    first.save(buffer, "WEBP", **options)
    content = buffer.getvalue()
    if random.random() < 0.25:
        content, what = mutated(random, content)
        kind += " " + what
    return content, kind
