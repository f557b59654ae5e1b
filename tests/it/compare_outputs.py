"""Holds output folders against one of them with pyarrow: the same files, the same rows in the same order.

compare_outputs.py REFERENCE FOLDER_OF_OUTPUTS

Only `fetch.ms` and `fetch.attempts` may differ.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def lasting(table: pa.Table) -> pa.Table:
    if "fetch" not in table.column_names:
        return table
    fetch = table["fetch"].combine_chunks()
    fetch = fetch.chunk(0) if isinstance(fetch, pa.ChunkedArray) else fetch
    table = table.drop_columns("fetch").append_column("is_fetched", fetch.is_valid())
    for field in fetch.type:
        if field.name not in ("ms", "attempts"):
            table = table.append_column("fetch." + field.name, fetch.field(field.name))
    return table


def read(output: Path) -> dict[str, pa.Table]:
    return {
        str(path.relative_to(output)): lasting(pq.read_table(path)).replace_schema_metadata()
        for kind in ("scored", "dataset", "rejected")
        for path in sorted((output / kind).rglob("*.parquet"))
    }


reference = Path(sys.argv[1])
expected = read(reference)
assert sum(table.num_rows for name, table in expected.items() if name.startswith("scored")) > 0
outputs = sorted(path for path in Path(sys.argv[2]).iterdir() if path != reference)
assert outputs
for output in outputs:
    found = read(output)
    assert found.keys() == expected.keys(), (output.name, found.keys())
    for name, table in expected.items():
        assert found[name].equals(table), (output.name, name, found[name].to_pylist())
print(f"{len(outputs)} outputs are equal")
