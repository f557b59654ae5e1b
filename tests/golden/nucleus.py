"""What transformers' logits processors make of random logits, one after another, in the order of its sampling mode."""

import json
from pathlib import Path

import numpy
import torch
from safetensors.numpy import save_file
from transformers import (
    MinLengthLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

VOCABULARY = 211
CASES = 48
STEPS = ["repetition-penalty", "min-length", "temperature", "top-k", "top-p"]


def case(number: int, random: numpy.random.Generator) -> dict:
    """The settings of one case. The first is BLIP's; the rest vary one thing or all."""
    if number == 0:
        return {"repetition_penalty": 1.1, "min_length": 5, "temperature": 1.0, "top_k": 50, "p": 0.9}
    return {
        "repetition_penalty": float(random.choice([1.0, 1.1, 1.3, 0.8])),
        "min_length": int(random.choice([0, 5, 10])),
        "temperature": float(random.choice([1.0, 0.5, 0.7, 1.6])),
        "top_k": int(random.choice([0, 1, 5, 50, 400])),
        "p": float(random.choice([0.1, 0.5, 0.9, 0.95, 1.0])),
    }


def processors(settings: dict, end: int):
    """The processors of one case; one that transformers would not create is the identity."""
    nothing = lambda _, scores: scores
    return [
        nothing
        if settings["repetition_penalty"] == 1.0
        else RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"]),
        nothing if settings["min_length"] == 0 else MinLengthLogitsProcessor(settings["min_length"], end),
        nothing if settings["temperature"] == 1.0 else TemperatureLogitsWarper(settings["temperature"]),
        nothing if settings["top_k"] == 0 else TopKLogitsWarper(settings["top_k"]),
        nothing if settings["p"] == 1.0 else TopPLogitsWarper(settings["p"]),
    ]


def write(folder: Path):
    """Writes `nucleus.json` (settings and histories) and `nucleus.safetensors` ([cases, vocabulary] per step)."""
    random = numpy.random.default_rng(5)
    end = 3
    cases, arrays = [], {name: [] for name in ["logits", *STEPS, "probabilities"]}
    for number in range(CASES):
        settings = case(number, random)
        history = random.integers(0, VOCABULARY, random.integers(1, 14)).tolist()
        history += history[:2]
        logits = random.normal(0, random.choice([0.3, 1.5, 4.0]), (1, VOCABULARY)).astype(numpy.float32)
        if number % 6 == 5:
            # Ties, also at the k-th place.
            logits = numpy.round(logits)
        arrays["logits"].append(logits[0])
        scores = torch.from_numpy(logits.copy())
        for name, processor in zip(STEPS, processors(settings, end), strict=True):
            scores = processor(torch.tensor([history]), scores.clone())
            arrays[name].append(scores[0].numpy().copy())
        arrays["probabilities"].append(torch.softmax(scores, -1)[0].numpy().copy())
        cases.append(settings | {"history": history})
    survivors = [int(numpy.isfinite(row).sum()) for row in arrays["top-p"]]
    assert min(survivors) == 1 and max(survivors) > 100, survivors
    save_file({name: numpy.stack(rows) for name, rows in arrays.items()}, folder / "nucleus.safetensors")
    (folder / "nucleus.json").write_text(json.dumps({"end": end, "cases": cases}, separators=(",", ":")) + "\n")
    print(f"nucleus: {CASES} cases, survivors from {min(survivors)} to {max(survivors)}")


if __name__ == "__main__":
    write(Path(__file__).parent)
