"""Expected values of the changes that augmentation makes, from Pillow 12.3.0.

    python tests/golden/augment.py        # writes tests/golden/augment.json

Every change has fixed parameters; nothing is drawn. The picture is made on both sides: the sample
at index i of the rows is (17 i + (i % 7) (i % 11)) % 200 + 20, so that no channel uses all values.
What Pillow makes of it is stored as hexadecimal RGB rows.
"""

import json
from pathlib import Path

import PIL
from PIL import Image, ImageEnhance, ImageOps

WIDTH, HEIGHT = 24, 20
GREY = (128, 128, 128)


def affine(picture, *coefficients):
    return picture.transform(
        picture.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=GREY
    )


def rotate(picture, degrees):
    return picture.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=GREY)


def crop(picture, left, top, width, height, size):
    """As torchvision's `resized_crop`."""
    part = picture.crop((left, top, left + width, top + height))
    return part.resize((size, size), Image.Resampling.BICUBIC)


CHANGES = {
    "crop": (crop, [(3, 2, 14, 11, 9), (0, 0, 24, 20, 16), (20, 1, 4, 3, 12), (5, 6, 8, 8, 8)]),
    "flip": (lambda picture: ImageOps.mirror(picture), [()]),
    "auto-contrast": (lambda picture: ImageOps.autocontrast(picture), [()]),
    "equalize": (lambda picture: ImageOps.equalize(picture), [()]),
    "invert": (lambda picture: ImageOps.invert(picture), [()]),
    "posterize": (ImageOps.posterize, [(4,), (5,), (6,), (8,)]),
    "solarize": (ImageOps.solarize, [(170.0,), (255.0 / 9,), (113.33,), (255.0,)]),
    "color": (lambda picture, by: ImageEnhance.Color(picture).enhance(by), [(0.1,), (1.0,), (1.4,), (1.8,)]),
    "contrast": (lambda picture, by: ImageEnhance.Contrast(picture).enhance(by), [(0.2,), (1.8,)]),
    "sharpness": (lambda picture, by: ImageEnhance.Sharpness(picture).enhance(by), [(0.3,), (1.7,)]),
    "rotate": (rotate, [(15.0,), (-15.0,), (30.0,), (-80.0 / 3,)]),
    "shear-x": (lambda picture, by: affine(picture, 1, by, 0, 0, 1, 0), [(0.15,), (-0.15,), (1.0 / 6,)]),
    "shear-y": (lambda picture, by: affine(picture, 1, 0, 0, by, 1, 0), [(0.15,), (-0.15,)]),
    "translate-x": (lambda picture, by: affine(picture, 1, 0, by, 0, 1, 0), [(5.0,), (-5.0,)]),
    "translate-y": (lambda picture, by: affine(picture, 1, 0, 0, 0, 1, by), [(5.0,), (-5.0,)]),
}


def main():
    assert PIL.__version__ == "12.3.0", PIL.__version__
    samples = bytes((17 * i + (i % 7) * (i % 11)) % 200 + 20 for i in range(3 * WIDTH * HEIGHT))
    picture = Image.frombytes("RGB", (WIDTH, HEIGHT), samples)
    # Equalize changes nothing unless there are many pixels of each value.
    large = picture.resize((96, 80), Image.Resampling.NEAREST)
    cases = []
    for name, (change, parameters) in CHANGES.items():
        for numbers in parameters:
            source = large if name == "equalize" else picture
            changed = change(source, *numbers)
            cases.append(
                {
                    "change": name,
                    "numbers": list(numbers),
                    "scale": source.width // WIDTH,
                    "size": list(changed.size),
                    "samples": changed.tobytes().hex(),
                }
            )
    golden = {"pillow": PIL.__version__, "size": [WIDTH, HEIGHT], "cases": cases}
    path = Path(__file__).with_name("augment.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
