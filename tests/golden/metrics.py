"""Expected retrieval, zero-shot and filter metrics, from NumPy and scikit-learn.

    python tests/golden/metrics.py        # writes tests/golden/metrics.json

Retrieval is what BLIP's evaluation computes (train_retrieval.py, `evaluation` and `itm_eval`), written again: a
matrix of scores filled with -100, the k candidates of a row get the second score plus the similarity, ranks by
sorting. Of equal scores the lower index comes first; BLIP leaves their order open. Zero-shot classes are
open_clip's: normalise, mean, normalise.
"""

import json
from pathlib import Path

import numpy
from sklearn import metrics

PICTURES, CLASSES, WIDTH = 40, 12, 16
CANDIDATES = 10
AT = (1, 5, 10)


def ranks_of(scores, own):
    """Rank of the best placed own column of each row."""
    found = []
    for row, columns in zip(scores, own):
        order = numpy.argsort(-row, kind="stable")
        found.append(min(int(numpy.where(order == column)[0][0]) for column in columns))
    return found


def recall(ranks):
    return [sum(rank < k for rank in ranks) / len(ranks) for k in AT]


def retrieval(similarity, second, picture_of):
    texts_of = [[t for t, p in enumerate(picture_of) if p == picture] for picture in range(PICTURES)]
    own_picture = [[picture] for picture in picture_of]

    def again(similarity, second):
        scores = numpy.full_like(similarity, -100.0)
        for row, (similarities, logits) in enumerate(zip(similarity, second)):
            nearest = numpy.argsort(-similarities, kind="stable")[:CANDIDATES]
            scores[row, nearest] = logits[nearest] + similarities[nearest]
        return scores

    return {
        "of_pictures": recall(ranks_of(similarity, texts_of)),
        "of_texts": recall(ranks_of(similarity.T, own_picture)),
        "again_of_pictures": recall(ranks_of(again(similarity, second), texts_of)),
        "again_of_texts": recall(ranks_of(again(similarity.T, second.T), own_picture)),
    }


def short(values):
    """The values with few digits, as 32-bit floats hold them."""
    return numpy.round(values, 3).astype("float32")


def written(values):
    return [[round(float(value), 3) for value in row] for row in values]


def normalised(values):
    return values / numpy.linalg.norm(values, axis=-1, keepdims=True)


def zero_shot(draw):
    prompts = short(draw.normal(size=(CLASSES, 5, WIDTH))).astype("float64")
    labels = draw.integers(CLASSES, size=PICTURES)
    pictures = short(prompts[labels].mean(axis=1) + draw.normal(size=(PICTURES, WIDTH))).astype("float64")
    classes = normalised(normalised(prompts).mean(axis=1))
    order = numpy.argsort(-(pictures @ classes.T), axis=1)
    places = [int(numpy.where(row == label)[0][0]) for row, label in zip(order, labels)]
    return {
        "prompts": [written(of_class) for of_class in prompts],
        "pictures": written(pictures),
        "labels": labels.tolist(),
        "classes": classes.tolist(),
        "top": [sum(place < k for place in places) / PICTURES for k in (1, 5)],
    }


def judged(scores, truth, thresholds):
    x, y, at = metrics.roc_curve(truth, scores, drop_intermediate=False)
    decisions = []
    for threshold in thresholds:
        kept = scores > threshold
        score = {"zero_division": numpy.nan}
        decisions.append(
            {
                "threshold": threshold,
                "precision": metrics.precision_score(truth, kept, **score),
                "recall": metrics.recall_score(truth, kept, **score),
                "f1": metrics.f1_score(truth, kept, **score),
            }
        )
    # What is undefined has no value in JSON.
    decisions = [{key: None if value != value else value for key, value in made.items()} for made in decisions]
    return {
        "scores": scores.tolist(),
        "truth": truth.tolist(),
        "roc": list(zip(x.tolist(), y.tolist())),
        "thresholds": at[1:].tolist(),
        "auc": metrics.roc_auc_score(truth, scores),
        "average_precision": metrics.average_precision_score(truth, scores),
        "decisions": decisions,
    }


def main():
    draw = numpy.random.default_rng(0)
    # Several texts for some pictures, in no order.
    picture_of = draw.permutation(numpy.concatenate([numpy.arange(PICTURES), draw.integers(PICTURES, size=60)]))
    features = short(normalised(draw.normal(size=(PICTURES, WIDTH))))
    noise = draw.normal(size=(len(picture_of), WIDTH)) / WIDTH**0.5
    texts = short(normalised(features[picture_of] + 1.7 * noise))
    similarity = features.astype("float64") @ texts.astype("float64").T
    own = numpy.arange(PICTURES)[:, None] == picture_of[None, :]
    second = short(2 * own + draw.normal(size=similarity.shape)).astype("float64")
    # Few distinct values: many scores are equal. Multiples of 1/4, so that sums are exact.
    coarse = numpy.round(similarity * 4) / 4
    coarse_second = numpy.round(second)

    truth = draw.random(300) < 0.4
    scores = numpy.round(numpy.clip(0.25 * truth + 0.6 * draw.random(300) + 0.1, 0, 1), 4)
    golden = {
        "at": AT,
        "candidates": CANDIDATES,
        "picture_of": picture_of.tolist(),
        "pictures": written(features),
        "texts": written(texts),
        "second": written(second),
        "fine": retrieval(similarity, second, picture_of),
        "coarse": retrieval(coarse, coarse_second, picture_of),
        "zero_shot": zero_shot(draw),
        "filter": judged(scores, truth, [0.0, 0.25, 0.5, 0.75, 1.0]),
        # Equal scores on both sides.
        "filter_coarse": judged(numpy.round(scores * 8) / 8, truth, [0.25, 0.5, 0.875]),
    }
    path = Path(__file__).with_name("metrics.json")
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
