"""Makes what models at the size of the demo's are trained on.

    python pipelines/demo/train/data.py EMOJI.parquet OPENCLIPART.parquet out/demo-models

The inputs are emoji of six vendors with their names (columns image {bytes, path}, caption, concept), and pictures of Debian's
openclipart-png with what openclipart-svg says of them (image, title, title_repeats, description, tags, split). Of these only the
`train` split is taken. (Some of its pictures are copies of ones that the demo shows.) It writes

* `emoji.parquet`: drawings of one concept share their id, so that they are right for each other's name;
* `titles.parquet`: clip art with titles that at most three pictures have;
* `words.parquet`: the same and other clip art with its description, and with its tags in one line;
* all three again in `clean`, without what the vocabulary lacks: a word with a number ("truck1") is one unknown token to it, and a
  captioner that learns such texts writes "unknown".

Needs pyarrow.
"""

import re
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet

IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
NOT_A_TAG = {"hash", "unsorted"}


def plain(text: str) -> str:
    """A text without the marks of file names."""
    return re.sub(r"\s+", " ", re.sub(r"[_\-]+", " ", text)).strip()


def description(row: dict) -> str | None:
    """The description where it is short, no address, and not the title again."""
    text = plain(row["description"] or "")
    short = 0 < len(text.split()) <= 14
    return text if short and not re.search("://|@", text) and text.lower() != plain(row["title"] or "").lower() else None


def tags(row: dict) -> str | None:
    """The tags in one line; without names of makers, which have three words, and numbers."""
    found = [plain(tag) for tag in row["tags"] or []]
    found = [tag for tag in found if tag not in NOT_A_TAG and len(tag.split()) < 3 and not re.search(r"\d", tag)]
    return ", ".join(found[:8]) or None


def clean(text: str, numbers: bool) -> str:
    """A text without signs, and without numbers where they only count pictures."""
    return plain(re.sub(r"[^\w\s,'’&-]" + ("" if numbers else r"|\d"), " ", text))


def write(path: Path, rows: list[tuple[str, dict, str]]):
    """Ids, pictures and texts as a Parquet file."""
    ids, images, texts = zip(*rows)
    table = pyarrow.table({"id": list(ids), "image": pyarrow.array(images, IMAGE), "text": list(texts)})
    parquet.write_table(table, path, row_group_size=1000)
    print(f"{path}: {len(rows)} rows")


def main(emoji: str, clipart: str, output: str):
    folder = Path(output)
    (folder / "clean").mkdir(parents=True, exist_ok=True)
    rows = [row for row in parquet.read_table(clipart).to_pylist() if row["split"] == "train"]
    titled = [row for row in rows if row["title"] and row["title_repeats"] <= 3]
    said = [(row, text) for row in rows for text in (description(row), tags(row)) if text]
    files = {
        "emoji": [(row["concept"], row["image"], row["caption"]) for row in parquet.read_table(emoji).to_pylist()],
        "titles": [(row["image"]["path"], row["image"], plain(row["title"])) for row in titled],
        "words": [(row["image"]["path"], row["image"], text) for row, text in said],
    }
    for name, pairs in files.items():
        write(folder / f"{name}.parquet", pairs)
        cleaned = [(id, image, clean(text, name == "emoji")) for id, image, text in pairs]
        write(folder / "clean" / f"{name}.parquet", [pair for pair in cleaned if pair[2]])


if __name__ == "__main__":
    main(*sys.argv[1:])
