"""Makes what the demo's models were trained on.

    python pipelines/demo/train/data.py EMOJI.parquet OPENCLIPART.parquet out/demo-models

The inputs are emoji of six vendors with their names (columns image {bytes, path}, caption, concept), and pictures of Debian's
openclipart-png with the titles of openclipart-svg (image, title, title_repeats, split). Of these only the `train` split is taken, and
only titles that at most three pictures have: what the demo shows was never seen. Drawings of one concept share their id, so that
they are right for each other's name. Needs pyarrow.
"""

import re
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet

IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def words(title: str) -> str:
    """A title without the marks of file names."""
    return re.sub(r"\s+", " ", re.sub(r"[_\-]+", " ", title)).strip()


def write(path: Path, rows: list[tuple[str, dict, str]]):
    """Ids, pictures and texts as a Parquet file."""
    ids, images, texts = zip(*rows)
    table = pyarrow.table({"id": list(ids), "image": pyarrow.array(images, IMAGE), "text": list(texts)})
    parquet.write_table(table, path, row_group_size=1000)
    print(f"{path}: {len(rows)} rows")


def main(emoji: str, clipart: str, output: str):
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "emoji.parquet", [(row["concept"], row["image"], row["caption"]) for row in parquet.read_table(emoji).to_pylist()])
    rows = [row for row in parquet.read_table(clipart).to_pylist() if row["split"] == "train" and row["title"] and row["title_repeats"] <= 3]
    write(folder / "clipart.parquet", [(row["image"]["path"], row["image"], words(row["title"])) for row in rows])


if __name__ == "__main__":
    main(*sys.argv[1:])
