"""How many synthetic captions of `mini-blip.toml` are the concept's official name, before and after the filter.

    python tests/bench/synthetic_captions.py --data out/mini-blip-data out/mini-blip/seed-*/both.data out/mini-blip/seed-*/beam.data
"""

import argparse
import re
from pathlib import Path

import pyarrow.parquet as parquet


def clean(text: str) -> str:
    """A text without case and most punctuation, as BLIP cleans it."""
    return " ".join(re.sub(r"[.!\"()*#:;~]", " ", text.lower()).split())


def rows(folder: Path, columns: list[str]) -> list[dict]:
    """Rows of all shards of a folder."""
    return [row for file in sorted(folder.rglob("*.parquet")) for row in parquet.read_table(file, columns=columns).to_pylist()]


def main():
    """Counts in every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    read = lambda name: parquet.read_table(arguments.data / f"{name}.parquet", columns=["id", "concept", "text"]).to_pylist()
    names = {row["concept"]: clean(row["text"]) for name in ("human", "held-out-seen", "held-out-unseen") for row in read(name)}
    seen = {row["concept"] for row in read("human")}
    concepts = {row["id"]: row["concept"] for row in read("web")}
    for run in arguments.run:
        kept = {row["id"] for row in rows(run / "dataset", ["id", "captions"]) if any(one["source"] == "synthetic" for one in row["captions"])}
        written = [
            (row["id"], concepts[row["id"]], clean(one["text"]))
            for row in rows(run / "scored", ["id", "candidates"])
            for one in row["candidates"]
            if one["source"] == "synthetic" and concepts[row["id"]] in names
        ]
        for part in ("seen", "unseen"):
            of_part = [(row, names[concept] == text) for row, concept, text in written if (concept in seen) == (part == "seen")]
            share = lambda found: 100 * sum(found) / max(1, len(found))
            print(
                f"{run} {part}: {len(of_part)} captions, {share([right for _, right in of_part]):.1f} % are the name; "
                f"kept {share([row in kept for row, _ in of_part]):.0f} %, of which {share([right for row, right in of_part if row in kept]):.1f} %"
            )


if __name__ == "__main__":
    main()
