"""Draws PNG files: every colour type, depth and interlace, palettes, transparency, orientation, and mutations."""

import struct
import zlib

import numpy

import exif

DEPTHS = {0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16]}
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(name, content):
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def packed(samples, depth):
    """Rows of samples (height, width, channels) as bytes."""
    flat = samples.reshape(samples.shape[0], -1)
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in flat]
    if depth == 8:
        return [row.astype(numpy.uint8).tobytes() for row in flat]
    bits = (flat[:, :, None] >> numpy.arange(depth - 1, -1, -1)) & 1
    return [numpy.packbits(row.reshape(-1).astype(numpy.uint8)).tobytes() for row in bits]


def filtered(random, rows, pixel):
    """Rows behind a random filter each."""
    found, above = b"", bytes(len(rows[0]))
    for row in rows:
        kind = int(random.integers(0, 5))
        now = numpy.frombuffer(row, numpy.uint8).astype(int)
        up = numpy.frombuffer(above, numpy.uint8).astype(int)
        left = numpy.concatenate([numpy.zeros(pixel, int), now])[: len(now)]
        corner = numpy.concatenate([numpy.zeros(pixel, int), up])[: len(now)]
        guess = left + up - corner
        distances = numpy.stack([abs(guess - left), abs(guess - up), abs(guess - corner)])
        paeth = numpy.choose(distances.argmin(0), [left, up, corner])
        base = [numpy.zeros_like(now), left, up, (left + up) // 2, paeth][kind]
        found += bytes([kind]) + ((now - base) & 255).astype(numpy.uint8).tobytes()
        above = row
    return found


def image_data(random, samples, depth, interlaced):
    pixel = max(1, samples.shape[2] * depth // 8)
    if not interlaced:
        return filtered(random, packed(samples, depth), pixel)
    data = b""
    for left, top, across, down in PASSES:
        part = samples[top::down, left::across]
        if part.size:
            data += filtered(random, packed(part, depth), pixel)
    return data


def transparency(random, colour, depth, samples, entries):
    if colour == 3:
        return bytes(random.integers(0, 256, int(random.integers(1, entries + 1)), dtype=numpy.uint8))
    if colour in (0, 2):
        # The colour of a pixel, mostly.
        y, x = (int(random.integers(0, size)) for size in samples.shape[:2])
        return samples[y, x].astype(">u2").tobytes()
    return b""


def mutated(random, chunks):
    """Moves, repeats, cuts or damages what is not the header."""
    chunks = list(chunks)
    at = int(random.integers(1, len(chunks)))
    name, content = chunks[at][4:8], chunks[at][8:-4]
    kind = int(random.integers(0, 5))
    if kind == 0:
        chunks.insert(at, chunk(b"prIv", b"private"))
    elif kind == 1:
        chunks.insert(at, chunks[at])
    elif kind == 2:
        chunks[at] = chunk(name, content[: len(content) // 2])
    elif kind == 3 and content:
        spoiled = bytearray(content)
        spoiled[int(random.integers(0, len(spoiled)))] ^= 1 << int(random.integers(0, 8))
        chunks[at] = chunk(name, bytes(spoiled))
    else:
        del chunks[at]
    return chunks, f"mutation {kind} of {name.decode()}"


def draw(random):
    colour = int(random.choice(list(DEPTHS)))
    depth = int(random.choice(DEPTHS[colour]))
    interlaced = int(random.random() < 0.4)
    width, height = (int(random.integers(1, 41)) for _ in range(2))
    entries = int(random.integers(1, 2**depth + 1)) if colour == 3 else 0
    most = entries or 2**depth
    samples = random.integers(0, most, (height, width, CHANNELS[colour]))
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))]
    if random.random() < 0.2:
        chunks.append(chunk(b"gAMA", struct.pack(">I", 45455)))
    if colour == 3:
        chunks.append(chunk(b"PLTE", bytes(random.integers(0, 256, 3 * entries, dtype=numpy.uint8))))
    kind = f"colour {colour} depth {depth} interlaced {interlaced} {width}x{height} palette {entries}"
    # Pillow compares the transparent colour with samples that it has reduced to 8 bits.
    is_transparent = depth < 16 and random.random() < 0.35
    trns = transparency(random, colour, depth, samples, entries) if is_transparent else b""
    if trns:
        chunks.append(chunk(b"tRNS", trns))
        kind += " tRNS"
    data = zlib.compress(image_data(random, samples, depth, interlaced), int(random.integers(0, 10)))
    parts = int(random.integers(1, 4))
    cuts = [len(data) * part // parts for part in range(parts + 1)]
    chunks += [chunk(b"IDAT", data[a:b]) for a, b in zip(cuts, cuts[1:])] + [chunk(b"IEND", b"")]
    if random.random() < 0.3:
        name, content, what = exif.png_chunk(random)
        chunks.insert(int(random.choice([1, len(chunks) - 1])), chunk(name, content))
        kind += f" {what}"
    if random.random() < 0.3:
        chunks, what = mutated(random, chunks)
        kind += f" {what}"
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks), kind
