"""Peak memory of `capfilt run` over one shard of 2,000 and one of 20,000 distinct pictures of about 50 kB.

    cargo build --release
    python tests/bench/memory.py --capfilt target/release/capfilt

Once with the pictures as bytes in the shard, once as URLs that a server on loopback answers. The models are the
smallest of `tests/golden`. The peak over ten times as many pictures must be within 10 %.
"""

import argparse
import hashlib
import io
import os
import random
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
from PIL import Image

GOLDEN = Path(__file__).parents[1] / "golden" / "blip" / "wide-patches"
# Bytes that a picture has, near enough.
SIZE = 50_000


class Pictures:
    """JPEG pictures of about 50 kB: a few noisy drawings, each with a patch of its own per number."""

    def __init__(self):
        noise = numpy.random.default_rng(1)
        self.bases = [noise.integers(0, 256, (268, 268, 3), numpy.uint8) for _ in range(8)]

    def jpeg(self, number: int) -> bytes:
        """The picture of this number."""
        pixels = self.bases[number % len(self.bases)].copy()
        corner = random.Random(number)
        for _ in range(4):
            x, y = corner.randrange(236), corner.randrange(236)
            pixels[y : y + 32, x : x + 32] = [corner.randrange(256) for _ in range(3)]
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=83)
        return out.getvalue()


def serve(folder: Path):
    """A server for the files of a folder, in a process of its own; returns it and its port."""
    code = Path(__file__).absolute()
    process = subprocess.Popen([sys.executable, code, "--serve", folder], stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def serve_forever(folder: Path):
    """Answers `/NUMBER.jpg` with the file of that name."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One packet per answer.
        wbufsize = -1

        def do_GET(self):
            file = folder / self.path.lstrip("/")
            if not file.is_file():  # robots.txt, tdmrep.json
                return self.send_error(404)
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        def log_message(self, *_):
            pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def peak(program, pipeline, cap: float):
    """Seconds and peak resident bytes of one run."""
    begun = time.perf_counter()
    process = subprocess.Popen([program, "run", pipeline], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr.readlines()[-20:]))
    reader.start()
    timer = threading.Timer(cap, process.kill)
    timer.start()
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    reader.join()
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"the run failed:\n{b''.join(said).decode()}")
    # Linux counts KiB, macOS bytes.
    return time.perf_counter() - begun, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main():
    """Measures all four and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capfilt", default="target/release/capfilt")
    parser.add_argument("--few", type=int, default=2_000)
    parser.add_argument("--many", type=int, default=20_000)
    parser.add_argument("--only", nargs="*", default=["bytes", "urls"])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve_forever(arguments.serve)
    program = str(Path(arguments.capfilt).absolute())
    work = (arguments.work or Path(tempfile.mkdtemp())).absolute()
    files = work / "files"
    files.mkdir(parents=True, exist_ok=True)
    pictures, digests, total = Pictures(), set(), 0
    for number in range(arguments.many):
        file = files / f"{number}.jpg"
        if not file.exists():
            file.write_bytes(pictures.jpeg(number))
        data = file.read_bytes()
        digests.add(hashlib.sha256(data).digest())
        total += len(data)
    assert len(digests) == arguments.many, "pictures must differ"
    print(f"{arguments.many} pictures of {total / arguments.many / 1000:.1f} kB", flush=True)
    assert abs(total / arguments.many - SIZE) < 0.1 * SIZE
    for task in ("captioner", "filter"):
        output = work / task
        if not output.exists():
            subprocess.run([program, "model", "import", GOLDEN / task, "--output", output], check=True)
    server, port = serve(files)
    ok = True
    try:
        for kind in arguments.only:
            peaks = []
            for count in (arguments.few, arguments.many):
                place = work / f"{kind}-{count}"
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                column = "image" if kind == "bytes" else "url"
                schema = pyarrow.schema(
                    [(column, pyarrow.binary() if kind == "bytes" else pyarrow.string()), ("text", pyarrow.string())]
                )
                with pyarrow.parquet.ParquetWriter(place / "shard.parquet", schema, compression="none") as writer:
                    for first in range(0, count, 500):
                        numbers = range(first, min(first + 500, count))
                        if kind == "bytes":
                            column_values = [(files / f"{number}.jpg").read_bytes() for number in numbers]
                        else:
                            column_values = [f"http://127.0.0.1:{port}/{number}.jpg" for number in numbers]
                        texts = [f"picture number {number}" for number in numbers]
                        writer.write_table(pyarrow.table([column_values, texts], schema=schema))
                fetch = "" if kind == "bytes" else "[[stage]]\nfetch = { per-host = 16, allow-networks = [\"127.0.0.0/8\"] }\n"
                pipeline = place / "memory.toml"
                pipeline.write_text(f"""name = "memory"
device = "cpu"
[source]
shards = "{place}/*.parquet"
columns = {{ {column} = "{column}", text = "text" }}
{fetch}[[stage]]
decode = {{}}
[[stage]]
caption = {{ model = "{work}/captioner", decoding = "greedy" }}
[[stage]]
score = {{ model = "{work}/filter" }}
[keep]
threshold = 0.5
[sink]
output = "{place}/out"
""")
                seconds, resident = peak(program, pipeline, 1200)
                scored = pyarrow.parquet.ParquetDataset(place / "out" / "scored").read(columns=["reject"])
                rejected = scored.num_rows - scored["reject"].null_count
                assert scored.num_rows == count and rejected == 0, f"{scored.num_rows} rows, {rejected} rejected"
                peaks.append(resident)
                print(f"{kind}, {count}: {resident / 1e6:.0f} MB, {count / seconds:.0f} pictures/s", flush=True)
                shutil.rmtree(place)
            ratio = peaks[1] / peaks[0]
            ok &= ratio <= 1.1
            print(f"{kind}: {ratio:.3f} times the memory for {arguments.many / arguments.few:.0f} times the pictures")
    finally:
        server.terminate()
        if not arguments.work:
            shutil.rmtree(work)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
