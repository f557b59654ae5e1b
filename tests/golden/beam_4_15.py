"""Checks `beam.blip` against the scorer of the real transformers 4.15, on random language models.

    pip download --no-deps transformers==4.15.0
    python tests/golden/beam_4_15.py transformers-4.15.0-py3-none-any.whl

That version does not install beside today's Python, but its scorer is one file that needs torch alone.
"""

import sys
import types
import zipfile
from collections import UserDict

import torch

import beam


def real_scorer(wheel: str):
    """The module `transformers.generation_beam_search` of the wheel, without its package."""
    source = zipfile.ZipFile(wheel).read("transformers/generation_beam_search.py").decode()
    source = source.replace("from .file_utils import add_start_docstrings", "")
    module = types.ModuleType("generation_beam_search")
    module.add_start_docstrings = lambda *_: lambda function: function
    module.UserDict = UserDict
    exec(compile(source, "generation_beam_search.py", "exec"), module.__dict__)
    return module.BeamSearchScorer


def search(scorer_class, model, starts: torch.Tensor, options: beam.Options) -> list[list[int]]:
    """The loop around the scorer: all rows of a batch at once, as that version ran it."""
    batch, beams = len(starts), options.beams
    scorer = scorer_class(batch_size=batch, num_beams=beams, device=torch.device("cpu"), length_penalty=options.penalty)
    ids = starts.repeat_interleave(beams, 0)
    scores = torch.zeros(batch, beams)
    scores[:, 1:] = beam.NEVER
    scores = scores.flatten()
    while True:
        # The last row's picture stands in the first token of every sequence.
        log_probs = torch.stack([model(row.tolist()) for row in ids])
        log_probs = beam.edited(log_probs, ids.tolist(), options) + scores[:, None]
        width = log_probs.shape[1]
        top, places = log_probs.view(batch, beams * width).topk(2 * beams, dim=1)
        beams_of, tokens = torch.div(places, width, rounding_mode="floor"), places % width
        out = scorer.process(ids, top, tokens, beams_of, pad_token_id=0, eos_token_id=options.end)
        scores = out["next_beam_scores"]
        ids = torch.cat([ids[out["next_beam_indices"]], out["next_beam_tokens"][:, None]], -1)
        if scorer.is_done or ids.shape[1] >= options.max_length:
            break
    found = scorer.finalize(
        ids, scores, out["next_beam_tokens"], out["next_beam_indices"], options.max_length, 0, options.end
    )["sequences"].tolist()
    return [row[: row.index(options.end) + 1] if options.end in row else row for row in found]


def main():
    """Compares 600 searches."""
    scorer_class = real_scorer(sys.argv[1])
    compared = ended = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        width = 17
        table = torch.randn(10, 23, width, generator=generator) * (1 + seed % 3)
        table[:, :, 3] += [0.0, 1.0, 2.0][seed // 3 % 3]

        def model(sequence, table=table):
            state = sum(position * token for position, token in enumerate(sequence[1:], 3))
            return table[sequence[0] % 10, state % 23].log_softmax(-1)

        options = beam.Options(end=3, beams=2 + seed % 4, max_length=14, penalty=[1.0, 1.0, 0.5][seed % 3])
        options.repetition_penalty = [1.0, 1.2][seed % 2]
        starts = torch.tensor([[picture + 4, 1, 2] for picture in range(10)])
        real = search(scorer_class, model, starts, options)
        answer = lambda _, rows: torch.stack([model(row) for row in rows])
        ours = beam.run([beam.blip(start, options) for start in starts.tolist()], answer)
        for found, ids in zip(ours, real, strict=True):
            compared += 1
            ended += ids[-1] == 3
            assert found.ids == ids or found.margin < 1e-5, (seed, found, ids)
    print(f"{compared} searches are equal, {ended} of them ended")


if __name__ == "__main__":
    main()
