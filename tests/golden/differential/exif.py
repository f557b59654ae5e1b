"""Draws EXIF blocks and XMP packets that state an orientation, in every way that readers meet."""

import struct
import zlib

FORMATS = {3: "H", 4: "L", 8: "h", 9: "l", 11: "f", 13: "L"}


def block(random):
    """An EXIF block from its TIFF header on, and what is in it."""
    order = random.choice(["<", ">"])
    number = int(random.choice([1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 300]))
    kind = int(random.choice([3, 3, 3, 4, 8, 9, 11, 13, 1, 2, 5]))
    count = 1 if kind in (1, 2, 5) else int(random.choice([1, 1, 2]))
    entries, behind = [], b""
    if kind == 5:
        value = None
        behind = struct.pack(order + "LL", 2 * number, 2)
    elif kind in FORMATS:
        value = struct.pack(order + FORMATS[kind] * count, *[number, 3][:count])
        if len(value) > 4:
            value, behind = None, value
    else:
        value = bytes([number & 255]) if kind == 1 else str(number % 10).encode()
    if random.random() < 0.3:
        entries.append((0x10F, 2, 3, b"abc\0"))
    entries.append((0x112, kind, count, value))
    if random.random() < 0.1:
        entries.append((0x112, 3, 1, struct.pack(order + "H", 3)))
    if random.random() < 0.08:
        entries.insert(int(random.integers(0, len(entries) + 1)), (0x110, 2, 5000, b"\0\xff\xff\0"))
    if random.random() < 0.1:
        entries = [entry for entry in entries if entry[0] != 0x112]
    magic = {"<": b"II\x2a\0", ">": b"MM\0\x2a"}[order]
    data = magic + struct.pack(order + "L", 8) + struct.pack(order + "H", len(entries))
    place = 8 + 2 + 12 * len(entries) + 4
    for tag, of, many, content in entries:
        content = struct.pack(order + "L", place) if content is None else content.ljust(4, b"\0")
        data += struct.pack(order + "HHL", tag, of, many) + content
    return data + bytes(4) + behind, f"exif {order} type {kind} count {count} says {number}"


def packet(random):
    number = int(random.choice([1, 2, 3, 5, 6, 8, 0, 9]))
    forms = ['<x tiff:Orientation="{}"/>', "<tiff:Orientation>{}</tiff:Orientation>", "<x tiff:Orientation='{}'/>"]
    form = forms[random.choice([0, 0, 1, 1, 2])]
    return ('<x:xmpmeta xmlns:x="adobe:ns:meta/">' + form.format(number) + "</x:xmpmeta>").encode(), f"xmp says {number}"


def prefix(random):
    return b"Exif\0\0" * int(random.choice([0, 1, 2]))


def png_chunk(random):
    """Name and content of a chunk, and what is in it."""
    if random.random() < 0.3:
        content, what = packet(random)
        compressed = int(random.random() < 0.3)
        text = zlib.compress(content) if compressed else content
        return b"iTXt", b"XML:com.adobe.xmp\0" + bytes([compressed, 0, 0, 0]) + text, what
    content, what = block(random)
    if random.random() < 0.5:
        return b"eXIf", prefix(random) + content, what
    profile = b"Exif\0\0" + content
    digits = profile.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = f"\nexif\n{len(profile):8}\n{lines}\n".encode()
    if random.random() < 0.5:
        return b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text), "zTXt profile " + what
    return b"tEXt", b"Raw profile type exif\0" + text, "tEXt profile " + what


def jpeg_segments(random):
    """Contents of APP1 segments, and what is in them."""
    found, said = [], ""
    if random.random() < 0.7:
        content, what = block(random)
        found.append(b"Exif\0\0" + prefix(random) + content)
        said += " " + what
        if random.random() < 0.1:
            found.append(b"Exif\0\0" + block(random)[0])
            said += " twice"
    if random.random() < 0.5:
        content, what = packet(random)
        found.append(b"http://ns.adobe.com/xap/1.0/\0" + content)
        said += " " + what
    return found, said
