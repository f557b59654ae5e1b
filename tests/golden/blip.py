"""Makes the reference numbers of BLIP with the real transformers: `python tests/golden/blip.py`.

For each random shape: the checkpoints in Hugging Face form, and what transformers answers about 220 pictures. For one
shape also the same weights as original BLIP `.pth` files. Of trained models the answers only: of mini-blip
(`../shared/models/mini-blip`), and of the demo's (`pipelines/demo/train`), rounded as its committed fp16 packages hold them.

Needs `requirements.txt`; runs on the CPU in a few minutes.
"""

import argparse
import json
import math
import shutil
from pathlib import Path

import numpy
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import BlipForConditionalGeneration, BlipForImageTextRetrieval, utils

import beam
import original
import shapes
from pictures import Pictures, clean_caption

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
# Pictures whose features and logits are kept whole.
WHOLE = 4
NUMBERS = 7


# transformers draws a bar for each file it writes.
utils.logging.disable_progress_bar()


class Oracle:
    """One captioner and one filter at work on all pictures."""

    def __init__(self, captioner, filter_, words: Tokenizer, prompt: str, pictures: Pictures):
        self.captioner, self.filter, self.words, self.prompt, self.pictures = captioner, filter_, words, prompt, pictures
        words.no_truncation()
        words.no_padding()
        text = captioner.config.text_config
        self.end, self.pad = text.sep_token_id, text.pad_token_id
        self.start = [text.bos_token_id, *words.encode(prompt).ids[1:-1]]
        self.pixels = torch.from_numpy(pictures.tensors(captioner.config.vision_config.image_size))
        self.embeds = captioner.vision_model(self.pixels).last_hidden_state
        first = self.embeds[:, 0]
        spread = torch.pdist(first).min().item()
        distinct = len({picture.tobytes() for picture in pictures.rgb})
        assert distinct < len(pictures) or spread > 1e-3, f"two pictures look alike: {spread}"
        assert first.std(0).mean() > 1e-2, "the image encoder does not see the picture"

    def logits(self, pictures: list[int], rows: list[list[int]]) -> torch.Tensor:
        """Logits [rows, tokens, vocabulary] of the decoder, without a cache."""
        embeds = self.embeds[pictures]
        return self.captioner.text_decoder(
            input_ids=torch.tensor(rows),
            attention_mask=torch.ones(len(rows), len(rows[0]), dtype=torch.long),
            encoder_hidden_states=embeds,
            encoder_attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long),
            is_decoder=True,
        ).logits

    def generate(self, **options) -> list[list[int]]:
        """What `generate` of transformers answers, cut after the end token."""
        prompt = torch.tensor([[*self.start, self.end]]).repeat(len(self.pictures), 1)
        answers = self.captioner.generate(self.pixels, input_ids=prompt, do_sample=False, **options).tolist()
        return [ids[: ids.index(self.end) + 1] if self.end in ids else ids for ids in answers]

    def lengths(self) -> dict:
        """Greedy lengths, counting the prompt: at least two tokens after the start, at most nineteen."""
        return {"min_length": len(self.start) + 1, "max_length": len(self.start) + 19}

    def greedy(self, arrays: dict) -> dict:
        """Greedy captions with the margin of every step, and the logits of the first few."""
        options = self.lengths()
        answers = self.generate(num_beams=1, **options)
        width = max(len(ids) for ids in answers)
        rows = [ids + [self.pad] * (width - len(ids)) for ids in answers]
        logits = torch.cat([self.logits(list(range(a, min(a + 55, len(rows)))), rows[a : a + 55]) for a in range(0, len(rows), 55)])
        captions = []
        for index, ids in enumerate(answers):
            steps = logits[index, len(self.start) - 1 : len(ids) - 1].clone()
            if index < WHOLE:
                arrays[f"logits.{index}"] = steps.numpy().copy()
            log_prob = steps.log_softmax(-1)
            steps[: options["min_length"] - len(self.start), self.end] = -math.inf
            top = steps.topk(2).values
            chosen = torch.tensor(ids[len(self.start) :])
            gap = top[:, 0] - steps.gather(1, chosen[:, None])[:, 0]
            assert gap.max() < 1e-4, f"teacher forcing disagrees with generate by {gap.max()}"
            captions.append(
                {
                    "ids": ids,
                    "text": self.text(ids),
                    "log_prob": number(log_prob.gather(1, chosen[:, None]).sum()),
                    "margins": [number(gap) for gap in (top[:, 0] - top[:, 1]).tolist()],
                }
            )
        # In the form that pipeline files use.
        options = {name.replace("_", "-"): value for name, value in options.items()}
        return {"options": options, "captions": captions}

    def text(self, ids: list[int]) -> str:
        """The caption as text, without the prompt; decoded beside it, because a piece may continue its last word."""
        whole, prompt = (self.words.decode(one, skip_special_tokens=True) for one in (ids, self.start))
        return whole.removeprefix(prompt).strip()

    def beams(self, search, options: beam.Options) -> list[beam.Found]:
        """One of the two searches of `beam.py` over all pictures."""
        searches = [search(self.start, options) for _ in range(len(self.pictures))]
        return beam.run(searches, lambda pictures, rows: self.logits(pictures, rows)[:, -1].log_softmax(-1))

    def beam_search(self) -> list[dict]:
        """Both normalisations with BLIP's settings and with others; the newer one is checked against `generate`."""
        runs = []
        for beams, repetition_penalty in [(3, 1.0), (4, 1.2)]:
            options = beam.Options(
                end=self.end, beams=beams, max_length=len(self.start) + 16, repetition_penalty=repetition_penalty
            )
            old = self.beams(beam.blip, options)
            new = self.beams(beam.transformers, options)
            real = self.generate(
                num_beams=beams,
                length_penalty=1.0,
                repetition_penalty=repetition_penalty,
                min_length=options.min_length,
                max_length=options.max_length,
            )
            doubtful = 0
            for ours, ids in zip(new, real, strict=True):
                if ours.ids != ids:
                    doubtful += 1
                    assert ours.margin < 1e-5, f"{ours} is not {ids}"
                    ours.ids = ids
            other = sum(a.ids != b.ids for a, b in zip(old, new, strict=True))
            close = [sum(found.margin < 1e-4 for found in both) for both in (old, new)]
            print(
                f"  {beams} beams: {doubtful} rounding differences to generate, {other} differ by normalisation, "
                f"margins below 1e-4: {close}"
            )
            assert other > 0, "the two normalisations never differ: the test would prove nothing"
            for normalisation, found in [("blip", old), ("transformers", new)]:
                captions = [{"ids": one.ids, "margin": number(one.margin)} for one in found]
                runs.append(
                    {
                        "normalisation": normalisation,
                        "beams": beams,
                        "repetition_penalty": repetition_penalty,
                        "min_length": options.min_length,
                        "max_length": options.max_length,
                        "captions": captions,
                    }
                )
        return runs

    def pairs(self, captions: list[str]) -> list[tuple[int, str]]:
        """Two texts for each picture: titles, captions, and texts that are awkward on purpose."""
        titles = self.pictures.titles
        odd = [
            "",
            "Caf\u00e9 \u201cna\u00efve\u201d \u2014 100% ??? !!!",
            " ".join(titles[:20]),
            "x" * 120 + " dog",
            "\u732b and \u72ac; a/b-c, d'e",
            " ".join(clean_caption(title) for title in titles[20:60]),
        ]
        pairs = []
        for index, title in enumerate(titles):
            pairs.append((index, title))
            other = [titles[(index + 7) % len(titles)], captions[index], odd[index // 3 % len(odd)]][index % 3]
            pairs.append((index, other))
        return pairs

    def match(self, captions: list[str], arrays: dict) -> list[dict]:
        """Match probability with either first token, and similarity, of all pairs, one pair at a time."""
        self.words.enable_truncation(35)
        embeds = self.filter.vision_model(self.pixels).last_hidden_state
        images = torch.nn.functional.normalize(self.filter.vision_proj(embeds[:, 0]), dim=-1)
        arrays["filter.image_cls"] = embeds[:, 0].numpy().copy()
        arrays["filter.image_feat"] = images.numpy().copy()
        result = []
        for picture, text in self.pairs(captions):
            ids = torch.tensor([self.words.encode(clean_caption(text)).ids])
            row = {"picture": picture, "text": text, "tokens": ids.shape[1]}
            for name, token in [("cls", "[CLS]"), ("enc", "[ENC]")]:
                ids[0, 0] = self.words.token_to_id(token)
                score = self.filter(
                    input_ids=ids, pixel_values=self.pixels[[picture]], attention_mask=torch.ones_like(ids)
                ).itm_score
                row[name] = number(score.softmax(-1)[0, 1])
            ids[0, 0] = self.words.token_to_id("[CLS]")
            row["similarity"] = number(
                self.filter(
                    input_ids=ids,
                    pixel_values=self.pixels[[picture]],
                    attention_mask=torch.ones_like(ids),
                    use_itm_head=False,
                ).itm_score[0, 0]
            )
            result.append(row)
        self.words.no_truncation()
        spread = numpy.std([row["enc"] for row in result])
        apart = numpy.mean([abs(row["enc"] - row["cls"]) for row in result])
        print(f"  match: {len(result)} pairs, spread {spread:.3f}, first tokens {apart:.4f} apart, up to {max(r['tokens'] for r in result)} tokens")
        assert spread > 0.05 and apart > 1e-3 and max(row["tokens"] for row in result) == 35
        return result

    def write(self, folder: Path, name: str):
        """Writes everything about these two models."""
        arrays = {
            "pixel_values": self.pixels[:WHOLE].numpy().copy(),
            "image_embeds": self.embeds[:WHOLE].numpy().copy(),
            "image_cls": self.embeds[:, 0].numpy().copy(),
        }
        greedy = self.greedy(arrays)
        expected = {
            "prompt": self.prompt,
            "start": self.start,
            "end": self.end,
            "greedy": greedy,
            "beam": self.beam_search(),
            "pairs": self.match([caption["text"] for caption in greedy["captions"]], arrays),
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_file(arrays, folder / f"{name}.safetensors")
        (folder / f"{name}.safetensors").chmod(0o644)
        (folder / f"{name}.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
        return greedy["captions"]


def number(value) -> float:
    """Seven significant figures are what a float32 has."""
    return float(f"{float(value):.{NUMBERS}g}")


def varied(captions: list[dict], start: int, end: int):
    """Random captions must end at many lengths and differ, or equal captions would prove nothing."""
    # As if the prompt were the start token alone.
    lengths = [len(caption["ids"]) - start + 1 for caption in captions if caption["ids"][-1] == end]
    distinct = len({tuple(caption["ids"]) for caption in captions}) / len(captions)
    print(f"  greedy: {distinct:.0%} distinct, {len(lengths)} of {len(captions)} end, at lengths {sorted(set(lengths))}")
    assert distinct >= 0.8
    assert len(lengths) >= 0.85 * len(captions)
    assert min(lengths) == 3 and max(lengths) >= 19 and len(set(lengths)) >= 14


def save(model, words: Tokenizer, folder: Path, shard: bool):
    """The checkpoint in Hugging Face form with fp16 weights, which hold its values exactly."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.half().save_pretrained(folder, max_shard_size="500KB" if shard else "50GB")
    model.float()
    (folder / "generation_config.json").unlink(missing_ok=True)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)
    words.save(str(folder / "tokenizer.json"), pretty=False)
    side = model.config.vision_config.image_size
    preprocessor = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "BlipImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": side, "width": side},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=1) + "\n")


@torch.no_grad()
def random_shape(shape: shapes.Shape, pictures: Pictures, output: Path):
    """Checkpoints and answers of one random shape."""
    print(shape.name)
    words = shapes.tokenizer(shape, [clean_caption(title) for title in pictures.titles])
    captioner, filter_ = shapes.captioner(shape, words), shapes.matcher(shape, words)
    folder = output / shape.name
    save(captioner, words, folder / "captioner", shape.shard)
    save(filter_, words, folder / "filter", shape.shard)
    oracle = Oracle(captioner, filter_, words, shape.prompt, pictures)
    captions = oracle.write(folder, "expected")
    varied(captions, len(oracle.start), oracle.end)
    if shape is shapes.ORIGINAL:
        original.save(captioner, folder / "captioner.pth", torch.float32)
        original.save(filter_, folder / "filter.pth", torch.float16)


@torch.no_grad()
def trained(captioner: Path, filter_: Path, half: bool, pictures: Pictures, folder: Path, name: str):
    """Answers of trained checkpoints; with `half`, rounded to fp16."""
    print(f"{folder.name} {name}")
    words = Tokenizer.from_file(str(captioner / "tokenizer.json"))
    captioner = BlipForConditionalGeneration.from_pretrained(captioner).eval()
    filter_ = BlipForImageTextRetrieval.from_pretrained(filter_).eval()
    if half:
        # What an fp16 package holds in 16 bits: matrices and kernels; the small rest stays in fp32.
        for tensor in [*captioner.parameters(), *filter_.parameters()]:
            if tensor.ndim in (2, 4):
                tensor.copy_(tensor.half().float())
    Oracle(captioner, filter_, words, "", pictures).write(folder, name)


def main():
    """Writes all of `tests/golden/blip`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, default=REPOSITORY / "pipelines/demo/pictures.parquet")
    parser.add_argument("--mini", type=Path, default=REPOSITORY.parent / "shared/models/mini-blip")
    parser.add_argument("--demo", type=Path, default=REPOSITORY / "out/demo-models")
    parser.add_argument("--output", type=Path, default=HERE / "blip")
    parser.add_argument("--only", nargs="*", help="names of shapes, `mini`, or `demo`")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures = Pictures(arguments.pictures)
    assert len(pictures) >= 200
    arguments.output.mkdir(parents=True, exist_ok=True)
    manifest = json.dumps(pictures.manifest(), indent=0)
    (arguments.output / "pictures.json").write_text(manifest + "\n")
    for shape in [*shapes.SHAPES, shapes.ORIGINAL]:
        if not arguments.only or shape.name in arguments.only:
            random_shape(shape, pictures, arguments.output)
    if not arguments.only or "mini" in arguments.only:
        captioner, filter_ = arguments.mini / "captioner", arguments.mini / "filter"
        trained(captioner, filter_, False, pictures, arguments.output / "mini", "fp32")
    if not arguments.only or "demo" in arguments.only:
        captioner, filter_ = (arguments.demo / task / "huggingface" / task for task in ("captioner", "filter"))
        trained(captioner, filter_, True, pictures, arguments.output / "demo", "fp16")


if __name__ == "__main__":
    main()
