"""`capfilt run` from disk to disk against the same from a store to a store, without models.

    cargo build --release
    python tests/bench/object_store.py --capfilt target/release/capfilt

8,000 distinct pictures of about 50 kB as bytes in four shards, decoded and kept. The store is moto's S3 server in one
Python process on loopback, which is slower than the program: the processor's time of the program is what tells.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
from memory import Pictures

SERVER = Path(__file__).parents[1] / "it" / "s3_server.py"
PIPELINE = """
name = "store"
[source]
shards = "in/*.parquet"
columns = {image = "image", text = "text"}
rows-per-piece = 1000
[[stage]]
decode = {}
"""


def shards(folder: Path, count: int, rows: int):
    """Writes shards of distinct pictures, with a page index."""
    folder.mkdir()
    pictures = Pictures()
    for shard in range(count):
        numbers = range(shard * rows, (shard + 1) * rows)
        table = {"image": [pictures.jpeg(n) for n in numbers], "text": [f"text {n}" for n in numbers]}
        file = folder / f"{shard}.parquet"
        options = {"use_dictionary": False, "write_page_index": True, "row_group_size": 1000}
        pyarrow.parquet.write_table(pyarrow.table(table), file, **options)


def run(command: list[str], environment: dict[str, str]):
    """Seconds, and seconds of the processor, that a program takes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env=environment, check=True)
    took, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capfilt", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    server = subprocess.Popen([sys.executable, SERVER], stderr=subprocess.DEVNULL, **pipes)
    endpoint = json.loads(server.stdout.readline())["endpoint"]
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    environment = os.environ | keys | {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        shards(folder / "in", 4, 2000)
        (folder / "store.toml").write_text(PIPELINE)
        server.stdin.write(json.dumps(["upload", str(folder / "in"), "in/"]) + "\n")
        server.stdin.flush()
        server.stdout.readline()
        program = [args.capfilt.absolute(), "-q", "run", folder / "store.toml"]
        for number in range(args.rounds):
            disk = ["--output", folder / "out"]
            store = ["--input", "s3://photos/in/*.parquet", "--output", f"s3://photos/out-{number}"]
            for name, where in [("disk", disk), ("store", store)]:
                took, processor = run(program + where, environment)
                rates = f"{8000 / took:6.0f} pictures/s, {processor / 8:.2f} ms of the processor a picture"
                print(f"{name:5} {rates}", flush=True)
            shutil.rmtree(folder / "out")
    server.stdin.close()
    server.wait()


main()
