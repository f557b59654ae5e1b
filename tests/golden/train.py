"""Makes the reference numbers of the trainer with PyTorch: `python tests/golden/train.py`.

For each family a folder of `train/`: a small random model, its inputs, and the outputs, losses and gradients; beside them
the optimizers and learning rates. What each tensor means is in `train/README.md`. Needs `requirements.txt`; runs on the CPU in seconds.
"""

import argparse
from pathlib import Path

import torch

import train_blip
import train_open_clip
import train_optimizers

FAMILIES = {
    "blip-pretrain": train_blip.blip_pretrain,
    "blip-captioner": train_blip.blip_captioner,
    "blip-filter": train_blip.blip_filter,
    "clip": train_open_clip.clip,
    "coca": train_open_clip.coca,
    "filip": train_open_clip.filip,
    "optimizers": train_optimizers.optimizers,
    "schedules": train_optimizers.schedules,
}


def main():
    """Writes all of `tests/golden/train`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "train")
    parser.add_argument("--only", nargs="*", choices=FAMILIES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, write in FAMILIES.items():
        if not arguments.only or name in arguments.only:
            write(arguments.output)


if __name__ == "__main__":
    main()
