"""How well a captioner and a filter do on clip art that they never saw: the `demo` split.

    python tests/bench/demo_models.py --capfilt target/release/capfilt --data ../shared/data/openclipart.parquet \\
        --captioner pipelines/demo/captioner --filter pipelines/demo/filter --output out/demo-models

Each picture of the split that has a title is judged with its own title, with that of another picture, and with the caption that
the captioner writes for it (three beams). Prints one JSON object with the shares that the filter keeps at 0.5, in percent, and
with the area under the ROC curve of own titles against others', by the matching head and by similarity; `generic` are titles that
more than three pictures have. Another picture's title is never the same words.
"""

import argparse
import json
import random
import subprocess
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet as parquet

MATCH, SIMILARITY = "match", "similarity"


def pipeline(shards: Path, captioner: Path | None, judge: Path, output: Path) -> str:
    """A pipeline file that judges what `shards` say and, with a captioner, what it says."""
    decoding = "{ beam = { beams = 3, min-length = 2 } }"
    caption = [] if captioner is None else ["[[stage]]", f'caption = {{ model = "{captioner.resolve()}", decoding = {decoding} }}']
    source = ["[source]", f'shards = "{shards.resolve()}"', 'columns = { image = "image", text = "title" }']
    score = ["[[stage]]", f'score = {{ model = "{judge.resolve()}" }}']
    return "\n".join(['name = "judge"', *source, "[[stage]]", "decode = {}", *caption, *score, "[sink]", f'output = "{output.resolve()}"'])


def judged(arguments, name: str, rows: list[dict], captioner: Path | None) -> list[dict]:
    """Every row with both scores of each source of texts, and the texts."""
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    shards, file, output = folder / f"{name}.parquet", folder / f"{name}.toml", folder / name
    images = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = {"image": pyarrow.array([row["image"] for row in rows], images), "title": [row["title"] for row in rows]}
    parquet.write_table(pyarrow.table(table), shards)
    file.write_text(pipeline(shards, captioner, arguments.filter, output))
    subprocess.run([arguments.capfilt, "-q", "run", file, "--changed"], check=True)
    found = []
    for row in parquet.read_table(output / "scored").to_pylist():
        scores = {}
        for candidate in row["candidates"] or []:
            kinds = {score["kind"]: score["value"] for score in candidate["scores"]}
            scores[candidate["source"]] = kinds | {"text": candidate["text"]}
        found.append(scores)
    return found


def main():
    """Judges and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capfilt", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--captioner", type=Path, required=True)
    parser.add_argument("--filter", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = [row for row in parquet.read_table(arguments.data).to_pylist() if row["split"] == "demo" and row["title"]]
    titles = [row["title"] for row in rows]
    draw = random.Random(0)
    others = [row | {"title": draw.choice([title for title in titles if title.lower() != row["title"].lower()])} for row in rows]
    own, other = judged(arguments, "own", rows, arguments.captioner), judged(arguments, "other", others, None)

    def kept(scores: list[dict], source: str) -> float:
        found = [one[source][MATCH] > 0.5 for one in scores if source in one]
        return round(100 * sum(found) / len(found), 1)

    def auc(kind: str) -> float:
        right, wrong = (numpy.array([one["web"][kind] for one in scores if "web" in one]) for scores in (own, other))
        above, equal = (compare(right[:, None], wrong[None]).mean() for compare in (numpy.greater, numpy.equal))
        return round(float(above + equal / 2), 3)

    specific = [score for score, row in zip(own, rows, strict=True) if row["title_repeats"] <= 3]
    generic = [score for score, row in zip(own, rows, strict=True) if row["title_repeats"] > 3]
    result = {
        "pictures": len(rows),
        "own_title": kept(own, "web"),
        "own_title_specific": kept(specific, "web"),
        "own_title_generic": kept(generic, "web"),
        "other_title": kept(other, "web"),
        "own_caption": kept(own, "synthetic"),
        "auc_match": auc(MATCH),
        "auc_similarity": auc(SIMILARITY),
        "captions": len({one["synthetic"]["text"] for one in own}),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
