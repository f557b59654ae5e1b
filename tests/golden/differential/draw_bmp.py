"""Draws BMP files: 1 to 32 bits, run lengths, top-down, masks, short palettes, old and new headers, mutations."""

import struct

import numpy


def rows(random, width, height, bits):
    """Rows of random pixels, each filled up to four bytes."""
    stride = (width * bits + 31) // 32 * 4
    return random.integers(0, 256, (height, stride), dtype=numpy.uint8)


def indexed(random, width, height, bits, entries):
    data = random.integers(0, entries, (height, width))
    stride = (width * bits + 31) // 32 * 4
    spread = ((data[:, :, None] >> numpy.arange(bits - 1, -1, -1)) & 1).reshape(height, -1).astype(numpy.uint8)
    packed = numpy.packbits(spread, axis=1)
    return numpy.pad(packed, ((0, 0), (0, stride - packed.shape[1]))).tobytes()


def run_lengths(random, width, height, bits, entries):
    """Runs and literal pixels that fill all rows, of 8 or 4 bits."""
    data = b""
    for _ in range(height):
        left = width
        while left:
            if random.random() < 0.6 or left < 3:
                count = int(random.integers(1, min(left, 255) + 1))
                high, low = (int(one) for one in random.integers(0, entries, 2))
                data += bytes([count, high if bits == 8 else high << 4 | low])
            else:
                count = int(random.integers(3, min(left, 255) + 1))
                if bits == 4 and count % 2:
                    # Pillow loses the last of an odd number of literal pixels of 4 bits.
                    count = count - 1 if count > 3 else 4 if left > 3 else 0
                if count == 0:
                    data += bytes([left, 0x11 if entries > 1 else 0])
                    break
                pixels = [int(one) for one in random.integers(0, entries, count)]
                if bits == 4:
                    pixels += [0] * (len(pixels) % 2)
                    pixels = [a << 4 | b for a, b in zip(pixels[::2], pixels[1::2])]
                data += bytes([0, count, *pixels]) + b"\0" * (len(pixels) % 2)
            left -= count
        data += b"\0\0"
    return data + b"\0\1"


MASKS = {
    16: [(0x7C00, 0x3E0, 0x1F, 0), (0xF800, 0x7E0, 0x1F, 0)],
    32: [(0xFF0000, 0xFF00, 0xFF, 0), (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF, 0xFF00, 0xFF0000, 0xFF000000)],
}


def draw(random):
    width, height = (int(random.integers(1, 41)) for _ in range(2))
    bits = int(random.choice([1, 4, 8, 16, 24, 32]))
    size = int(random.choice([12, 40, 40, 40, 108, 124])) if bits not in (16, 32) else int(random.choice([40, 56, 108, 124]))
    compression, masks, palette, entries = 0, b"", b"", 0
    kind = f"{bits} bits {width}x{height} header {size}"
    if bits <= 8:
        entries = 1 << bits
        if size > 12 and random.random() < 0.4:
            entries = int(random.integers(2, entries + 1))
        colours = random.integers(0, 256, (entries, 4), dtype=numpy.uint8)
        colours[:, 3] = 0
        palette = (colours[:, :3] if size == 12 else colours).tobytes()
        if bits in (4, 8) and size > 12 and random.random() < 0.4:
            compression = 1 if bits == 8 else 2
            data = run_lengths(random, width, height, bits, entries)
        else:
            data = indexed(random, width, height, bits, entries)
    else:
        data = rows(random, width, height, bits).tobytes()
        if bits in MASKS and (size > 40 or random.random() < 0.5):
            compression = 3
            chosen = MASKS[bits][int(random.integers(len(MASKS[bits])))]
            masks = struct.pack("<4I", *chosen)
            kind += f" masks {chosen}"
    top_down = size > 12 and compression in (0, 3) and random.random() < 0.3
    if size == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        shown = -height if top_down else height
        used = entries if entries < 1 << bits or random.random() < 0.5 else 0
        header = struct.pack("<IiiHHIIiiII", size, width, shown, 1, bits, compression, len(data), 2835, 2835, used, 0)
        if size > 40:
            header += masks or struct.pack("<4I", 0, 0, 0, 0)
            header += b"BGRs" + bytes(size - len(header) - 4) if size > 56 else bytes(size - len(header))
        elif masks:
            header += masks[:12]
    gap = bytes(int(random.choice([0, 0, 0, 2, 8])))
    offset = 14 + len(header) + len(palette) + len(gap)
    content = b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + palette + gap + data
    kind += f" compression {compression} palette {entries} top-down {top_down}"
    if random.random() < 0.15:
        where = int(random.integers(18, len(content)))
        if random.random() < 0.5:
            content, kind = content[:where], kind + f" cut at {where}"
        else:
            spoiled = bytearray(content)
            spoiled[where] ^= 1 << int(random.integers(0, 8))
            content, kind = bytes(spoiled), kind + f" a bit changed at {where}"
    return content, kind
