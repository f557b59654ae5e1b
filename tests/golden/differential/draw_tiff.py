"""Draws TIFF files: compressions, predictor, tiles, planes, palettes, alpha, YCbCr, 16 bits, orientation, mutations."""

import struct
import zlib

import numpy

SHORT, LONG = 3, 4
# Photometric interpretation and samples of a pixel.
KINDS = {
    "white-is-zero": (0, 1), "grey": (1, 1), "rgb": (2, 3), "palette": (3, 1), "grey-alpha": (1, 2), "rgba": (2, 4),
    "cmyk": (5, 4), "ycbcr": (6, 3),
}


def pack_bits(row):
    data, at = b"", 0
    while at < len(row):
        end = at + 1
        while end < len(row) and end - at < 128 and row[end] == row[at]:
            end += 1
        if end - at > 1:
            data += bytes([257 - (end - at), row[at]])
        else:
            end = min(len(row), at + 5)
            data += bytes([end - at - 1]) + row[at:end]
        at = end
    return data


def lzw(data):
    """Codes of TIFF's LZW, without strings: each byte alone, cleared before codes grow."""
    bits = []
    for at, byte in enumerate(data):
        if at % 200 == 0:
            bits.append(format(256, "09b"))
        bits.append(format(byte, "09b"))
    text = "".join([*bits, format(257, "09b")]) if data else format(256, "09b") + format(257, "09b")
    text += "0" * (-len(text) % 8)
    return int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:]


def encoded(samples, bits, compression, predictor, order):
    """Bytes of samples (height, width, channels)."""
    values = samples.astype(numpy.int64)
    if predictor:
        values = numpy.concatenate([values[:, :1], numpy.diff(values, axis=1)], axis=1) & (2**bits - 1)
    flat = values.reshape(values.shape[0], -1)
    if bits == 16:
        rows = [row.astype(order + "u2").tobytes() for row in flat]
    elif bits == 8:
        rows = [row.astype(numpy.uint8).tobytes() for row in flat]
    else:
        spread = ((flat[:, :, None] >> numpy.arange(bits - 1, -1, -1)) & 1).reshape(flat.shape[0], -1)
        rows = [numpy.packbits(row.astype(numpy.uint8)).tobytes() for row in spread]
    if compression == 32773:
        return b"".join(pack_bits(row) for row in rows)
    data = b"".join(rows)
    return {1: bytes, 5: lzw, 8: zlib.compress, 32946: zlib.compress}[compression](data)


def pieces(random, samples, tags, tiled):
    """Cuts samples into strips or tiles, and says so in `tags`."""
    height, width = samples.shape[:2]
    if tiled:
        across, down = (16 * int(random.integers(1, 3)) for _ in range(2))
        tags[322], tags[323] = (SHORT, [across]), (SHORT, [down])
        padded = numpy.pad(samples, ((0, -height % down), (0, -width % across), (0, 0)))
        return [
            padded[y : y + down, x : x + across]
            for y in range(0, height, down)
            for x in range(0, width, across)
        ]
    rows = int(random.integers(1, height + 1))
    tags[278] = (LONG, [rows])
    return [samples[y : y + rows] for y in range(0, height, rows)]


def written(order, tags, data):
    """A file of one directory; `data` are strips or tiles under tag 273 or 324."""
    place = 273 if 322 not in tags else 324
    content, offsets = b"", []
    for piece in data:
        content += b"\0" * (len(content) % 2)
        offsets.append(8 + len(content))
        content += piece
    tags[place], tags[place + 6 if place == 273 else 325] = (LONG, offsets), (LONG, [len(piece) for piece in data])
    content += b"\0" * (len(content) % 2)
    start = 8 + len(content)
    behind = start + 2 + 12 * len(tags) + 4
    entries = extra = b""
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(order + ("H" if kind == SHORT else "L") * len(values), *values)
        if len(value) > 4:
            extra += b"\0" * (len(extra) % 2)
            value, extra = struct.pack(order + "L", behind + len(extra)), extra + value
        entries += struct.pack(order + "HHL", tag, kind, len(values)) + value.ljust(4, b"\0")
    magic = b"II\x2a\0" if order == "<" else b"MM\0\x2a"
    head = magic + struct.pack(order + "L", start)
    return head + content + struct.pack(order + "H", len(tags)) + entries + bytes(4) + extra


def draw(random):
    width, height = (int(random.integers(1, 41)) for _ in range(2))
    name = str(random.choice(list(KINDS)))
    photometric, channels = KINDS[name]
    bits = 8
    if name in ("white-is-zero", "grey", "palette"):
        bits = int(random.choice([1, 2, 4, 8, 8, 16] if name != "palette" else [1, 2, 4, 8]))
    elif name in ("rgb", "rgba"):
        bits = int(random.choice([8, 8, 16]))
    order = str(random.choice(["<", ">"]))
    compression = int(random.choice([1, 1, 5, 8, 32946, 32773]))
    predictor = compression in (5, 8, 32946) and bits >= 8 and name not in ("palette", "ycbcr") and random.random() < 0.5
    planar = channels > 1 and name != "ycbcr" and random.random() < 0.2
    tiled = random.random() < 0.3
    samples = random.integers(0, 2**bits, (height, width, channels))
    tags = {
        256: (SHORT, [width]), 257: (SHORT, [height]), 258: (SHORT, [bits] * channels), 259: (SHORT, [compression]),
        262: (SHORT, [photometric]), 277: (SHORT, [channels]), 284: (SHORT, [2 if planar else 1]),
    }
    if predictor:
        tags[317] = (SHORT, [2])
    if name in ("grey-alpha", "rgba"):
        tags[338] = (SHORT, [int(random.choice([1, 2, 2, 0]))])
    if name == "palette":
        tags[320] = (SHORT, [257 * int(one) for one in random.integers(0, 256, 3 * 2**bits)])
    if name == "ycbcr":
        tags[530] = (SHORT, [1, 1])
    kind = f"{name} {bits} bits {width}x{height} {order} compression {compression} predictor {predictor}"
    kind += f" planar {planar} tiled {tiled} extra {tags.get(338)}"
    if random.random() < 0.3:
        number = int(random.integers(0, 10))
        tags[274] = (SHORT, [number])
        kind += f" orientation {number}"
    planes = [samples[:, :, at : at + 1] for at in range(channels)] if planar else [samples]
    start = random.bit_generator.state
    data = []
    for plane in planes:
        random.bit_generator.state = start
        data += [encoded(piece, bits, compression, predictor, order) for piece in pieces(random, plane, tags, tiled)]
    content = written(order, tags, data)
    if random.random() < 0.12:
        where = int(random.integers(8, len(content)))
        if random.random() < 0.5:
            content, kind = content[:where], kind + f" cut at {where}"
        else:
            spoiled = bytearray(content)
            spoiled[where] ^= 1 << int(random.integers(0, 8))
            content, kind = bytes(spoiled), kind + f" a bit changed at {where}"
    return content, kind
