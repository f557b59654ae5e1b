"""Makes the data of `pipelines/mini-blip.toml`: emoji of several vendors, with names that are right or wrong.

    pip install -r pipelines/mini-blip/requirements.txt
    python pipelines/mini-blip/prepare.py out/mini-blip-data

Fetches drawings (`@iconify-json/*`) and names (`emojibase-data`) with `npm pack`; no other program of Node is needed. Writes

    human.parquet            one vendor, half of all concepts, with their official names
    web.parquet              other vendors, all concepts; half of the texts are right
    held-out-seen.parquet    a vendor that is nowhere else, concepts that `human` has
    held-out-unseen.parquet  the same vendor, the other concepts

with the columns id, image, text and concept; `web` has also `fits`, the truth, and `kind`, the kind of text, which only evaluations
read. Everything follows from `--seed`. Held-out pictures that look like one of the others (perceptual hashes at most
`--distance` bits apart) are left out, and counted.

Wrong texts are drawn from real pools: names of other pictures (a third of them from the same group), real alt texts of the web
(`alt-texts.txt`), file names, and the picture's name in another language; a quarter of them each.
"""

import argparse
import hashlib
import io
import json
import random
import re
import subprocess
import tarfile
from pathlib import Path

import imagehash
import pyarrow
import pyarrow.parquet as parquet
import resvg_py
from PIL import Image

NAMES = "emojibase-data@17.0.0"
HUMAN = "noto"
HELD_OUT = "fluent-emoji-flat"
# openmoji and emojione-v1 are share-alike and stay out; other Fluent sets would give the held-out one away.
VENDORS = {
    "noto": "1.2.9",
    "noto-v1": "1.2.5",
    "twemoji": "1.2.5",
    "emojione": "1.2.3",
    "fxemoji": "1.2.2",
    "fluent-emoji-flat": "1.2.6",
}
LANGUAGES = ("de", "es", "fr", "it", "nl", "pl", "pt", "sv")
RIGHT, WRONG = ("name", "keywords"), ("other-name", "alt-text", "file-name", "other-language")
IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def packed(package: str, cache: Path) -> tarfile.TarFile:
    """A package of the npm registry, fetched once."""
    name = package.removeprefix("@").replace("/", "-").replace("@", "-") + ".tgz"
    if not (cache / name).exists():
        subprocess.run(["npm", "pack", "--silent", package], cwd=cache, check=True, stdout=subprocess.DEVNULL)
    return tarfile.open(cache / name)


def member(package: tarfile.TarFile, name: str):
    """A JSON file of a package, or nothing."""
    try:
        found = package.extractfile(f"package/{name}")
    except KeyError:
        return None
    return json.load(found)


class Concept:
    """An emoji: its code, names and keywords."""

    def __init__(self, entry: dict, group: str, names: dict[str, str]):
        self.code, self.name, self.group = entry["hexcode"], entry["label"], group
        self.keywords = [word for word in entry.get("tags", []) if word not in self.name]
        # By language; those that are written like the English one say nothing wrong.
        self.names = {language: name for language, name in names.items() if name.lower() != self.name.lower()}


def concepts(cache: Path) -> dict[str, Concept]:
    """All emoji that are no building blocks, by code without variation selectors."""
    package = packed(NAMES, cache)
    groups = member(package, "meta/groups.json")["groups"]
    names = {language: {entry["hexcode"]: entry["label"] for entry in member(package, f"{language}/data.json")} for language in LANGUAGES}
    found = {}
    for entry in member(package, "en/data.json"):
        if "group" not in entry or groups[str(entry["group"])] == "component":
            continue
        own = {language: names[language][entry["hexcode"]] for language in LANGUAGES if entry["hexcode"] in names[language]}
        concept = Concept(entry, groups[str(entry["group"])], own)
        found[plain(concept.code)] = concept
    return found


def plain(code: str) -> str:
    """A code as `chars.json` has it."""
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def drawings(vendor: str, names: dict[str, str], cache: Path, side: int) -> dict[str, bytes]:
    """PNG of every concept that a vendor draws, by code. `names` are what icons are called."""
    icons = member(packed(f"@iconify-json/{vendor}@{VENDORS[vendor]}", cache), "icons.json")
    found = {}
    for code, name in names.items():
        name = icons.get("aliases", {}).get(name, {}).get("parent", name)
        icon = icons["icons"].get(name)
        if icon is None:
            continue
        left, top = icon.get("left", 0), icon.get("top", 0)
        width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
        box = f"{left} {top} {width} {height}"
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}">{icon["body"]}</svg>'
        found[code] = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side))
    return found


def icon_names(known: dict[str, Concept], cache: Path) -> dict[str, str]:
    """What the vendors call the drawing of each concept: their lists agree."""
    names = {code: re.sub(r"[^a-z0-9]+", "-", concept.name.lower()).strip("-") for code, concept in known.items()}
    for vendor in VENDORS:
        chars = member(packed(f"@iconify-json/{vendor}@{VENDORS[vendor]}", cache), "chars.json") or {}
        names.update({plain(code): name for code, name in chars.items() if plain(code) in known})
    return names


def unit(*parts: str) -> float:
    """A number from 0 to 1 that follows from `parts`."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class Texts:
    """Draws what a page of the web says beside a picture."""

    def __init__(self, known: dict[str, Concept], alt_texts: list[str], draw: random.Random):
        self.all = list(known.values())
        self.groups = {}
        for concept in self.all:
            self.groups.setdefault(concept.group, []).append(concept)
        self.alt_texts, self.draw = alt_texts, draw

    def right(self, concept: Concept) -> tuple[str, str]:
        """A right text and its kind: the name, or every fifth time keywords."""
        if concept.keywords and self.draw.random() < 0.2:
            return ", ".join(self.draw.sample(concept.keywords, min(3, len(concept.keywords)))), "keywords"
        return concept.name, "name"

    def wrong(self, concept: Concept, vendor: str) -> tuple[str, str]:
        """A wrong text and its kind."""
        kind = self.draw.choice(WRONG)
        if kind == "other-language" and not concept.names:
            kind = "other-name"
        if kind == "other-name":
            pool = self.groups[concept.group] if self.draw.random() < 1 / 3 else self.all
            return self.draw.choice([other.name for other in pool if other.name != concept.name]), kind
        if kind == "alt-text":
            return self.draw.choice(self.alt_texts), kind
        if kind == "file-name":
            code = concept.code.lower()
            forms = (f"{code}.png", f"{code.upper()}.svg", f"emoji_u{code.replace('-', '_')}.png", f"{vendor}-{code}@2x.png")
            return self.draw.choice(forms), kind
        return concept.names[self.draw.choice(sorted(concept.names))], kind


def phash(png: bytes) -> int:
    """The perceptual hash of a picture on white."""
    drawn = Image.open(io.BytesIO(png)).convert("RGBA")
    page = Image.new("RGBA", drawn.size, "white")
    page.alpha_composite(drawn)
    return int(str(imagehash.phash(page.convert("RGB"))), 16)


def near(own: int, hashes: list[int], distance: int) -> bool:
    """Whether one of `hashes` has at most `distance` other bits than `own`."""
    return any((own ^ other).bit_count() <= distance for other in hashes)


def write(path: Path, rows: list[dict]):
    """Rows as a Parquet file."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["image"] = pyarrow.array(columns["image"], IMAGE)
    parquet.write_table(pyarrow.table(columns), path, row_group_size=500)
    print(f"{path}: {len(rows)} rows")


def main():
    """Fetches, draws and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=48, help="pixels on the side of a picture")
    parser.add_argument("--share", type=float, default=1.0, help="the share of all concepts that is taken, for a quick look")
    parser.add_argument("--distance", type=int, default=3)
    arguments = parser.parse_args()
    cache = arguments.output / "packages"
    cache.mkdir(parents=True, exist_ok=True)
    seed = str(arguments.seed)
    known = {code: concept for code, concept in concepts(cache).items() if unit(seed, "share", code) < arguments.share}
    alt_texts = (Path(__file__).parent / "alt-texts.txt").read_text().splitlines()
    texts = Texts(known, alt_texts, random.Random(arguments.seed))
    names = icon_names(known, cache)
    human, web, held_out, hashes = [], [], [], []
    for vendor in VENDORS:
        for code, png in drawings(vendor, names, cache, arguments.side).items():
            concept = known[code]
            is_seen = unit(seed, "seen", code) < 0.5
            row = {"id": f"{vendor}/{code}", "image": {"bytes": png, "path": f"{vendor}/{code}.png"}, "text": concept.name, "concept": code}
            if vendor == HELD_OUT:
                held_out.append((row, is_seen))
            elif vendor == HUMAN:
                if is_seen:
                    human.append(row)
                    hashes.append(phash(png))
            else:
                fits = unit(seed, "fits", vendor, code) < 0.5
                row["text"], kind = texts.right(concept) if fits else texts.wrong(concept, vendor)
                web.append(row | {"fits": fits, "kind": kind})
                hashes.append(phash(png))
    kept = [(row, is_seen) for row, is_seen in held_out if not near(phash(row["image"]["bytes"]), hashes, arguments.distance)]
    print(f"{len(held_out) - len(kept)} of {len(held_out)} held-out pictures look like others and are left out")
    write(arguments.output / "human.parquet", human)
    write(arguments.output / "web.parquet", web)
    for name, wanted in (("seen", True), ("unseen", False)):
        write(arguments.output / f"held-out-{name}.parquet", [row for row, is_seen in kept if is_seen == wanted])


if __name__ == "__main__":
    main()
