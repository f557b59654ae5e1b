"""capfilt against a plain transformers script: a caption of 20 tokens, then two matching passes, for every picture.

    python tests/golden/full_size.py FOLDER            # BLIP base, 384 px, random weights; once
    cargo build --release
    python tests/bench/race.py FOLDER --capfilt target/release/capfilt

Both sides do the same work on the same pictures with the same weights: decode a PNG, encode it for the captioner, draw
20 tokens (top-k 50, top-p 0.9, repetition penalty 1.1; the end token is banned, so that all draw 20), encode it for the
filter, match the web text and the new caption.

* `plain` is what transformers' documentation leads to: batched `generate`, then one call of the matching model for
  each of the two texts. The best of batch 1 and 8 counts.
* `careful` encodes the picture once for both texts, which the class does not offer and one writes by hand.
* `loop` is the bare model loop: `capfilt caption`, then `capfilt score` with two texts.
* `run` is `capfilt run` with decode, caption and score.

Every program runs twice, on few and on more pictures; the difference of the times is divided by the difference of the
counts, so that starting up and loading models count for nobody. Everything uses `--threads` threads.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOKENS = 20
TEXT = "a drawing of a small red bird on a branch"


def capfilt(program, *arguments, threads):
    """Seconds of one run of the program."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    begun = time.perf_counter()
    done = subprocess.run([program, *map(str, arguments)], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{arguments} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return time.perf_counter() - begun, done.stdout


def rate(seconds_of, few, many):
    """Pictures per second: the slope between two counts."""
    first = seconds_of(few)
    return (many - few) / (seconds_of(many) - first)


def packages(program, folder, work, precision, threads):
    """Imports both checkpoints."""
    for task in ("captioner", "filter"):
        output = work / precision / task
        if not output.exists():
            arguments = ("model", "import", folder / task, "--output", output, "--precision", precision)
            seconds, _ = capfilt(program, *arguments, threads=threads)
            print(f"imported {task} {precision} in {seconds:.1f} s", flush=True)
    return work / precision


def loop_rate(program, models, files, few, many, threads):
    """The bare model loop."""

    def seconds_of(count):
        lengths = ("--min-length", TOKENS + 1, "--max-length", TOKENS + 1)
        decoding = ("--decoding", "nucleus:0.9", "--prompt", "", "--seed", 7, *lengths)
        caption, out = capfilt(
            program, "caption", "--model", models / "captioner", *decoding, *files[:count], threads=threads
        )
        lines = [json.loads(line) for line in out.splitlines()]
        assert len(lines) == count and all(len(line["token_ids"]) == TOKENS + 1 for line in lines)
        texts = ("--text", TEXT, "--text", lines[0]["caption"])
        score, out = capfilt(program, "score", "--model", models / "filter", *texts, *files[:count], threads=threads)
        assert len(out.splitlines()) == 2 * count
        return caption + score

    return rate(seconds_of, few, many)


def run_rate(program, models, rows, work, few, many, threads):
    """The whole of `capfilt run`."""
    import pyarrow
    import pyarrow.parquet

    def seconds_of(count):
        place = work / f"run-{count}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        table = pyarrow.table(
            {"image": [data for _, data in rows[:count]], "text": [TEXT] * count},
            schema=pyarrow.schema([("image", pyarrow.binary()), ("text", pyarrow.string())]),
        )
        pyarrow.parquet.write_table(table, place / "shard.parquet")
        nucleus = f"min-length = {TOKENS + 1}, max-length = {TOKENS + 1}"
        (place / "race.toml").write_text(f"""name = "race"
device = "cpu"
[source]
shards = "{place}/*.parquet"
columns = {{ image = "image", text = "text" }}
[[stage]]
decode = {{}}
[[stage]]
caption = {{ model = "{models}/captioner", prompt = "", decoding = {{ nucleus = {{ {nucleus} }} }}, seed = 7 }}
[[stage]]
score = {{ model = "{models}/filter" }}
[keep]
threshold = 0.5
[sink]
output = "{place}/out"
""")
        seconds, _ = capfilt(program, "run", place / "race.toml", threads=threads)
        scored = pyarrow.parquet.read_table(place / "out" / "scored")
        assert scored.num_rows == count
        for candidates in scored["candidates"].to_pylist():
            assert len(candidates) == 2 and all(candidate["scores"] for candidate in candidates)
        return seconds

    return rate(seconds_of, few, many)


def transformers_rates(folder, files, few, many, threads):
    """The plain and the careful script."""
    import torch
    from PIL import Image
    from tokenizers import Tokenizer
    from transformers import BlipForConditionalGeneration, BlipForImageTextRetrieval
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    captioner = BlipForConditionalGeneration.from_pretrained(folder / "captioner", dtype=torch.float32).eval()
    filter_ = BlipForImageTextRetrieval.from_pretrained(folder / "filter", dtype=torch.float32).eval()
    words = Tokenizer.from_file(str(folder / "captioner" / "tokenizer.json"))
    words.enable_truncation(35)
    words.enable_padding(pad_id=words.token_to_id("[PAD]"))
    processor = BlipImageProcessorPil()
    end = words.token_to_id("[SEP]")

    def pixels_of(batch):
        pictures = []
        for file in batch:
            picture = Image.open(file).convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            pictures.append(Image.alpha_composite(white, picture).convert("RGB"))
        return processor(pictures, return_tensors="pt")["pixel_values"]

    def captions_of(pixels):
        start = torch.tensor([[words.token_to_id("[DEC]"), end]]).repeat(len(pixels), 1)
        ids = captioner.generate(
            pixels,
            input_ids=start,
            do_sample=True,
            top_p=0.9,
            top_k=50,
            repetition_penalty=1.1,
            min_length=TOKENS + 1,
            max_length=TOKENS + 1,
        )
        assert ids.shape[1] == TOKENS + 1
        return [words.decode(row, skip_special_tokens=True) for row in ids.tolist()]

    def tokens_of(texts):
        encoded = words.encode_batch(texts)
        return {
            "input_ids": torch.tensor([one.ids for one in encoded]),
            "attention_mask": torch.tensor([one.attention_mask for one in encoded]),
        }

    def plain(batch):
        pixels = pixels_of(batch)
        for texts in ([TEXT] * len(batch), captions_of(pixels)):
            filter_(pixel_values=pixels, **tokens_of(texts)).itm_score.softmax(-1)

    def careful(batch):
        pixels = pixels_of(batch)
        captions = captions_of(pixels)
        embeds = filter_.vision_model(pixels).last_hidden_state
        for texts in ([TEXT] * len(batch), captions):
            states = filter_.text_encoder(
                encoder_hidden_states=embeds,
                encoder_attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long),
                **tokens_of(texts),
            )
            filter_.itm_head(states.last_hidden_state[:, 0]).softmax(-1)

    rates = {}
    plain(files[:1])
    for name, script in (("plain", plain), ("careful", careful)):
        for size in (1, 8):
            begun = time.perf_counter()
            count = many - few
            for first in range(0, count, size):
                script(files[first : min(first + size, count)])
            rates[f"{name}, batch {size}"] = count / (time.perf_counter() - begun)
            print(f"  {name}, batch {size}: {rates[f'{name}, batch {size}']:.3f} pictures/s", flush=True)
    return rates


def main():
    """Races and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what tests/golden/full_size.py made")
    parser.add_argument("--capfilt", default="target/release/capfilt")
    parser.add_argument("--pictures", type=Path, default=Path(__file__).parents[2] / "pipelines/demo/pictures.parquet")
    parser.add_argument("--few", type=int, default=8)
    parser.add_argument("--many", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=["transformers", "fp32", "int8"])
    parser.add_argument("--work", type=Path, help="keeps the imported packages here")
    arguments = parser.parse_args()
    import pyarrow.parquet

    images = pyarrow.parquet.read_table(arguments.pictures, columns=["image"])["image"].to_pylist()
    rows = sorted((image["path"], image["bytes"]) for image in images)[: arguments.many]
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or Path(temporary)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        files = []
        for index, (_, data) in enumerate(rows):
            files.append(work / f"{index:03}.png")
            files[-1].write_bytes(data)
        counts = (arguments.few, arguments.many)
        rates = {}
        if "transformers" in arguments.only:
            rates |= transformers_rates(arguments.folder, files, *counts, arguments.threads)
        for precision in ("fp32", "int8"):
            if precision not in arguments.only:
                continue
            models = packages(arguments.capfilt, arguments.folder, work, precision, arguments.threads)
            loop = loop_rate(arguments.capfilt, models, files, *counts, arguments.threads)
            print(f"  capfilt {precision}, loop: {loop:.3f} pictures/s", flush=True)
            run = run_rate(arguments.capfilt, models, rows, work, *counts, arguments.threads)
            print(f"  capfilt {precision}, run: {run:.3f} pictures/s", flush=True)
            rates[f"capfilt {precision}, loop"], rates[f"capfilt {precision}, run"] = loop, run
    best = {
        name: max((rates[key] for key in rates if key.startswith(name)), default=None) for name in ("plain", "careful")
    }
    print("| | pictures/s | times plain | times careful | of its loop |")
    print("| --- | --- | --- | --- | --- |")
    for name, value in rates.items():
        over = [f"{value / best[base]:.2f}" if best[base] else "" for base in ("plain", "careful")]
        loop = rates.get(name.replace(", run", ", loop"))
        share = f"{value / loop:.2f}" if name.endswith(", run") else ""
        print(f"| {name} | {value:.3f} | {over[0]} | {over[1]} | {share} |")


if __name__ == "__main__":
    main()
