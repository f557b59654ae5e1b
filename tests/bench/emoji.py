"""Trains the four families on emoji, one vendor held out, beside PyTorch on the same data.

    python tests/bench/emoji.py --capfilt target/release/capfilt --data ../shared/data/emoji.parquet \\
        --tokenizer ../shared/models/mini-blip/captioner/tokenizer.json --output out/emoji

Every (program, family, seed) is a line of `OUTPUT/results.jsonl`; what has one is not done again. The models have 1.7 to 3.1 million
parameters and see 32 px. `--scale 0.1` makes a tenth of the steps. Then prints the table of the README, and draws the losses in
`OUTPUT/curves.svg`.
"""

import argparse
import collections
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet

VENDOR = "fluent-emoji-flat"
VISION = {"image-size": 32, "patch": 8, "width": 128, "layers": 4, "heads": 4}
TEXT = {"width": 128, "layers": 2, "heads": 4, "positions": 16}
EMBED = 64
COCA = {"upper-layers": 2, "queries": 8, "pooler-heads": 4}
# BLIP's own (57,600 and 0.995) are for runs a hundred times as long.
QUEUE = {"queue": 64, "momentum": 0.9}
# Under the names of `families.py`.
SIZES = {"vision": VISION, "text": TEXT, "embed": EMBED, "kept-tokens": 0.25, "dropout": 0.0, **COCA, **QUEUE}
BATCH, STEPS, RATE = 64, 1500, 1e-3
FAMILIES = ("clip", "coca", "filip", "blip")


def inline(values: dict) -> str:
    """A table of TOML on one line."""
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in values.items()) + " }"


def training(family: str, seed: int, steps: int, tokenizer: Path, seen: Path, held: Path) -> str:
    """The training file."""
    model = [f'family = "{family}"', f"vision = {inline(VISION)}", f"text = {inline(TEXT)}"]
    if family == "blip":
        model += [f"projection = {EMBED}", "dropout = 0.0", f"tokens = {TEXT['positions']}"]
        model += [f"{key} = {value}" for key, value in QUEUE.items()]
        optimizer = 'kind = "adamw"\nweight-decay = 0.05'
    else:
        model += [f"embed = {TEXT['width'] if family == 'coca' else EMBED}"]
        optimizer = 'kind = "adamw"\nbetas = [0.9, 0.98]\nepsilon = 1e-6\nweight-decay = 0.2'
    if family == "coca":
        model += [f"{key} = {value}" for key, value in COCA.items()]
    columns = inline({"text": "caption"})
    return "\n".join(
        [
            f"seed = {seed}",
            f'tokenizer = "{tokenizer.resolve()}"',
            "[model]",
            *model,
            "[[data]]",
            f'shards = "{seen.resolve()}"',
            f"columns = {columns}",
            "[loading]",
            'augmentation = { crop = [0.8, 1.0], flip = false, policy = "none" }',
            "[training]",
            f"batch = {BATCH}",
            f"steps = {steps}",
            "log-every = 20",
            "[optimizer]",
            optimizer,
            "[learning-rate]",
            f"peak = {RATE}",
            f"warm-up = {max(1, steps // 10)}",
            "[held-out]",
            f"every = {steps}",
            f'data = {{ shards = "{held.resolve()}", columns = {columns} }}',
        ]
    )


def split(data: Path, output: Path) -> tuple[Path, Path, Path]:
    """Files of the vendors that are seen and of the one that is held out, with ids; and one of held-out pictures, each with its own
    caption and another's, which `fits` tells apart."""
    table = parquet.read_table(data)
    ids = [f"{vendor}/{concept}" for vendor, concept in zip(table["vendor"].to_pylist(), table["concept"].to_pylist())]
    table = table.append_column("id", pyarrow.array(ids))
    is_held = pyarrow.compute.equal(table["vendor"], VENDOR)
    seen, held = output / "seen.parquet", output / "held-out.parquet"
    parquet.write_table(table.filter(pyarrow.compute.invert(is_held)), seen, row_group_size=1000)
    own = table.filter(is_held)
    parquet.write_table(own, held, row_group_size=1000)
    captions, draw = own["caption"].to_pylist(), random.Random(0)
    others = [draw.choice([other for other in captions if other != caption]) for caption in captions]
    images = pyarrow.concat_arrays(own["image"].chunks * 2)
    fits = [True] * len(captions) + [False] * len(captions)
    parquet.write_table(pyarrow.table({"image": images, "text": captions + others, "fits": fits}), output / "pairs.parquet")
    return seen, held, output / "pairs.parquet"


def ours(arguments, family: str, seed: int, steps: int, seen: Path, held: Path, pairs: Path) -> dict:
    """A run of `capfilt train`, and what its filter makes of `pairs`."""
    output = arguments.output / f"{family}-{seed}"
    file = arguments.output / f"{family}-{seed}.toml"
    file.write_text(training(family, seed, steps, arguments.tokenizer, seen, held))
    begun = time.perf_counter()
    subprocess.run([arguments.capfilt, "train", file, "--output", output], check=True)
    seconds = time.perf_counter() - begun
    lines = [json.loads(line) for line in (output / "progress.jsonl").read_text().splitlines()]
    held_out = next(line["held-out"] for line in reversed(lines) if "held-out" in line)
    judged = {}
    if family == "blip":
        command = [arguments.capfilt, "-q", "eval", "--model", output / "filter", "--data", pairs, "--truth", "fits", "--metrics", "filter"]
        numbers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["metrics"]["filter"]
        judged = {key: 100 * numbers[key] for key in ("precision", "recall")}
    percent = lambda recall: {"r1": 100 * recall[0], "r5": 100 * recall[1]}
    return {
        "seconds": seconds,
        "image_to_text": percent(held_out["text-recall"]),
        "text_to_image": percent(held_out["image-recall"]),
        **({"cider_d": held_out["cider-d"]} if "cider-d" in held_out else {}),
        **judged,
    }


def torch(arguments, family: str, seed: int, steps: int) -> dict:
    """A run of `emoji_torch.py`."""
    config = {**SIZES, "batch": BATCH, "lr": RATE, "steps": steps, "seed": seed}
    file = arguments.output / f"{family}-{seed}.json"
    file.write_text(json.dumps(config))
    script = Path(__file__).parent / "emoji_torch.py"
    command = [sys.executable, script, file, "--family", family, "--data", arguments.data, "--tokenizer", arguments.tokenizer, "--held-out", VENDOR]
    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {key: done[key] for key in ("seconds", "image_to_text", "text_to_image")}


def table(results: list[dict]) -> str:
    """Means and ranges over seeds."""
    groups = collections.defaultdict(list)
    for result in results:
        groups[result["program"], result["family"], result["steps"]].append(result)

    def spread(values: list[float], digits: int = 1) -> str:
        mean = sum(values) / len(values)
        return f"{mean:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else f"{mean:.{digits}f}"

    columns = ["program", "family", "steps", "seeds", "text R@1", "text R@5", "image R@1", "image R@5", "CIDEr-D", "filter precision", "filter recall", "seconds"]
    rows = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for (program, family, steps), found in sorted(groups.items(), key=lambda item: item[0][1:] + item[0][:1]):
        recalls = [spread([one[way][k] for one in found]) for way in ("image_to_text", "text_to_image") for k in ("r1", "r5")]
        some = [(spread([one[key] for one in found], digits) if key in found[0] else "") for key, digits in (("cider_d", 2), ("precision", 0), ("recall", 0))]
        rows.append(f"| {' | '.join([program, family, str(steps), str(len(found)), *recalls, *some, spread([one['seconds'] for one in found], 0)])} |")
    return "\n".join(rows)


def smooth(values: list[float], window: int = 5) -> list[float]:
    """Means of up to `window` neighbours before each value."""
    return [sum(values[max(0, place - window + 1) : place + 1]) / min(place + 1, window) for place in range(len(values))]


def curves(output: Path, families: list[str], seeds: list[int]) -> str:
    """An SVG of every loss of `capfilt train`, one panel a family, one line a seed."""
    wide, high, left, top = 250, 150, 44, 22
    parts = []
    for panel, family in enumerate(families):
        lines = collections.defaultdict(list)
        for seed in seeds:
            steps = [json.loads(line) for line in (output / f"{family}-{seed}" / "progress.jsonl").read_text().splitlines()]
            steps = [line for line in steps if "losses" in line]
            for name in steps[0]["losses"]:
                lines[name].append(([line["step"] for line in steps], smooth([line["losses"][name] for line in steps])))
        most = max(max(values) for found in lines.values() for _, values in found)
        last = max(steps[-1] for found in lines.values() for steps, _ in found)
        x0, y0 = panel % 2 * (wide + left + 20) + left, panel // 2 * (high + top + 34) + top
        at = lambda step, loss: f"{x0 + wide * step / last:.1f},{y0 + high * (1 - loss / most):.1f}"
        parts.append(f'<path d="M{x0} {y0}v{high}h{wide}" fill="none" stroke="#888"/>')
        parts.append(f'<text x="{x0}" y="{y0 - 8}" font-weight="bold">{family}</text>')
        parts.append(f'<text x="{x0 - 6}" y="{y0 + 10}" text-anchor="end">{most:.1f}</text><text x="{x0 - 6}" y="{y0 + high}" text-anchor="end">0</text>')
        parts.append(f'<text x="{x0 + wide}" y="{y0 + high + 14}" text-anchor="end">{last} steps</text>')
        for place, ((name, found), colour) in enumerate(zip(lines.items(), ("#4477aa", "#cc6677", "#228833"))):
            for steps, values in found:
                points = " ".join(at(step, value) for step, value in zip(steps, values))
                parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
            parts.append(f'<text x="{x0 + wide}" y="{y0 + 10 + 14 * place}" text-anchor="end" fill="{colour}">{name}</text>')
    width, height = 2 * (wide + left + 20), (len(families) + 1) // 2 * (high + top + 34)
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    background = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="11">{background}{"".join(parts)}</svg>\n'


def main():
    """Runs what is not done yet and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capfilt", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--programs", nargs="+", choices=("capfilt", "torch"), default=["capfilt", "torch"])
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    seen, held, pairs = split(arguments.data, arguments.output)
    file = arguments.output / "results.jsonl"
    results = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(one["program"], one["family"], one["seed"], one["steps"]) for one in results}
    for seed in arguments.seeds:
        for family in arguments.families:
            steps = max(1, round(STEPS * arguments.scale))
            for program in arguments.programs:
                # open_clip has no FILIP.
                if (program, family, seed, steps) in done or (program, family) == ("torch", "filip"):
                    continue
                run = ours(arguments, family, seed, steps, seen, held, pairs) if program == "capfilt" else torch(arguments, family, seed, steps)
                result = {"program": program, "family": family, "seed": seed, "steps": steps, **run}
                results.append(result)
                with file.open("a") as opened:
                    opened.write(json.dumps(result) + "\n")
    print(table(results))
    if "capfilt" in arguments.programs:
        (arguments.output / "curves.svg").write_text(curves(arguments.output, arguments.families, arguments.seeds))


if __name__ == "__main__":
    main()
