"""Tiny pictures of every kind that web pages serve, and what Pillow 12.3.0 sees in them.

    python tests/golden/image.py         # writes tests/golden/images/, image.json, image.rgb

For each file: the size and the RGB values of `convert("RGB")` (`blip`: no orientation,
alpha dropped), and of the picture turned upright on white (`upright`). The values lie in
image.rgb, `at` is where they begin; equal ones are stored once.
`tolerance` is the largest difference of a value that the test allows: 0 unless the
format is lossy, where decoders differ in how they round and interpolate colours.
"""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy
import PIL
from PIL import Image, ImageOps

FOLDER = Path(__file__).with_name("images")
EXIF_ORIENTATION = 274


def photograph(width, height, phase=0.0):
    """Smooth colours with an edge, so that turning and channel order show."""
    y, x = numpy.mgrid[0:height, 0:width]
    red = 255 * x / max(width - 1, 1)
    green = 255 * y / max(height - 1, 1)
    blue = 127 + 127 * numpy.sin(phase + (x + 2 * y) / 5)
    picture = numpy.stack([red, green, blue], axis=-1)
    picture[: height // 3, : width // 4] = (250, 30, 20)
    return Image.fromarray(picture.round().astype(numpy.uint8))


def alpha(width, height):
    y, x = numpy.mgrid[0:height, 0:width]
    return Image.fromarray(((x * 37 + y * 11) % 256).astype(numpy.uint8))


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width, height, depth, colour, rows, chunks=()):
    """A PNG from packed rows, for what Pillow cannot write."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        + b"".join(chunk(name, content) for name, content in chunks)
        + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def bmp_with_alpha(picture):
    """A BMP of 32 bits with an alpha mask (BITMAPV4HEADER)."""
    width, height = picture.size
    pixels = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA")
    masks = struct.pack("<4I", 0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header += masks + b"BGRs" + bytes(108 - 40 - 16 - 4)
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(pixels), 0, 0, 14 + 108) + header + pixels


def gif_with_offset():
    """A first frame smaller than its canvas, second frame of another colour."""
    palette = bytes([10, 20, 30, 250, 240, 0, 0, 200, 0, 90, 0, 250])
    data = b"GIF89a" + struct.pack("<HHBBB", 6, 5, 0b1000_0001, 0, 0) + palette
    for left, colour in ((2, 1), (0, 2)):
        frame = Image.new("P", (3, 2), colour)
        frame.putpalette(palette)
        plain = encoded(frame, "GIF", optimize=False)
        start = plain.index(b"\x2c")
        # Image descriptor of nine bytes, then code size and blocks.
        packed = plain[start + 9]
        at = start + 10 + (3 << ((packed & 7) + 1) if packed & 0x80 else 0)
        blocks = plain[at:-1]
        data += b"\x2c" + struct.pack("<HHHHB", left, 1, 3, 2, 0) + blocks
    return data + b";"


def orientation(number):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = number
    return exif


def ycck():
    """CMYK stored as YCCK: Pillow writes Adobe transform 2 only when it is asked to."""
    cmyk = photograph(40, 24).convert("CMYK")
    inverted = Image.fromarray(255 - numpy.asarray(cmyk), "CMYK")
    # libjpeg's YCCK: the first three samples are YCbCr of (255-C, 255-M, 255-Y).
    c, m, y, k = inverted.split()
    rgb = Image.merge("RGB", [Image.eval(band, lambda v: 255 - v) for band in (c, m, y)])
    bands = [*rgb.convert("YCbCr").split(), k]
    plain = encoded(
        Image.eval(Image.merge("CMYK", bands), lambda v: 255 - v), "JPEG", quality=92
    )
    at = plain.index(b"Adobe")
    return plain[: at + 11] + b"\x02" + plain[at + 12 :]


def scan_by_scan(picture):
    """A baseline JPEG with one scan for each component, from three grey ones."""
    bands = [encoded(band, "JPEG", quality=90) for band in picture.convert("YCbCr").split()]
    start, scan = bands[0].index(b"\xff\xc0"), bands[0].index(b"\xff\xda")
    width, height = picture.size
    frame = struct.pack(">BBHBHHB", 0xFF, 0xC0, 17, 8, height, width, 3)
    frame += b"".join(bytes([name, 0x11, 0]) for name in (1, 2, 3))
    joined = bands[0][:start] + frame + bands[0][start + 13 : scan]
    for name, band in zip((1, 2, 3), bands):
        data = band[band.index(b"\xff\xda") + 10 : -2]
        joined += b"\xff\xda\0\x08\x01" + bytes([name, 0, 0, 63, 0]) + data
    return joined + b"\xff\xd9"


def files():
    picture = photograph(40, 24)
    transparent = picture.copy()
    transparent.putalpha(alpha(40, 24))
    few = picture.quantize(16, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    grey = picture.convert("L")

    # JPEG. The tolerance covers another rounding of the inverse DCT and of the colours;
    # halved chroma is interpolated differently at the borders of blocks.
    yield "rgb-444.jpg", encoded(picture, "JPEG", quality=90, subsampling=0), 3
    yield "rgb-422.jpg", encoded(picture, "JPEG", quality=90, subsampling=1), 6
    yield "rgb-420.jpg", encoded(picture, "JPEG", quality=90, subsampling=2), 6
    yield "rgb-420-odd.jpg", encoded(photograph(37, 19), "JPEG", quality=90, subsampling=2), 6
    yield "one-pixel.jpg", encoded(photograph(1, 1), "JPEG"), 3
    yield "progressive.jpg", encoded(picture, "JPEG", quality=90, subsampling=0, progressive=True), 3
    yield "progressive-420.jpg", encoded(photograph(45, 33), "JPEG", progressive=True), 6
    yield "grey.jpg", encoded(grey, "JPEG", quality=90), 3
    yield "grey-progressive.jpg", encoded(grey, "JPEG", progressive=True), 3
    yield "adobe-rgb.jpg", encoded(picture, "JPEG", quality=90, keep_rgb=True), 3
    yield "cmyk.jpg", encoded(picture.convert("CMYK"), "JPEG", quality=92), 3
    yield "ycck.jpg", ycck(), 4
    yield "restart.jpg", encoded(picture, "JPEG", quality=90, subsampling=0, restart_marker_blocks=3), 3
    yield "scan-by-scan.jpg", scan_by_scan(picture), 3
    plain = encoded(picture, "JPEG", quality=90, subsampling=0)
    yield "junk-between-segments.jpg", plain[:2] + b"\xff\xfe\0\x04ab" + b"\0" * 9 + plain[2:], 3
    yield "bad-app-segments.jpg", plain[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x09" + b"\xff\xe2\0\x02" + plain[2:], 3
    yield "trailing-bytes.jpg", plain + b"\xff\xd8 and more \xff" * 5, 3
    for number in range(1, 9):
        yield f"orientation-{number}.jpg", encoded(
            photograph(16, 8), "JPEG", quality=95, subsampling=0, exif=orientation(number)
        ), 3

    yield "rgb.png", encoded(picture, "PNG"), 0
    yield "rgba.png", encoded(transparent, "PNG"), 0
    yield "grey-alpha.png", encoded(transparent.convert("LA"), "PNG"), 0
    yield "palette.png", encoded(few, "PNG"), 0
    yield "palette-trns.png", encoded(few, "PNG", transparency=bytes(range(0, 256, 16))), 0
    yield "grey-1-bit.png", encoded(grey.convert("1"), "PNG"), 0
    yield "grey-2-bits.png", png(5, 2, 2, 0, [b"\x1b\x40", b"\xe4\xc0"]), 0
    yield "grey-trns.png", encoded(grey, "PNG", transparency=128), 0
    yield "rgb-trns.png", encoded(picture, "PNG", transparency=(250, 30, 20)), 0
    wide = numpy.random.default_rng(0).integers(0, 65536, (6, 8, 4), dtype=numpy.uint16)
    rows = [row[:, :3].astype(">u2").tobytes() for row in wide]
    yield "rgb-16.png", png(8, 6, 16, 2, rows), 0
    rows = [row.astype(">u2").tobytes() for row in wide]
    yield "rgba-16.png", png(8, 6, 16, 6, rows), 0
    yield "orientation-6.png", encoded(photograph(16, 8), "PNG", exif=orientation(6)), 0
    yield "trailing-bytes.png", encoded(picture, "PNG") + b"more", 0

    yield "lossless.webp", encoded(picture, "WEBP", lossless=True), 0
    yield "lossless-alpha.webp", encoded(transparent, "WEBP", lossless=True, exact=True), 0
    yield "lossy.webp", encoded(picture, "WEBP", quality=90), 2
    yield "lossy-alpha.webp", encoded(transparent, "WEBP", quality=90, exact=True), 2
    yield "orientation-8.webp", encoded(
        photograph(16, 8), "WEBP", lossless=True, exif=orientation(8)
    ), 0
    yield "animated.webp", encoded(
        picture, "WEBP", lossless=True, save_all=True, append_images=[photograph(40, 24, 2)]
    ), 0

    yield "plain.gif", encoded(few, "GIF"), 0
    yield "animated.gif", encoded(
        few, "GIF", save_all=True, append_images=[photograph(40, 24, 2).quantize(8)]
    ), 0
    yield "transparent.gif", encoded(few, "GIF", transparency=3), 0
    yield "interlaced.gif", encoded(few, "GIF", interlace=1), 0
    yield "offset-frame.gif", gif_with_offset(), 0

    yield "rgb.bmp", encoded(picture, "BMP"), 0
    yield "palette.bmp", encoded(few, "BMP"), 0
    yield "grey-1-bit.bmp", encoded(grey.convert("1"), "BMP"), 0
    yield "alpha.bmp", bmp_with_alpha(transparent), 0

    yield "rgb.tif", encoded(picture, "TIFF"), 0
    yield "lzw.tif", encoded(picture, "TIFF", compression="tiff_lzw"), 0
    yield "deflate.tif", encoded(picture, "TIFF", compression="tiff_adobe_deflate"), 0
    yield "grey.tif", encoded(grey, "TIFF"), 0
    yield "rgba.tif", encoded(transparent, "TIFF"), 0
    yield "cmyk.tif", encoded(picture.convert("CMYK"), "TIFF"), 1
    yield "orientation-6.tif", encoded(
        photograph(16, 8), "TIFF", tiffinfo={EXIF_ORIENTATION: 6}
    ), 0


def on_white(picture):
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
        return white
    return picture.convert("RGB")


def view(picture, values):
    samples = picture.tobytes()
    at = values.find(samples)
    if at < 0:
        at = len(values)
        values.extend(samples)
    return {"size": list(picture.size), "at": at}


def main():
    assert PIL.__version__ == "12.3.0", f"got Pillow {PIL.__version__}, expected 12.3.0"
    FOLDER.mkdir(exist_ok=True)
    cases, values = [], bytearray()
    for name, content, tolerance in files():
        (FOLDER / name).write_bytes(content)
        as_blip = Image.open(io.BytesIO(content)).convert("RGB")
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        cases.append({
            "file": name,
            "tolerance": tolerance,
            "blip": view(as_blip, values),
            "upright": view(on_white(upright), values),
        })
    Path(__file__).with_suffix(".rgb").write_bytes(values)
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_suffix(".json").write_text(
        f'{{"pillow": "{PIL.__version__}", "cases": [\n{lines}\n]}}\n'
    )


if __name__ == "__main__":
    main()
