"""Draws GIF files: frames, palettes, transparency, disposal, interlace, odd places and sizes, mutations."""

import struct

import numpy


class Packer:
    """LZW codes as bits, the lowest first."""

    def __init__(self):
        self.value = self.count = 0
        self.data = bytearray()

    def add(self, code, width):
        self.value |= code << self.count
        self.count += width
        while self.count >= 8:
            self.data.append(self.value & 255)
            self.value >>= 8
            self.count -= 8

    def done(self):
        if self.count:
            self.data.append(self.value & 255)
        return bytes(self.data)


def compressed(indices, size):
    clear, packer = 1 << size, Packer()
    table, width, next_code = {}, size + 1, clear + 2
    packer.add(clear, width)
    before = ()
    for index in indices:
        now = before + (index,)
        if len(now) == 1 or now in table:
            before = now
            continue
        packer.add(before[0] if len(before) == 1 else table[before], width)
        if next_code < 4096:
            table[now] = next_code
            if next_code == 1 << width:
                width += 1
            next_code += 1
        else:
            packer.add(clear, width)
            table, width, next_code = {}, size + 1, clear + 2
        before = (index,)
    if before:
        packer.add(before[0] if len(before) == 1 else table[before], width)
    packer.add(clear + 1, width)
    return packer.done()


def blocks(data, size=255):
    return b"".join(bytes([len(part)]) + part for part in (data[at : at + size] for at in range(0, len(data), size))) + b"\0"


def palette(random, bits):
    return bytes(random.integers(0, 256, 3 << bits, dtype=numpy.uint8))


def frame(random, canvas, bits, is_first):
    width, height = canvas
    left = top = 0
    if random.random() < 0.4:
        left, top = int(random.integers(0, width)), int(random.integers(0, height))
        limit = 6 if random.random() < 0.2 else 0
        width = int(random.integers(1, width - left + 1 + limit))
        height = int(random.integers(1, height - top + 1 + limit))
    local = random.random() < 0.3
    own = int(random.integers(1, 9)) if local or bits is None else bits
    flags = (0x80 | (own - 1)) if local or bits is None else 0
    interlaced = random.random() < 0.3
    rows = random.integers(0, 1 << own, (height, width))
    order = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
    stored = rows[order] if interlaced else rows
    content = b""
    if random.random() < 0.5:
        disposal, transparent = int(random.integers(0, 4)), int(random.random() < 0.5)
        index = int(random.integers(0, 1 << own))
        content += b"!\xf9\x04" + bytes([disposal << 2 | transparent, 10, 0, index, 0])
    if random.random() < 0.1:
        content += b"!\xfe" + blocks(b"a comment")
    content += b"," + struct.pack("<HHHHB", left, top, width, height, flags | (0x40 if interlaced else 0))
    if flags & 0x80:
        content += palette(random, own)
    size = max(2, own)
    data = compressed([int(index) for index in stored.reshape(-1)], size)
    return content + bytes([size]) + blocks(data, int(random.choice([255, 255, 20])))


def draw(random):
    canvas = tuple(int(random.integers(1, 41)) for _ in range(2))
    bits = int(random.integers(1, 9)) if random.random() < 0.85 else None
    flags = 0x70 | (0 if bits is None else 0x80 | (bits - 1))
    background = int(random.integers(0, 1 << (bits or 1)))
    count = int(random.choice([1, 1, 2, 3]))
    head = (b"GIF89a" if random.random() < 0.8 else b"GIF87a") + struct.pack("<HHBBB", *canvas, flags, background, 0)
    content = head + (palette(random, bits) if bits else b"")
    kind = f"canvas {canvas} palette {bits} background {background} frames {count}"
    for number in range(count):
        content += frame(random, canvas, bits, number == 0)
    content += b";"
    if random.random() < 0.15:
        where = int(random.integers(13, len(content)))
        if random.random() < 0.5:
            content, kind = content[:where], kind + " cut"
        else:
            spoiled = bytearray(content)
            spoiled[where] ^= 1 << int(random.integers(0, 8))
            content, kind = bytes(spoiled), kind + f" a bit changed at {where}"
    return content, kind
