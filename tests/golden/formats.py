"""Tiny TIFF and AVIF pictures of every kind, and what Pillow 12.3.0 sees in them.

    apt-get install libavif-bin             # for avifenc 0.11.1: Pillow itself writes only 8 bits
    python tests/golden/formats.py          # writes tests/golden/formats/, formats.json, formats.rgb

As `image.py`, which see: `blip` is `convert("RGB")`, `upright` is turned and laid on white, and
`tolerance` is the largest difference of a value that the test allows. `read` says whether the kind is
read here. Kinds that are not (below: None), and those that Pillow reads otherwise or not at all (below:
`...`), have no views.
"""

import io
import json
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy
import PIL
from PIL import Image, ImageOps, TiffImagePlugin

from image import alpha, encoded, on_white, photograph, view

FOLDER = Path(__file__).with_name("formats")
PHOTOMETRIC, EXTRA = 262, 338


def tiff(samples, photometric, bits=8, order="<", extra=(), tags=(), planar=False, big=False, tile=None):
    """An uncompressed TIFF from an array of rows, columns and samples; packed where bits are few."""
    samples = numpy.atleast_3d(samples)
    height, width, count = samples.shape

    def packed(block):
        if bits == 16:
            return block.astype(order + "u2").tobytes()
        if bits == 8:
            return block.astype(numpy.uint8).tobytes()
        rows = block.reshape(block.shape[0], -1)
        spread = (rows[:, :, None] >> numpy.arange(bits - 1, -1, -1)) & 1
        return numpy.packbits(spread.reshape(len(rows), -1).astype(numpy.uint8), axis=1).tobytes()

    bands = [samples[:, :, band : band + 1] for band in range(count)] if planar else [samples]
    if tile:
        down, across = -(-height // tile), -(-width // tile)
        padded = [numpy.pad(b, ((0, down * tile - height), (0, across * tile - width), (0, 0))) for b in bands]
        chunks = [
            packed(b[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile])
            for b in padded for y in range(down) for x in range(across)
        ]
    else:
        half = -(-height // 2)
        chunks = [packed(b[y : y + half]) for b in bands for y in (0, half)]
    start = 16 if big else 8
    offsets = [start + sum(map(len, chunks[:index])) for index in range(len(chunks))]
    where = {322: tile, 323: tile, 324: offsets, 325: list(map(len, chunks))} if tile else {
        273: offsets, 278: half, 279: list(map(len, chunks))}
    entries = {
        256: width, 257: height, 258: [bits] * count, 259: 1, PHOTOMETRIC: photometric, 277: count,
        284: 2 if planar else 1, **where, **({EXTRA: list(extra)} if extra else {}), **dict(tags),
    }
    data = b"".join(chunks)
    return ifd(data, entries, order, big)


def ifd(data, entries, order, big):
    """A TIFF of chunk data, which stands behind the header, and one directory behind it."""
    mark = b"II" if order == "<" else b"MM"
    word = "Q" if big else "I"
    start = (16 if big else 8) + len(data)
    pad = start % 2
    directory = start + pad
    size = (8 + 20 * len(entries) + 8) if big else (2 + 12 * len(entries) + 4)
    body, behind = b"", b""
    for tag, value in sorted(entries.items()):
        if isinstance(value, bytes):
            kind, count, content = 7, len(value), value
        else:
            values = value if isinstance(value, list) else [value]
            kind = 4 if tag in (256, 257, 273, 278, 279, 324, 325) else 3
            count, content = len(values), struct.pack(order + f"{len(values)}" + ("I" if kind == 4 else "H"), *values)
        room = 8 if big else 4
        if len(content) > room:
            at = directory + size + len(behind)
            behind += content + bytes(len(content) % 2)
            content = struct.pack(order + word, at)
        body += struct.pack(order + "HH" + word, tag, kind, count) + content.ljust(room, b"\0")
    if big:
        head = mark + struct.pack(order + "HHHQ", 43, 8, 0, directory)
        return head + data + bytes(pad) + struct.pack(order + "Q", len(entries)) + body + bytes(8) + behind
    head = mark + struct.pack(order + "HI", 42, directory)
    return head + data + bytes(pad) + struct.pack(order + "H", len(entries)) + body + bytes(4) + behind


def tiff_of_jpegs(picture, photometric, tags=(), **options):
    """A TIFF whose two strips are JPEG data without headers, tables and all."""
    width, height = picture.size
    strips = []
    for top in (0, height // 2):
        jpeg = encoded(picture.crop((0, top, width, top + height // 2)), "JPEG", quality=90, **options)
        # The header of JFIF or Adobe is left out.
        strips.append(jpeg[:2] + jpeg[4 + int.from_bytes(jpeg[4:6], "big") :])
    count = len(picture.getbands())
    entries = {
        256: width, 257: height, 258: [8] * count, 259: 7, PHOTOMETRIC: photometric, 277: count, 278: height // 2,
        273: [8, 8 + len(strips[0])], 279: list(map(len, strips)), **dict(tags),
    }
    return ifd(b"".join(strips), entries, "<", False)


def tiffs():
    picture = photograph(40, 24)
    rgb = numpy.asarray(picture)
    grey = numpy.asarray(picture.convert("L"))
    opacity = numpy.asarray(alpha(40, 24))
    few = picture.quantize(16, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    indices = numpy.asarray(few)

    def colour_map(bits):
        palette = numpy.zeros((1 << bits, 3), numpy.uint16)
        colours = numpy.asarray(few.getpalette()[:48], numpy.uint16).reshape(-1, 3)[: 1 << bits]
        palette[: len(colours)] = colours * 257
        return [(320, palette.T.flatten().tolist())]

    rgba = numpy.dstack([rgb, opacity])
    cmyk = numpy.asarray(picture.convert("CMYK"))
    wide = numpy.random.default_rng(0).integers(0, 65536, (8, 10, 4), dtype=numpy.uint16)

    yield "grey", tiff(grey, 1), 0
    yield "grey, white is 0", tiff(grey, 0), 0
    for bits in (1, 2, 4):
        yield f"grey of {bits} bit", tiff(grey[:, :37] >> (8 - bits), 1, bits), 0
        yield f"grey of {bits} bit, white is 0", tiff(grey[:, :37] >> (8 - bits), 0, bits, order=">"), 0
        yield f"palette of {bits} bit", tiff(indices[:, :37] & ((1 << bits) - 1), 3, bits, tags=colour_map(bits)), 0
    yield "palette", tiff(indices, 3, tags=colour_map(8)), 0
    yield "palette, big-endian", tiff(indices, 3, order=">", tags=colour_map(8)), 0
    yield "palette, LZW with prediction", encoded(few, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}), 0
    yield "palette in tiles", tiff(indices, 3, tags=colour_map(8), tile=16), 0
    yield "palette, BigTIFF", tiff(indices, 3, tags=colour_map(8), big=True), 0
    yield "palette and opacity", tiff(numpy.dstack([indices, opacity]), 3, extra=[2], tags=colour_map(8)), 0
    yield "palette and another sample", tiff(numpy.dstack([indices, opacity]), 3, extra=[0], tags=colour_map(8)), 0
    yield "grey and opacity", tiff(numpy.dstack([grey, opacity]), 1, extra=[2]), 0
    yield "grey and opacity, Deflate with prediction", encoded(
        Image.merge("LA", [picture.convert("L"), alpha(40, 24)]), "TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 2}), 0
    yield "RGB, big-endian", tiff(rgb, 2, order=">"), 0
    yield "RGB in bands", tiff(rgb, 2, planar=True), 0
    yield "RGB in tiles", tiff(rgb, 2, tile=16), 0
    yield "RGB, BigTIFF", tiff(rgb, 2, big=True), 0
    yield "RGB of 16 bit", tiff(wide[..., :3], 2, 16), 0
    yield "RGB of 16 bit, big-endian", tiff(wide[..., :3], 2, 16, order=">"), 0
    yield "RGB and opacity", tiff(rgba, 2, extra=[2]), 0
    yield "RGB and opacity, multiplied", tiff(rgba, 2, extra=[1]), 0
    yield "RGB and opacity of 16 bit", tiff(wide, 2, 16, extra=[2]), 0
    yield "RGB and opacity, not said to be that", tiff(rgba, 2), 0
    yield "RGB and another sample", tiff(rgba, 2, extra=[0]), 0
    yield "RGB and another sample, LZW with prediction", encoded(
        Image.frombytes("RGBX", (40, 24), rgba.tobytes()), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}), 0
    yield "CMYK of 16 bit", tiff(wide, 5, 16), 0
    yield "CMYK in bands", tiff(cmyk, 5, planar=True), 0
    # Pillow takes the bytes of this one for four samples a pixel and ends too early.
    yield "YCbCr", encoded(picture.convert("YCbCr"), "TIFF"), ...
    yield "YCbCr, LZW", encoded(picture.convert("YCbCr"), "TIFF", compression="tiff_lzw"), 0
    # Halved chroma is interpolated differently at the borders of blocks.
    yield "YCbCr, JPEG", encoded(picture, "TIFF", compression="jpeg", quality=90), 6
    yield "YCbCr in strips, JPEG of full chroma", tiff_of_jpegs(picture, 6, subsampling=0, tags={530: [1, 1]}), 3
    yield "RGB, JPEG", tiff_of_jpegs(picture, 2, keep_rgb=True), 3
    yield "grey, JPEG", encoded(picture.convert("L"), "TIFF", compression="jpeg", quality=90), 3
    yield "grey of 1 bit, fax of group 4", encoded(picture.convert("1"), "TIFF", compression="group4"), 0
    yield "RGB, PackBits", encoded(picture, "TIFF", compression="packbits"), 0
    for number in range(2, 9):
        yield f"RGB, orientation {number}", encoded(photograph(16, 8), "TIFF", tiffinfo={274: number}), 0
    yield "pages", encoded(picture, "TIFF", save_all=True, append_images=[photograph(8, 8, 2)]), 0

    refused = TiffImagePlugin.ImageFileDirectory_v2()
    refused[532] = (16.0, 235.0, 128.0, 240.0, 128.0, 240.0)
    yield "YCbCr of limited range", encoded(picture.convert("YCbCr"), "TIFF", tiffinfo=refused), None
    yield "YCbCr of halved chroma, not JPEG", tiff(rgb, 6, tags=[(530, [2, 2])]), None
    yield "grey of 16 bit and opacity", tiff(wide[..., :2], 1, 16, extra=[2]), None
    yield "grey of 32 bit", encoded(Image.fromarray(grey.astype(numpy.int32)), "TIFF"), None
    yield "grey of floating point", encoded(Image.fromarray(grey.astype(numpy.float32)), "TIFF"), None
    yield "Lab", tiff(rgb, 8), None
    yield "bits in reverse order", tiff(grey[:, :37] >> 7, 1, 1, tags=[(266, 2)]), None
    yield "fax of group 3", encoded(picture.convert("1"), "TIFF", compression="group3"), None
    yield "Zstandard", encoded(picture, "TIFF", compression="zstd"), None
    # Pillow cuts these off at 255, which makes most of them white; here they become their high byte.
    yield "grey of 16 bit", tiff(wide[..., 0], 1, 16), ...


def avif(*pictures, **options):
    """An AVIF made by avifenc, which is told `options`."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for index, picture in enumerate(pictures):
            names.append(f"{folder}/{index}.png")
            picture.save(names[-1])
        told = []
        for name, value in options.items():
            told += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        subprocess.run(
            ["avifenc", "-s", "4", "--min", "4", "--max", "8", "--minalpha", "0", "--maxalpha", "0", *told, *names, "-o", f"{folder}/out.avif"],
            check=True, capture_output=True,
        )
        return Path(f"{folder}/out.avif").read_bytes()


def avifs():
    picture, odd = photograph(40, 24), photograph(37, 19)
    transparent = picture.copy()
    transparent.putalpha(alpha(40, 24))
    for yuv in (444, 422, 420, 400):
        for depth in (8, 10, 12):
            yield f"YUV {yuv} of {depth} bit", avif(picture, yuv=yuv, depth=depth), 2
    yield "YUV 420 of odd sides", avif(odd, yuv=420), 2
    yield "YUV 422 of odd sides", avif(odd, yuv=422), 2
    yield "one pixel", avif(photograph(1, 1), yuv=420), 2
    for depth in (8, 10):
        for yuv in (420, 444, 400):
            yield f"YUV {yuv} of {depth} bit, limited range", avif(picture, yuv=yuv, depth=depth, range="l"), 2
    for name, matrix in (("BT.709", 1), ("FCC", 4), ("SMPTE 240M", 7), ("YCgCo", 8), ("BT.2020", 9)):
        yield f"{name}", avif(picture, yuv=444, cicp=f"1/13/{matrix}"), 2
    for name, matrix in (("BT.709", 1), ("BT.2020", 9)):
        # libyuv cuts the weight of blue off at 2.0, which is 2.11 and 2.14.
        yield f"{name} of limited range", avif(picture, yuv=420, cicp=f"1/13/{matrix}", range="l"), 18
    for depth in (8, 10):
        yield f"RGB without loss, {depth} bit", avif(picture, yuv=444, depth=depth, lossless=True), 1
    yield "opacity, YUV 420", avif(transparent, yuv=420), 2
    yield "opacity, YUV 444 of 10 bit", avif(transparent, yuv=444, depth=10), 2
    yield "opacity, grey", avif(transparent, yuv=400), 2
    yield "opacity, multiplied", avif(transparent, yuv=444, premultiply=True), ...
    small = photograph(16, 8)
    for angle in (1, 2, 3):
        yield f"turned by irot {angle}", avif(small, yuv=444, irot=angle), 2
        for axis in (0, 1):
            yield f"turned by irot {angle} and imir {axis}", avif(small, yuv=444, irot=angle, imir=axis), 2
    for axis in (0, 1):
        yield f"mirrored by imir {axis}", avif(small, yuv=444, imir=axis), 2
    yield "animation", avif(picture, photograph(40, 24, 2), yuv=420), 2
    yield "film grain", avif(photograph(64, 64), yuv=420, advanced="film-grain-test=1"), 2
    yield "tiles of AV1", avif(photograph(128, 64), yuv=420, tilecolslog2=1), 2
    yield "cropped by clap", avif(picture, yuv=444, crop="4,2,20,10"), None
    yield "grid", avif(photograph(128, 64), yuv=420, grid="2x1"), None


def main():
    assert PIL.__version__ == "12.3.0", f"got Pillow {PIL.__version__}, expected 12.3.0"
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    cases, values = [], bytearray()
    for format, kinds in (("TIFF", tiffs()), ("AVIF", avifs())):
        for number, (kind, content, tolerance) in enumerate(kinds):
            name = f"{number:02}.{'tif' if format == 'TIFF' else 'avif'}"
            (FOLDER / name).write_bytes(content)
            case = {"format": format, "kind": kind, "file": name, "read": tolerance is not None}
            if isinstance(tolerance, int):
                as_blip = Image.open(io.BytesIO(content)).convert("RGB")
                upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
                case |= {
                    "tolerance": tolerance,
                    "blip": view(as_blip, values),
                    "upright": view(on_white(upright), values),
                }
            cases.append(case)
    Path(__file__).with_suffix(".rgb").write_bytes(values)
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_suffix(".json").write_text(
        f'{{"pillow": "{PIL.__version__}", "cases": [\n{lines}\n]}}\n'
    )


if __name__ == "__main__":
    main()
