"""Makes tests/golden/train/version-1: a training as commit 497e7fa left it, and what it was made of.

    python tests/golden/train_version_1.py tests/golden/train/version-1 --capfilt CAPFILT_OF_497E7FA

Its checkpoints carry fingerprints of version 1, which spell paths as the program was given them: it was started in the folder above, as
`capfilt train version-1/train.toml`. The towers are the smallest that there can be.
"""

import argparse
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import save_file

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "green", "blue", "square"]
COLOURS = {"red": (220, 30, 40), "green": (30, 200, 60), "blue": (40, 60, 210)}

FILE = """\
output = "out"
schedule = "0 3 * * *"
after = "pipeline.toml"
seed = 3
tokenizer = "words/vocab.txt"
checkpoints = { every = 2 }

[start]
model = "start"

[model]
family = "clip"
vision = { image-size = 8, patch = 8, width = 4, layers = 1, heads = 1, hidden = 4 }
text = { width = 4, layers = 1, heads = 1, hidden = 4, positions = 6 }
embed = 4

[[data]]
shards = "data/*.parquet"

[training]
batch = 3
steps = 4
log-every = 1

[learning-rate]
peak = 1e-3

[held-out]
data = { shards = "data/one.parquet" }
every = 2
"""


def picture(colour) -> bytes:
    """A square of one colour as PNG."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--capfilt", type=Path, required=True)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    for name in ("data", "words", "start"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "train.toml").write_text(FILE)
    (folder / "words/vocab.txt").write_text("\n".join(WORDS) + "\n")
    for shard in ("one", "two"):
        rows = {"image": [picture(colour) for colour in COLOURS.values()], "text": [f"a {name} square" for name in COLOURS]}
        pq.write_table(pa.table(rows), folder / f"data/{shard}.parquet", use_dictionary=False, write_statistics=False)
    save_file({"visual.class_embedding": np.linspace(-0.5, 0.5, 4, dtype=np.float32)}, folder / "start/model.safetensors")
    subprocess.run([arguments.capfilt.resolve(), "train", f"{folder.name}/train.toml"], cwd=folder.parent, check=True)
    # What it was exported to, the lock and the page are of no use here.
    for path in (folder / "out").iterdir():
        if path.is_dir() and path.name != "checkpoints":
            shutil.rmtree(path)
        elif path.is_file() and path.name != "progress.jsonl":
            path.unlink()


if __name__ == "__main__":
    main()
