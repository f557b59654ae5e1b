"""Expected perceptual hashes, from ImageHash 4.3.2 over Pillow 12.3.0.

    python tests/golden/hash.py          # writes tests/golden/hash.json

`noise` are the pictures of resize.py with content `noise`, by seed and size. `files` are the
pictures of images/ as image.rgb has their upright values, so that decoders play no part.

`grey` is the SHA-256 of the 32 x 32 grey samples, `gap` is how far the two coefficients in the
middle are apart, and `zeros` how many are zero but for rounding. Where the gap is nothing but
rounding, the bits are an accident of the arithmetic.
"""

import hashlib
import json
from pathlib import Path

import imagehash
import numpy
import PIL
import scipy.fftpack
from PIL import Image

import resize

GOLDEN = Path(__file__).parent
SIZES = [
    (32, 32), (33, 31), (64, 48), (640, 480), (97, 61), (1, 1), (1, 50), (50, 1), (2, 3), (8, 8),
    (3000, 3), (3, 3000), (10, 1001), (31, 3200), (500, 375), (16, 16), (20, 200),
]


def case(name, picture):
    small = picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    rows = scipy.fftpack.dct(scipy.fftpack.dct(numpy.asarray(small), axis=0), axis=1)
    low = numpy.sort(rows[:8, :8].ravel())
    return {
        **name,
        "grey": hashlib.sha256(small.tobytes()).hexdigest(),
        "hash": str(imagehash.phash(picture)),
        "gap": round(float(low[32] - low[31]), 6),
        "zeros": int((numpy.abs(low) < 1e-5).sum()),
    }


def main():
    assert PIL.__version__ == "12.3.0", f"got Pillow {PIL.__version__}, expected 12.3.0"
    assert imagehash.__version__ == "4.3.2", f"got {imagehash.__version__}, expected 4.3.2"
    noise = [
        case({"seed": seed, "size": size}, resize.picture("noise", seed, *size))
        for seed, size in enumerate(SIZES)
    ]
    values = (GOLDEN / "image.rgb").read_bytes()
    files = []
    for entry in json.loads((GOLDEN / "image.json").read_text())["cases"]:
        (width, height), at = entry["upright"]["size"], entry["upright"]["at"]
        picture = Image.frombytes("RGB", (width, height), values[at : at + 3 * width * height])
        files.append(case({"file": entry["file"], "size": [width, height], "at": at}, picture))
    parts = {
        name: "[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]"
        for name, cases in (("noise", noise), ("files", files))
    }
    Path(__file__).with_suffix(".json").write_text(
        f'{{"imagehash": "{imagehash.__version__}", "noise": {parts["noise"]}, "files": {parts["files"]}}}\n'
    )


if __name__ == "__main__":
    main()
