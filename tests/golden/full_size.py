"""Makes BLIP base at 384 pixels with random weights, and transformers' answers about a few pictures.

    python tests/golden/full_size.py FOLDER
    CAPFILT_FULL_SIZE=FOLDER cargo test --release -p capfilt --test it full_size

The weights (about 1.8 GB) are not committed; the same folder serves the race in `tests/bench`.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import torch

import blip
import shapes
from pictures import Pictures, clean_caption

PICTURES = 6
BASE = shapes.Shape(
    name="base",
    seed=3,
    vocabulary=30524,
    image_size=384,
    patch=16,
    vision=shapes.dims(768, 12, 12, 3072, 1e-5),
    text=shapes.dims(768, 12, 12, 3072, 1e-12) | {"max_position_embeddings": 512},
    projection=256,
    prompt="a picture of ",
    sep_bias=3.0,
    attention=3.0,
    position=3.0,
)


def tokenizer(texts: list[str]):
    """A vocabulary of the real size: the words there are, then numbered fillers."""
    small = shapes.tokenizer(dataclasses.replace(BASE, vocabulary=400), texts)
    model = json.loads(small.to_str())
    vocabulary = model["model"]["vocab"]
    words = sorted(vocabulary, key=vocabulary.get)[:-2]
    words += [f"filler{index}" for index in range(BASE.vocabulary - len(words) - 2)] + ["[DEC]", "[ENC]"]
    model["model"]["vocab"] = {word: index for index, word in enumerate(words)}
    for token in model["added_tokens"]:
        token["id"] = words.index(token["content"])
    return shapes.Tokenizer.from_str(json.dumps(model))


@torch.no_grad()
def main():
    """Writes checkpoints and `expected.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=Path, default=blip.REPOSITORY / "pipelines/demo/pictures.parquet")
    arguments = parser.parse_args()
    # At this width the usual initialisation is wide enough; 0.08 would drown everything in noise.
    shapes.INITIALIZER_RANGE = 0.03
    pictures = Pictures(arguments.pictures)
    words = tokenizer([clean_caption(title) for title in pictures.titles])
    names, titles = pictures.paths[:PICTURES], [title for title in pictures.titles if title][:PICTURES]
    pictures.rgb = pictures.rgb[:PICTURES]
    pixels = torch.from_numpy(pictures.tensors(BASE.image_size))

    model = shapes.captioner(BASE, words)
    blip.save(model, words, arguments.folder / "captioner", False)
    start = [words.token_to_id("[DEC]"), *words.encode(BASE.prompt).ids[1:-1]]
    greedy = {"min_length": len(start) + 1, "max_length": len(start) + 16}
    captions, margins, log_probs = [], [], []
    end = words.token_to_id("[SEP]")
    for picture in pixels:
        out = model.generate(
            picture[None],
            input_ids=torch.tensor([[*start, end]]),
            do_sample=False,
            output_scores=True,
            output_logits=True,
            return_dict_in_generate=True,
            **greedy,
        )
        captions.append(out.sequences[0].tolist())
        top = torch.cat(out.scores).topk(2).values
        margins.append(blip.number((top[:, 0] - top[:, 1]).min()))
        new = out.sequences[0, len(start) :, None]
        log_probs.append(blip.number(torch.cat(out.logits).log_softmax(-1).gather(1, new).sum()))
        print(captions[-1], margins[-1], flush=True)
    del model

    filter_ = shapes.matcher(BASE, words)
    blip.save(filter_, words, arguments.folder / "filter", False)
    words.enable_truncation(35)
    scores = []
    for picture in pixels:
        row = []
        for title in titles:
            ids = torch.tensor([words.encode(clean_caption(title)).ids])
            given = {"pixel_values": picture[None], "attention_mask": torch.ones_like(ids)}
            similarity = filter_(input_ids=ids, use_itm_head=False, **given).itm_score[0, 0]
            ids[0, 0] = words.token_to_id("[ENC]")
            match = filter_(input_ids=ids, **given).itm_score.softmax(-1)[0, 1]
            row.append((blip.number(match), blip.number(similarity)))
        scores.append(row)
        print(row, flush=True)
    answers = {
        "pictures": names,
        "prompt": BASE.prompt,
        "greedy": {name.replace("_", "-"): value for name, value in greedy.items()},
        "captions": captions,
        "margins": margins,
        "log_probs": log_probs,
        "texts": titles,
        "scores": scores,
    }
    (arguments.folder / "expected.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
