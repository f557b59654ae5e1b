"""Steps a second of PyTorch's training of each family, on random data: what `capfilt train` is compared with.

    python tests/bench/train_torch.py SIZES.json [--families blip clip ..] [--threads 2] [--seconds 20]

SIZES.json is described in `families.py`. A step is forward, loss, backward and AdamW, in float32 and in training mode. Needs
`tests/golden/requirements.txt`. One JSON line per family; `steps_per_second` is that of the median step after two that do not count.

On a machine that does other work too, OpenMP's threads wait for each other by spinning, which made steps four times slower:
set `OMP_WAIT_POLICY=PASSIVE`, and compare `cpu_seconds_per_step`.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from families import FAMILIES, FIRST, LAST, WORDS


def batch(config: dict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random pictures, and texts of half to all positions."""
    count, side, width = config["batch"], config["vision"]["image-size"], config["text"]["positions"]
    tokens = torch.randint(WORDS, config["vocabulary"] - 2, (count, width))
    lengths = torch.randint(width // 2, width + 1, (count, 1))
    places = torch.arange(width)
    tokens = tokens.masked_fill(places == 0, FIRST).masked_fill(places == lengths - 1, LAST).masked_fill(places >= lengths, 0)
    return torch.randn(count, 3, side, side), tokens, (tokens != 0).long()


def race(name: str, config: dict, seconds: float) -> dict:
    """Trains for about `seconds`."""
    torch.manual_seed(0)
    family = FAMILIES[name](config)
    family.model.train()
    optimizer = family.optimizer()
    data = [batch(config) for _ in range(4)]
    times, worked, begun = [], [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begun < seconds:
        before, work = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        loss = family.loss(*data[len(times) % len(data)], 1.0)
        loss.backward()
        optimizer.step()
        family.after_step()
        times.append(time.perf_counter() - before)
        worked.append(time.process_time() - work)
    step = statistics.median(times[2:])
    return {
        "family": name,
        "steps_per_second": 1 / step,
        "pictures_per_second": config["batch"] / step,
        "cpu_seconds_per_step": statistics.median(worked[2:]),
        "fastest_step": min(times[2:]),
        "steps": len(times) - 2,
        "parameters": sum(tensor.numel() for tensor in family.model.parameters()),
        "loss": loss.item(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def main():
    """Races every family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=Path)
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = json.loads(arguments.sizes.read_text())
    for name in arguments.families:
        print(json.dumps(race(name, config, arguments.seconds)), flush=True)


if __name__ == "__main__":
    main()
