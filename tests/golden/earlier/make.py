"""Makes what an earlier version left: an output of all stages, with all that its pipeline names.

    git worktree add /tmp/earlier 497e7fa && (cd /tmp/earlier && cargo build --release --locked)
    python make.py target/release/capfilt

Needs Pillow and pyarrow. The pictures are only there while it runs: half in a folder, half behind a
server on loopback. Neither is kept, so that who resumes the output cannot fetch.
"""

import hashlib
import http.server
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HERE = Path(__file__).parent.resolve()
DEMO = HERE.parents[2] / "pipelines/demo"
# When the shards were written, in seconds since 1970: it is a part of what identifies them.
WRITTEN = 1_764_547_200
PORT = 18497

PIPELINE = """\
name = "earlier"
device = "cpu"

[source]
shards = "in/*.parquet"
rows-per-piece = 4

[[stage]]
where-text = "length(text) > 2"

[[stage]]
fetch = { folder = "./photos", opt-out-urls = ["lists/urls.txt"], opt-out-domains = ["lists/domains.txt"], allow-networks = ["127.0.0.0/8"] }

[[stage]]
decode = { min-side = 16 }

[[stage]]
dedup = { against = ["eval/*.parquet"] }

[[stage]]
caption = { model = "models/captioner", decoding = "greedy" }

[[stage]]
score = { model = "models/filter" }

[keep]
threshold = 0.01

[sink]
output = "out"
"""


def picture(name):
    """A picture of the demo, small."""
    table = pq.read_table(DEMO / "pictures.parquet", columns=["image"])
    found = io.BytesIO(table["image"][name]["bytes"].as_py())
    out = io.BytesIO()
    Image.open(found).convert("RGB").resize((32, 32)).save(out, "JPEG", quality=60)
    return out.getvalue()


def write(path, table):
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)
    os.utime(path, (WRITTEN, WRITTEN))


def main(program):
    for old in ["in", "eval", "lists", "out", "pipeline.toml"]:
        path = HERE / old
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        make(program, Path(folder) / "p")


def make(program, place):
    small = io.BytesIO()
    Image.new("RGB", (8, 8)).save(small, "PNG")
    pictures = {f"{n}.jpg": picture(40 * n) for n in range(6)} | {"small.png": small.getvalue()}
    (place / "photos").mkdir(parents=True)
    for name, content in pictures.items():
        (place / "photos" / name).write_bytes(content)
    os.symlink(DEMO, place / "models")
    local = lambda name: f"file://{place}/photos/{name}"
    web = lambda name: f"http://127.0.0.1:{PORT}/{name}"
    urls = [
        local("0.jpg"), web("1.jpg"), web("gone.jpg"), web("0.jpg"),
        local("2.jpg"), web("3.jpg"), local("small.png"), web("4.jpg"), None,
    ]
    texts = [
        "a picture of something", "another picture", "nothing", "the first one again",
        "no", "named by a list of opt-outs", "too small", "in an evaluation set", "no picture at all",
    ]
    write(place / "in/shard.parquet", pa.table({"url": urls, "text": texts}))
    sets = pa.table({"image": [pictures["4.jpg"]]}, pa.schema([("image", pa.binary())]))
    write(place / "eval/set.parquet", sets)
    (place / "lists").mkdir()
    digest = hashlib.sha256(web("3.jpg").encode()).hexdigest()
    (place / "lists/urls.txt").write_text(f"# asked us\n{digest}\n")
    (place / "lists/domains.txt").write_text("example.org\n")
    (place / "pipeline.toml").write_text(PIPELINE)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = pictures.get(self.path[1:])
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "image/jpeg")
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Named from the folder above, so that its paths begin with `p/`.
    subprocess.run([program, "run", "p/pipeline.toml"], cwd=place.parent, check=True)
    server.shutdown()
    shutil.rmtree(place / "out/runs")
    for kept in ["in", "eval", "lists", "out"]:
        shutil.copytree(place / kept, HERE / kept)
    (HERE / "out/.lock").unlink(missing_ok=True)
    shutil.copy(place / "pipeline.toml", HERE)


main(str(Path(sys.argv[1]).resolve()))
