"""Reads an output folder with pyarrow, `datasets` and DuckDB, and asserts that they agree.

read_output.py OUTPUT INPUT_ROWS DATASET_ROWS WIDTH HEIGHT
"""

import sys
from pathlib import Path

import datasets
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

output = Path(sys.argv[1])
input_rows, dataset_rows, width, height = map(int, sys.argv[2:])

# pyarrow: plain types, no views, and the counts.
scored = pq.read_table(output / "scored")
dataset = pq.read_table(output / "dataset")
rejected = pq.read_table(output / "rejected")
assert scored.num_rows == input_rows, scored.num_rows
assert dataset.num_rows == dataset_rows, dataset.num_rows
for table in (scored, dataset, rejected):
    assert "view" not in str(table.schema), table.schema
    assert table.schema.field("id").type == pa.string(), table.schema
image_type = dataset.schema.field("image").type
assert {field.name: field.type for field in image_type} == {
    "bytes": pa.binary(),
    "path": pa.string(),
}, image_type
captions = [caption for row in dataset["captions"].to_pylist() for caption in row]
assert captions and all(caption["text"] for caption in captions)
assert {caption["source"] for caption in captions} <= {"web", "synthetic", "human"}

# datasets: the image column decodes by itself.
files = sorted(str(path) for path in (output / "dataset").rglob("*.parquet"))
loaded = datasets.load_dataset("parquet", data_files=files, split="train")
assert isinstance(loaded.features["image"], datasets.Image), loaded.features
assert len(loaded) == dataset_rows
first = loaded[0]["image"]
assert isinstance(first, Image.Image) and first.size == (width, height), first

# DuckDB: nested types by name.
rows = duckdb.sql(
    f"select id, width, height, octet_length(image.bytes), len(captions), captions[1].text"
    f" from read_parquet('{output}/dataset/**/*.parquet') order by id"
).fetchall()
assert len(rows) == dataset_rows
assert all(row[1:3] == (width, height) and row[3] > 0 for row in rows), rows
assert sum(row[4] for row in rows) == len(captions)
reasons = duckdb.sql(
    f"select reason, count(*) from read_parquet('{output}/rejected/**/*.parquet')"
    f" where text is null group by reason"
).fetchall()
assert sum(count for _, count in reasons) == input_rows - dataset_rows, reasons

print("pyarrow, datasets and duckdb agree")
