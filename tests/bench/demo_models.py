"""How well a captioner and a filter do on clip art that they never saw: the `demo` split.

    python tests/bench/demo_models.py --capfilt target/release/capfilt --data ../shared/data/openclipart.parquet \\
        --captioner pipelines/demo/captioner --filter pipelines/demo/filter --output out/demo-models

Each picture of the split that has a title, and is not in the `train` split too, byte for byte, is judged with its own title, with that of another picture, and with the caption that
the captioner writes for it (three beams). Another picture's title is never the same words. Prints one JSON object, shares in
percent:

* what the filter keeps by match at 0.5; `generic` are titles that more than three pictures have, `specific` the others;
* by the matching head and by similarity, own titles against others': the area under the ROC curve, and what is kept of own titles
  and of own captions where 2.7 % of others' titles are;
* `named`: captions that share a word with the picture's specific title; `named_by_chance` with the specific title of another.
"""

import argparse
import json
import random
import re
import subprocess
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet as parquet

MATCH, SIMILARITY = "match", "similarity"
# The share of others' titles that both heads are compared at.
OTHERS_KEPT = 0.027
# Words that say nothing about what a picture shows.
STOPPED = set("a an and at bw by clip clipart art for from icon in of on the to with".split())


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


def words(text: str) -> set[str]:
    """The words of a text that say what is shown, without a plural's s."""
    found = {word.removesuffix("s") if len(word) > 3 else word for word in re.findall(r"[^\W\d_]+", text.lower())}
    return {word for word in found if len(word) > 1} - STOPPED


def main():
    """Judges and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capfilt", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--captioner", type=Path, required=True)
    parser.add_argument("--filter", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = parquet.read_table(arguments.data).to_pylist()
    seen = {row["image"]["bytes"] for row in rows if row["split"] == "train"}
    rows = [row for row in rows if row["split"] == "demo" and row["title"] and row["image"]["bytes"] not in seen]
    titles = [row["title"] for row in rows]
    draw = random.Random(0)
    others = [row | {"title": draw.choice([title for title in titles if title.lower() != row["title"].lower()])} for row in rows]
    own, other = judged(arguments, "own", rows, arguments.captioner), judged(arguments, "other", others, None)

    def kept(scores: list[dict], source: str) -> float:
        found = [one[source][MATCH] > 0.5 for one in scores if source in one]
        return round(100 * sum(found) / len(found), 1)

    def values(scores: list[dict], source: str, kind: str):
        return numpy.array([one[source][kind] for one in scores if source in one])

    def ranked(kind: str) -> dict:
        right, wrong = values(own, "web", kind), values(other, "web", kind)
        above, equal = (compare(right[:, None], wrong[None]).mean() for compare in (numpy.greater, numpy.equal))
        threshold = numpy.quantile(wrong, 1 - OTHERS_KEPT)
        title, caption = (float((found > threshold).mean()) for found in (right, values(own, "synthetic", kind)))
        return {
            "auc": round(float(above + equal / 2), 3),
            "threshold": round(float(threshold), 3),
            "own_title": round(100 * title, 1),
            "own_caption": round(100 * caption, 1),
        }

    def named(scores: list[dict], titles: list[str]) -> float:
        shared = [bool(words(one["synthetic"]["text"]) & words(title)) for one, title in zip(scores, titles, strict=True)]
        return round(100 * sum(shared) / len(shared), 1)

    specific = [score for score, row in zip(own, rows, strict=True) if row["title_repeats"] <= 3]
    specific_titles = [row["title"] for row in rows if row["title_repeats"] <= 3]
    generic = [score for score, row in zip(own, rows, strict=True) if row["title_repeats"] > 3]
    result = {
        "pictures": len(rows),
        "own_title": kept(own, "web"),
        "own_title_specific": kept(specific, "web"),
        "own_title_generic": kept(generic, "web"),
        "other_title": kept(other, "web"),
        "own_caption": kept(own, "synthetic"),
        MATCH: ranked(MATCH),
        SIMILARITY: ranked(SIMILARITY),
        "named": named(specific, specific_titles),
        "named_by_chance": named(specific, draw.sample(specific_titles, len(specific_titles))),
        "captions": len({one["synthetic"]["text"] for one in own}),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
