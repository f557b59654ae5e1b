"""Makes pictures.parquet: the clip art that `capfilt demo` serves.

    python pipelines/demo/make.py OPENCLIPART.parquet pipelines/demo/pictures.parquet

The input holds pictures of Debian's openclipart-png with the titles of openclipart-svg
(columns image {bytes, path}, title, split). Of its `demo` split, on which the demo's models were
not trained, this takes 300 pictures: every picture once, in the order of the SHA-256 of its path,
so that the choice depends on nothing else. Titles stay as their uploaders typed them; that noise
is what the demo is about. Needs pyarrow; the result is the same, byte for byte, for one version.
"""

import hashlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq

PICTURES = 300
# Drawings of other people's characters.
LEFT_OUT = ("fanart",)
LICENSE = "public domain (Open Clip Art Library)"


def main(source, target):
    rows = [row for row in pq.read_table(source).to_pylist() if row["split"] == "demo"]
    rows = [row for row in rows if not any(word in row["image"]["path"] for word in LEFT_OUT)]
    rows.sort(key=lambda row: hashlib.sha256(row["image"]["path"].encode()).digest())
    seen, chosen = set(), []
    for row in rows:
        picture = hashlib.sha256(row["image"]["bytes"]).digest()
        if picture not in seen:
            seen.add(picture)
            chosen.append(row)
    chosen = chosen[:PICTURES]
    assert len(chosen) == PICTURES, len(chosen)
    images = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "image": pa.array([row["image"] for row in chosen], images),
            "title": pa.array([row["title"] or None for row in chosen], pa.string()),
            "license": pa.array([LICENSE] * len(chosen), pa.string()),
        }
    )
    pq.write_table(table, target, compression="zstd", row_group_size=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
