"""Training steps a second: `capfilt train` against PyTorch, side by side, for the four families.

    python tests/bench/train.py --capfilt target/release/capfilt --data seen.parquet --tokenizer tokenizer.json --output out/train-bench

The same sizes, batch, losses and AdamW for both. capfilt decodes and crops pictures of `--data` (columns `image` and `caption`) meanwhile and pads texts
to the longest of a batch; PyTorch gets random tensors that are there already, with texts of half to all positions. One after the other, `--rounds` times; prints
the median of the rounds, as a table. Needs `tests/golden/requirements.txt`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from emoji import BATCH, FAMILIES, SIZES, training


def ours(arguments, family: str) -> float:
    """Steps a second of `capfilt train`, without its first lines."""
    output = arguments.output / family
    subprocess.run(["rm", "-rf", output], check=True)
    file = arguments.output / f"{family}.toml"
    text = training(family, 0, arguments.steps, arguments.tokenizer, arguments.data, arguments.data)
    text = text[: text.index("[held-out]")].replace("log-every = 20", "log-every = 5")
    file.write_text(text)
    subprocess.run([arguments.capfilt, "-q", "train", file, "--output", output], check=True)
    lines = [json.loads(line) for line in (output / "progress.jsonl").read_text().splitlines()]
    return statistics.median(line["samples-per-second"] for line in lines[2:]) / BATCH


def torch(arguments, family: str) -> float:
    """Steps a second of PyTorch."""
    config = {**SIZES, "vocabulary": arguments.vocabulary, "batch": BATCH}
    file = arguments.output / f"{family}.json"
    file.write_text(json.dumps(config))
    command = [sys.executable, Path(__file__).parent / "train_torch.py", file, "--families", family, "--threads", str(os.cpu_count()), "--seconds", "10"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["steps_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capfilt", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--vocabulary", type=int, default=3772)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    print("| family | batch | capfilt, steps/s | PyTorch, steps/s | ratio |\n| --- | --- | --- | --- | --- |")
    for family in arguments.families:
        rounds = [(ours(arguments, family), torch(arguments, family)) for _ in range(arguments.rounds)]
        own, other = (statistics.median(one) for one in zip(*rounds))
        print(f"| {family} | {BATCH} | {own:.2f} | {other:.2f} | {own / other:.2f} |", flush=True)


if __name__ == "__main__":
    main()
