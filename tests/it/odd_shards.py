"""Makes a shard of odd columns, or compares what a run made of one.

odd_shards.py make KIND FILE         writes a shard
odd_shards.py show OUTPUT            prints the rows of a dataset
odd_shards.py compare INPUT OUTPUT   every column but `image` and `text` came through as it was
"""

import decimal
import datetime as dt
import json
import sys
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

def pictures(rows):
    """`rows` different PNG pictures."""
    import io

    from PIL import Image

    made = []
    for row in range(rows):
        image = Image.new("RGB", (64, 48), (row * 40 % 256, 90, 200))
        image.putpixel((row % 64, 3), (255, 255, 255))
        file = io.BytesIO()
        image.save(file, "PNG")
        made.append(file.getvalue())
    return pa.array(made)


def bytes_as_text(values):
    """A text column of bytes that are none."""
    binary = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(
        len(binary), binary.buffers()[1], binary.buffers()[2], binary.buffers()[0], binary.null_count
    )


def table(rows, *columns):
    names = ["image", "text"] + [name for name, _ in columns]
    texts = pa.array([f"a text of row {row}" for row in range(rows)])
    return pa.Table.from_arrays([pictures(rows), texts] + [array for _, array in columns], names=names)


def types():
    """Every type that pyarrow writes, with a null and with fields that say something."""
    uuids = pa.array([uuid.UUID(int=n).bytes for n in (1, 2)] + [None], pa.uuid())
    labels = {"info": {"features": {
        "label": {"names": ["cat", "dog", "text"], "_type": "ClassLabel"},
        "image": {"_type": "Image"},
        "text": {"dtype": "string", "_type": "Value"},
    }}}
    columns = {
        "label": pa.array([0, 2, None], pa.int64()),
        "uuid": uuids,
        "json": pa.array(['{"a": 1}', "[]", None], pa.json_()),
        "fixed": pa.array([b"abcd", b"efgh", None], pa.binary(4)),
        "half": pa.array([np.float16(0.5), np.float16("inf"), None], pa.float16()),
        "decimal32": pa.array([decimal.Decimal("1.23"), None, decimal.Decimal("-9.99")], pa.decimal128(5, 2)),
        "decimal128": pa.array([decimal.Decimal("123456789012345678901234567.89"), None, None], pa.decimal128(38, 2)),
        "decimal256": pa.array([decimal.Decimal(10) ** 60, None, None], pa.decimal256(76, 0)),
        "time_ms": pa.array([dt.time(1, 2, 3, 4000), None, dt.time(23, 59)], pa.time32("ms")),
        "time_us": pa.array([dt.time(1, 2, 3, 4), None, dt.time(0)], pa.time64("us")),
        "time_ns": pa.array([1, None, 86_399_999_999_999], pa.time64("ns")),
        "date": pa.array([dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
        "stamp_s": pa.array([0, None, 253402300799], pa.timestamp("s")),
        "stamp_us": pa.array([0, None, 253402300799_000_001], pa.timestamp("us")),
        "stamp_ns": pa.array([1, None, -1], pa.timestamp("ns", "UTC")),
        "zone": pa.array([1, None, -1], pa.timestamp("ms", "Europe/Berlin")),
        "duration": pa.array([1, None, -1], pa.duration("us")),
        "u8": pa.array([0, None, 255], pa.uint8()),
        "u16": pa.array([0, None, 65535], pa.uint16()),
        "u32": pa.array([0, None, 2**32 - 1], pa.uint32()),
        "u64": pa.array([0, None, 2**64 - 1], pa.uint64()),
        "i8": pa.array([-128, None, 127], pa.int8()),
        "bool": pa.array([True, None, False]),
        "nothing": pa.nulls(3),
        "large": pa.array(["a", None, "ü"], pa.large_string()),
        "large_bytes": pa.array([b"a", None, b"\xff"], pa.large_binary()),
        "list": pa.array([[1, None], None, []], pa.list_(pa.int16())),
        "large_list": pa.array([["a", None], None, []], pa.large_list(pa.string())),
        "vector": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        "map": pa.array([[("a", 1)], None, [("b", None), ("c", 3)]], pa.map_(pa.string(), pa.int32())),
        "struct": pa.array(
            [{"a": "x", "b": [{"c": b"\x00"}]}, None, {"a": None, "b": None}],
            pa.struct([
                pa.field("a", pa.string(), metadata={"why": "nested"}),
                pa.field("b", pa.list_(pa.struct([pa.field("c", pa.binary(), nullable=False)]))),
            ]),
        ),
        "uuids": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * 3, pa.binary(16))),
    }
    made = table(3, *columns.items())
    fields = [field.with_metadata({"about": field.name}) if field.name == "u8" else field for field in made.schema]
    return made.cast(pa.schema(fields, metadata={"huggingface": json.dumps(labels)}))


def kinds():
    return {
        "utf8": lambda: table(
            6,
            ("LICENSE", bytes_as_text([b"CC BY", b"caf\xe9", None, b"x", b"y", b"z"])),
            ("names", pa.ListArray.from_arrays([0, 1, 2, 2, 3, 4, 5], bytes_as_text([b"a", b"b", b"c", b"\xff", b"d"]))),
        ).set_column(1, "text", bytes_as_text([b"a text", b"b text", b"caf\xe9 au lait", None, b"e text", b"f text"])),
        "duplicates": lambda: table(
            2,
            ("x", pa.array([1, 2])),
            ("x", pa.array(["three", "four"])),
            ("ID", pa.array(["i", "j"])),
            ("s", pa.StructArray.from_arrays([pa.array([1, 2]), pa.array(["a", "b"])], names=["n", "n"])),
        ),
        "types": types,
        "bare": types,
        "plain": lambda: table(2, ("x", pa.array([1, 2]))),
    }


def make(kind, file):
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    if kind == "int96":
        times = [253402214400000, -30610224000000, -62135596800000, 1709251199999, 0]
        made = table(5, ("ts", pa.array(times, pa.timestamp("ms"))))
        # pyarrow cannot make the far ones of nanoseconds, and INT96 out of anything else.
        pq.write_table(made, file, use_deprecated_int96_timestamps=True, store_schema=False)
    elif kind.startswith("encrypted"):
        import base64

        import pyarrow.parquet.encryption as pe

        class Keys(pe.KmsClient):
            def wrap_key(self, key, _):
                return base64.b64encode(key)

            def unwrap_key(self, key, _):
                return base64.b64decode(key)

        factory = pe.CryptoFactory(lambda _: Keys())
        config = pe.EncryptionConfiguration(
            footer_key="footer", column_keys={"column": ["text"]}, plaintext_footer=kind == "encrypted-columns"
        )
        made = kinds()["plain"]()
        properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
        with pq.ParquetWriter(file, made.schema, encryption_properties=properties) as writer:
            writer.write_table(made)
    else:
        # Without Arrow's own words for the types, only Parquet's are left.
        pq.write_table(kinds()[kind](), file, store_schema=kind != "bare")


def compare(given, output):
    given, kept = pq.read_table(given), pq.read_table(Path(output) / "dataset")
    for field in given.schema:
        if field.name in ("image", "text"):
            continue
        name = field.name
        other = kept.schema.field(name)
        assert other.type == field.type, (field, other)
        assert (other.metadata or {}) == (field.metadata or {}), (field, other.metadata, field.metadata)
        assert kept[name].to_pylist() == given[name].to_pylist(), (field, kept[name], given[name])
    # Readers that know only Parquet's words see the same logical types.
    def logical(path):
        schema = pq.ParquetFile(path).schema
        leaves = (schema.column(at) for at in range(len(schema)))
        return {leaf.path.replace(".item", ".element"): str(leaf.logical_type) for leaf in leaves}

    (piece,) = (Path(output) / "dataset").rglob("*.parquet")
    before, after = logical(sys.argv[2]), logical(piece)
    for path, said in before.items():
        if path.split(".")[0] not in ("image", "text"):
            found = after.get(path)
            assert found is not None and (said == found or said == "Null"), (path, said, found)
    import datasets

    # `datasets` has no words for some of the types, UUID for one.
    features = datasets.Features.from_arrow_schema(kept.select(["image", "label"]).schema)
    assert isinstance(features["image"], datasets.Image), features
    if b"huggingface" in (given.schema.metadata or {}):
        assert features["label"].names == ["cat", "dog", "text"], features
    print("as it was")


def show(output):
    """The rows of all pieces, without pictures, as each reader of other people finds them."""
    import duckdb

    folder = Path(output) / "dataset"
    rows = pq.read_table(folder).drop_columns(["image", "captions"])
    found = duckdb.sql(f"select * exclude (image, captions) from read_parquet('{folder}/**/*.parquet')")
    assert len(found.fetchall()) == rows.num_rows
    for row in sorted(rows.to_pylist(), key=lambda row: row["id"]):
        print(json.dumps(row, default=str, ensure_ascii=False))


{"make": make, "compare": compare, "show": show}[sys.argv[1]](*sys.argv[2:])
