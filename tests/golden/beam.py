"""Beam search in plain Python by the rules of transformers 4.15 (which BLIP used) and of transformers 5.

Both are written from the documented rules and know the margin of every decision: how far the scores of the two best
alternatives lay apart where the search chose one of them. An implementation that computes in another order of
additions may differ only where that margin is tiny.
"""

import math
from dataclasses import dataclass

import torch

# A score that stands for "impossible" in both versions' arithmetic.
NEVER = -1e9


@dataclass
class Options:
    """The settings of a search. Lengths count the prompt and the end token."""

    end: int
    beams: int = 3
    min_length: int = 5
    max_length: int = 20
    penalty: float = 1.0
    repetition_penalty: float = 1.0


@dataclass
class Found:
    """The winning ids, with the end token if there was room, its normalised score, and the least margin."""

    ids: list[int]
    score: float
    margin: float


class Margin:
    """The least gap seen so far between what was chosen and what was not."""

    def __init__(self):
        self.least = math.inf

    def see(self, chosen: float, other: float):
        """Two scores whose order decided something; impossible ones decide nothing."""
        if min(chosen, other) > NEVER / 2:
            self.least = min(self.least, abs(chosen - other))


def edited(log_probs: torch.Tensor, sequences: list[list[int]], options: Options) -> torch.Tensor:
    """Log-probabilities [beams, vocabulary] after repetition penalty and minimum length, in this order."""
    log_probs = log_probs.clone()
    if options.repetition_penalty != 1.0:
        for row, sequence in zip(log_probs, sequences, strict=True):
            for token in set(sequence):
                row[token] *= options.repetition_penalty if row[token] < 0 else 1 / options.repetition_penalty
    if len(sequences[0]) < options.min_length:
        log_probs[:, options.end] = -math.inf
    return log_probs


def candidates(log_probs, scores, sequences, options, margin):
    """The best continuations, as (score, beam, token) from the best down, and the places of those that finish.

    A finishing candidate counts only among the first `beams`; the first `beams` of the others live on.
    """
    total = edited(log_probs, sequences, options) + torch.tensor(scores, dtype=torch.float32)[:, None]
    # At most `beams` of these finish, so that one live candidate more than needed is always there.
    values, places = torch.topk(total.flatten(), 2 * options.beams + 1)
    width = log_probs.shape[1]
    ranked = [(v, p // width, p % width) for v, p in zip(values.tolist(), places.tolist(), strict=True)]
    live = [one for one in ranked if one[2] != options.end]
    margin.see(live[options.beams - 1][0], live[options.beams][0])
    for rank, (score, _, token) in enumerate(ranked):
        if token == options.end:
            margin.see(score, ranked[options.beams if rank < options.beams else options.beams - 1][0])
    finished = [one for one in ranked[: options.beams] if one[2] == options.end]
    return ranked, live[: options.beams], finished


def blip(start: list[int], options: Options):
    """The search of transformers 4.15, as a generator: yields sequences, takes log-probabilities, returns `Found`."""
    sequences = [list(start) for _ in range(options.beams)]
    scores = [0.0] + [NEVER] * (options.beams - 1)
    kept: list[tuple[float, list[int]]] = []
    margin = Margin()

    def keep(total, sequence):
        kept.append((total / len(sequence) ** options.penalty, sequence))
        if len(kept) > options.beams:
            worst = min(range(len(kept)), key=lambda index: kept[index][0])
            dropped = kept.pop(worst)[0]
            margin.see(min(score for score, _ in kept), dropped)

    done = False
    while not done and len(sequences[0]) < options.max_length:
        log_probs = yield sequences
        ranked, live, finished = candidates(log_probs, scores, sequences, options, margin)
        for score, beam, _ in finished:
            keep(score, list(sequences[beam]))
        if len(kept) == options.beams:
            worst = min(score for score, _ in kept)
            possible = ranked[0][0] / len(sequences[0]) ** options.penalty
            done = worst >= possible
            if worst != possible:
                # Equal to the last bit when the best candidate has just become the worst hypothesis: no doubt then.
                margin.see(worst, possible)
        sequences = [[*sequences[beam], token] for _, beam, token in live]
        scores = [score for score, _, _ in live]
    if not done:
        for total, sequence in zip(scores, sequences, strict=True):
            keep(total, sequence)
    return best(kept, margin, options)


def transformers(start: list[int], options: Options):
    """The search of transformers 5, in the same form."""
    sequences = [list(start) for _ in range(options.beams)]
    scores = [0.0] + [NEVER] * (options.beams - 1)
    kept: list[tuple[float, list[int]]] = []
    margin = Margin()
    open_ = True
    while open_:
        log_probs = yield sequences
        ranked, live, finished = candidates(log_probs, scores, sequences, options, margin)
        grown = len(sequences[0]) + 1
        new_tokens = grown - len(start)
        full = grown >= options.max_length
        if full:
            finished = ranked[: options.beams]
            margin.see(ranked[options.beams - 1][0], ranked[options.beams][0])
        for score, beam, token in finished:
            kept.append((score / new_tokens**options.penalty, [*sequences[beam], token]))
        kept.sort(key=lambda one: -one[0])
        if len(kept) > options.beams:
            margin.see(kept[options.beams - 1][0], kept[options.beams][0])
            del kept[options.beams :]
        sequences = [[*sequences[beam], token] for _, beam, token in live]
        scores = [score for score, _, _ in live]
        if not full and len(kept) == options.beams:
            possible = scores[0] / new_tokens**options.penalty
            margin.see(possible, kept[-1][0])
            open_ = possible > kept[-1][0]
        open_ = open_ and not full
    return best(kept, margin, options)


def best(kept, margin, options):
    """The best hypothesis, ended where there is room."""
    ranked = sorted(kept, key=lambda one: -one[0])
    if len(ranked) > 1:
        margin.see(ranked[0][0], ranked[1][0])
    score, ids = ranked[0]
    if ids[-1] != options.end and len(ids) < options.max_length:
        ids = [*ids, options.end]
    return Found(ids, score, margin.least)


def run(searches, log_probs):
    """Runs many searches side by side.

    `log_probs(pictures, sequences)` answers for rows of equal length: `pictures` names each row's picture.
    """
    found = [None] * len(searches)
    waiting = {index: next(search) for index, search in enumerate(searches)}
    while waiting:
        pictures = [index for index, sequences in waiting.items() for _ in sequences]
        rows = [sequence for sequences in waiting.values() for sequence in sequences]
        answers = log_probs(pictures, rows)
        after = {}
        for offset, (index, sequences) in enumerate(waiting.items()):
            beams = len(sequences)
            try:
                after[index] = searches[index].send(answers[offset * beams : (offset + 1) * beams])
            except StopIteration as stop:
                found[index] = stop.value
        waiting = after
    return found
