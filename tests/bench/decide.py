"""How long deciding again takes.

    python tests/bench/decide.py CAPFILT FOLDER

Two outputs are made in FOLDER and kept for the next time:

* `texts`: 1,000,000 rows of `scored` in 100 pieces, each with a web text and a caption, both with a
  match and a similarity. Measured: `capfilt decide --threshold .. --dry-run`, wall time and peak memory.
* `pictures`: 20,000 rows with pictures of 50 kB in 20 pieces. Measured: `capfilt decide` by a rule that
  changes the dataset of every piece, of one piece, and of none, each as a share of the speed at which
  `cp` copies the dataset, taken beside it.

Needs pyarrow. Linux only (`/usr/bin/time -v`).
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq

CAPFILT = pathlib.Path(sys.argv[1]).resolve()
FOLDER = pathlib.Path(sys.argv[2]).resolve()
RUNS = 3


def timed(*arguments):
    """Seconds and MiB of one command."""
    started = time.monotonic()
    command = ["/usr/bin/time", "-v", CAPFILT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(done.stderr)
    peak = int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", done.stderr)[1])
    said = [line for line in done.stderr.splitlines() if line.startswith("pieces")]
    return seconds, peak / 1024, said[0] if said else ""


def run(folder, shard, stages, source=""):
    """Runs a pipeline over one shard."""
    pipeline = folder / "pipeline.toml"
    pipeline.write_text(
        f'name = "bench"\n[source]\nshards = "{shard}"\n{source}\n{stages}\n[sink]\noutput = "out"\n'
    )
    subprocess.run([CAPFILT, "-q", "run", pipeline], check=True)


def with_scores(path, first):
    """The rows of a `scored` file with a caption more, and scores for both texts."""
    table = pq.read_table(path)
    at = table.schema.get_field_index("candidates")
    field = table.schema.field(at)
    rows = []
    for row in range(table.num_rows):
        value = ((first + row) * 2654435761 % 1_000_003) / 1_000_003
        score = lambda value: [
            {"by": "score", "kind": "match", "value": value},
            {"by": "score", "kind": "similarity", "value": value / 2},
        ]
        rows.append(
            [
                {"text": f"a web text of some eight words, number {first + row}", "source": "web",
                 "by": None, "log_prob": None, "scores": score(value)},
                {"text": f"a picture of the thing that is called {first + row}", "source": "synthetic",
                 "by": "caption", "log_prob": -4.5, "scores": score(1 - value)},
            ]
        )
    table = table.set_column(at, field, pa.array(rows, type=field.type))
    pq.write_table(table, path, compression="zstd", row_group_size=1000)


def texts(folder):
    """The output with a million rows."""
    rows = 1_000_000
    pq.write_table(pa.table({"text": [f"text {row}" for row in range(rows)]}), folder / "a.parquet")
    run(folder, "a.parquet", "")
    for path in sorted((folder / "out/scored/a").iterdir()):
        with_scores(path, int(path.stem))
    record = json.loads((folder / "out/run.json").read_text())
    record["pipeline"]["stage"] = [{"caption": {"model": "m"}}, {"score": {"model": "m"}}]
    (folder / "out/run.json").write_text(json.dumps(record))


def pictures(folder):
    """The output with pictures."""
    rows = 20_000
    schema = pa.schema([("image", pa.binary()), ("text", pa.string())])
    with pq.ParquetWriter(folder / "a.parquet", schema, compression="none") as writer:
        for start in range(0, rows, 500):
            images = [os.urandom(50_000) for _ in range(500)]
            said = [f"text {row}" for row in range(start, start + 500)]
            writer.write_table(pa.table({"image": images, "text": said}, schema=schema))
    run(folder, "a.parquet", "", "rows-per-piece = 1000")


def made(make):
    """The output that `make` makes in a folder, unless it is there."""
    folder = FOLDER / make.__name__
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        (folder / "done").touch()
    return folder / "out"


def main():
    """Measures and prints."""
    out = made(texts)
    best = min(timed("decide", out, "--threshold", 0.3 + 0.1 * n, "--dry-run") for n in range(RUNS))
    print(f"1,000,000 rows, dry run: {best[0]:.1f} s, {best[1]:.0f} MiB")
    out = made(pictures)
    size = sum(path.stat().st_size for path in (out / "dataset").rglob("*.parquet"))
    for what, rules in [
        ("every piece changes", ["text like '%1'", "text like '%2' or text like '%3'"]),
        ("one piece changes", ["text <> 'text 1'", "text <> 'text 2'"]),
        ("none changes", ["text <> 'x'", "text <> 'y'"]),
    ]:
        for rule in rules:
            timed("decide", out, "--set", "keep.where=1 = 1")
            subprocess.run(["sync"], check=True)
            copy = FOLDER / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            started = time.monotonic()
            subprocess.run(["cp", "-r", out / "dataset", copy], check=True)
            subprocess.run(["sync"], check=True)
            copied = time.monotonic() - started
            seconds, peak, said = timed("decide", out, "--set", f"keep.where={rule}")
            print(
                f"20,000 pictures, {what}: {seconds:.2f} s, {peak:.0f} MiB; cp and sync of the "
                f"{size / 1e6:.0f} MB of the whole dataset {copied:.2f} s; {said}"
            )
    # Writing all of the pictures: from nothing kept to everything kept.
    timed("decide", out, "--set", "keep.where=1 = 2")
    seconds, peak, said = timed("decide", out, "--set", "keep.where=1 = 1")
    print(f"20,000 pictures, all written: {seconds:.2f} s, {size / 1e6 / seconds:.0f} MB/s; {said}")


main()
