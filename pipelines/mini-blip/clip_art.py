"""Makes a Parquet file of the hand-labelled clip art, to measure filters on titles that people typed.

    python pipelines/mini-blip/clip_art.py out/clip-art.parquet
    capfilt eval --model pipelines/demo/filter --data out/clip-art.parquet --truth fits --group kind --metrics filter

The 200 pictures are the first of `pipelines/demo/pictures.parquet` by the SHA-256 of their paths, among those that can be decoded and
have a title. One reader (a vision-language model, one of those who built capfilt) looked at each picture beside its title, in sheets of
40, without its path, and wrote what it found into `clip-art-labels.csv`:

    match     the title says what one sees, in whatever language, be it as general as "people"
    no match  it says something else, or only which collection the picture belongs to or who drew it
    unsure    neither is clear; left out here

Columns: image, text, fits, kind (`collection` for titles that several pictures have, else `own`).
"""

import argparse
import collections
import csv
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet

HERE = Path(__file__).parent


def main():
    """Joins labels and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    with (HERE / "clip-art-labels.csv").open(newline="") as file:
        labels = {row["path"]: row for row in csv.DictReader(file)}
    table = parquet.read_table(HERE.parent / "demo" / "pictures.parquet")
    titles = collections.Counter(table["title"].to_pylist())
    rows = []
    for image, title in zip(table["image"].to_pylist(), table["title"].to_pylist(), strict=True):
        row = labels.pop(image["path"], None)
        if row is None:
            continue
        if row["title"] != title:
            parser.error(f"`{image['path']}` has the title {title!r}; it was labelled as {row['title']!r}")
        if row["label"] != "unsure":
            kind = "collection" if titles[title] > 1 else "own"
            rows.append({"image": image, "text": title, "fits": row["label"] == "match", "kind": kind})
    if labels:
        parser.error(f"{len(labels)} labelled pictures are not there, among them {next(iter(labels))}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["image"] = pyarrow.array(columns["image"], table.schema.field("image").type)
    parquet.write_table(pyarrow.table(columns), arguments.output)
    print(f"{arguments.output}: {len(rows)} pairs, {sum(columns['fits'])} of them match")


if __name__ == "__main__":
    main()
