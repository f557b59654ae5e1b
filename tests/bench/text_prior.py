"""Does a filter judge pairs, or texts alone? What it says of texts beside pictures that have nothing to do with them.

    python tests/bench/text_prior.py --capfilt target/release/capfilt --web out/mini-blip-data/web.parquet \\
        out/mini-blip/seed-*/m0.filter/filter

Every text of `web` gets the picture of another concept. A filter that judges pairs scores all of them alike: names are above
others half of the time (an AUC of 0.5). Below it, texts that are no names get the better scores whatever the picture shows.
"""

import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet


def strangers(web: pyarrow.Table, draw: random.Random) -> pyarrow.Table:
    """The texts of `web`, each beside a picture of another concept; `name` says whether a text was right for its own."""
    concepts = web["concept"].to_pylist()
    others = [draw.choice(range(len(concepts))) for _ in concepts]
    for row, other in enumerate(others):
        while concepts[other] == concepts[row]:
            other = draw.choice(range(len(concepts)))
        others[row] = other
    columns = {"image": web["image"].take(pyarrow.array(others)), "text": web["text"], "name": web["fits"], "kind": web["kind"]}
    return pyarrow.table(columns)


def main():
    """Measures every package by both scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, nargs="+")
    parser.add_argument("--capfilt", type=Path, required=True)
    parser.add_argument("--web", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "strangers.parquet"
        parquet.write_table(strangers(parquet.read_table(arguments.web), random.Random(0)), data)
        for package in arguments.package:
            for by in ("match", "similarity"):
                command = [arguments.capfilt, "-q", "eval", "--model", package, "--data", data, "--metrics", "filter"]
                command += ["--truth", "name", "--group", "kind", "--by", by]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                numbers = json.loads(done.stdout)["metrics"]["filter"]
                groups = ", ".join(f"{kind} {group['auc']:.2f}" for kind, group in numbers["groups"].items())
                print(f"{package} {by}: AUC of names against all others {numbers['auc']:.2f}; {groups}")


if __name__ == "__main__":
    main()
