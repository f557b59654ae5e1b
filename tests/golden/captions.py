"""Expected tokens of captions and expected caption metrics, from pycocoevalcap 1.2 and its Java tokenizer.

    python tests/golden/captions.py COCO ALT_TEXTS     # writes tests/golden/captions.json

COCO is `captions_val2017.json`, ALT_TEXTS a Parquet file with a column TEXT. Java must be there. Of COCO's
captions (by the COCO Consortium, https://cocodataset.org, CC BY 4.0) 200 pictures' are stored; of all texts of
both files only a digest of the tokens is. The texts under `written` are our own.

A picture's first caption is held against its others. Two kinds of tokens: `ptb`, of the Java program, and
`plain`, `[a-z0-9']+` of the lower case.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

import numpy
import pyarrow.parquet
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

# Tokens that are hard to find, in the order in which the rules are written.
WRITTEN = """
a <b>bold</b> word, <br /> a <a href='x>y' class="z">link</a>, 3 < 4 > 2, <foo
fish &amp; chips, R&amp;D, &lt;i&gt;, &quot;x&quot;, &#8217;, caf&eacute;, don&apos;t, a&nbsp;b, 5&mdash;6
I cannot, I'm gonna, gotta, lemme, gimme, wanna, dunno; 'tis, 'Twas, 'tisn't
don't, Can't, WON'T, isn’t, don‘t, annn't, a-bn't, don'tx, n't
it's, he'd, we'll, they've, you're, I'M, men's' room, foo'sbar, O'Neill's, ’Sunday
'90s, '08 Honda, 1990's, (’63), '63. rock 'n' roll, 'em, 'til, 'till, 'cause, 'bout
O'Brien, d'Artagnan, l'avion, L'été, j'ai, y'all, D', o'clock, d'f, n'importe, A'bc, I'bc
ho'ohu, Xi'an, Qur'an, ma'am, e'er, c'mon, li'l, Cap'n, Dunkin' Donuts, somethin', ol' man, goin'
black-and-white, jack-o'-lantern, foo_bar, foo__bar, _foo, -foo, foo-, é-è, é/è, 日本-東京
ground.A man, a1.b2, foo.123, foo!bar, foo?bar?baz, foo..bar, x.y.z, 1.Hoc, 1foo.bar
1,000,000.50, .22 Long, -5 +5, 10:30pm, 5.5-6.5, 3.75-inch, 5x7, 5.5x7, 1..2, 1st 2nds, 88,2khz
and/or, a/b/c/d, w/o, foo-bar/baz, 2019/10/12, 1/2, 22 3/4 st, 1 1/2-inch, 55/100000, ½ ⅓
AT&T, R&D, r&d, AA&BB&C, A+B, C++, C#, F#, G#
555-1234, (555) 123-4567, +1 555 123 4567, 555.123.4567, 518 519 530 531, 1 2 3
Mr. Smith, St. Louis, St.Louis, Ltd.E, Inc., U.S., u.s.a., Ph.D., e.g., T.V., No. 5, no. five, Fig.5, pp.5-6
12th Ave S. The end, 12th Ave S. the end, foo., bar, foo.bar., baz, 1.5., x
picture.jpg, img_001.jpg, 001.jpg, 001.jpgs, a-b.jpg, http://foo.com/bar?x=1&y=2#z, www.foo.com, foo.com/bar.
1foo.com, foo.co.uk, a.b@c.de, foo@bar, @foo_bar, @1foo, #foo_bar, #1foo, ## @@
:) :-) ;D :P =) :o) :)x :)5 ^_^ (-_-) >_< 8) <3
gonna'star, j'sz, o`o, <qn@>, <a@b.c>, \\**, +44 20 7946 0958, (020) 7946-0958, 5/6-99, &NDASH; &QUOT;
$5, US$5, us$5, €5, £5, 5¢, 5$, ¥5, 50%, %50
(a) [b] {c} ... .... . . . -- ----- !! ?! * ** # _ __ << >> ~ ^ = | \\ \\* /
“a” ‘b’ «c» ‹d› „e“ “‘f’” `g' ``h'' "i" ""j"" '''
word™, ®, ©, 5°C, x², №, •, ★, → ☺ 😀 ‐ 【】 naïve, हिन्दी, ภาษาไทย, العربية, Привет-мир
He lives on Avenue B.
The next text begins with a word that takes the dot of a letter before it.
""".strip().split("\n")

# Specification, models.md 10.
VECTORS = [
    ("a dog is running on the beach", ["a dog runs on the beach", "a brown dog is running along the beach", "the dog plays near the water"]),
    ("two people riding bikes on a street", ["two people ride bikes down a street", "a man and a woman riding bicycles on the road"]),
    ("a plate of food on a table", ["a plate of food on a wooden table", "some food sits on a plate", "a white plate with food on a table"]),
    ("a bus", ["a red bus parked next to a building", "a bus on the street"]),
]


def ptb(texts):
    """Tokens of texts, which the Java program reads in their order."""
    # What would end a line for it and make two texts of one.
    lines = [re.sub("[\n\r\x0b\x0c\x85\u2028\u2029]", " ", text) for text in texts]
    tokens = PTBTokenizer().tokenize({index: [{"caption": line}] for index, line in enumerate(lines)})
    return [tokens[index][0] for index in range(len(texts))]


def plain(texts):
    return [" ".join(re.findall("[a-z0-9']+", text.lower())) for text in texts]


def digest(lines):
    return hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


def metrics(pairs):
    """Scores of (caption, references) as token strings."""
    captions = {index: [caption] for index, (caption, _) in enumerate(pairs)}
    references = {index: texts for index, (_, texts) in enumerate(pairs)}
    bleu, _ = Bleu(4).compute_score(references, captions, verbose=0)
    rouge, each_rouge = Rouge().compute_score(references, captions)
    cider, each_cider = Cider().compute_score(references, captions)
    return {
        "bleu": [float(value) for value in bleu],
        "rouge_l": float(rouge),
        "rouge_l_each": numpy.asarray(each_rouge).tolist(),
        "cider_d": float(cider),
        "cider_d_each": numpy.asarray(each_cider).tolist(),
    }


def means(scores):
    return {key: value for key, value in scores.items() if not key.endswith("_each")}


def first_against_others(pictures, tokenize):
    tokens = iter(tokenize([text for texts in pictures for text in texts]))
    pictures = [[next(tokens) for _ in texts] for texts in pictures]
    return [(texts[0], texts[1:]) for texts in pictures]


def hard(texts, tokens):
    """Whether tokens are other than words without punctuation."""
    return any(re.findall("[a-z0-9]+", text.lower()) != line.split() for text, line in zip(texts, tokens))


def main():
    coco = json.loads(Path(sys.argv[1]).read_text())
    captions = [annotation["caption"] for annotation in coco["annotations"]]
    alt_texts = pyarrow.parquet.read_table(sys.argv[2])["TEXT"].to_pylist()
    of_picture = {}
    for annotation in coco["annotations"]:
        of_picture.setdefault(annotation["image_id"], []).append(annotation["caption"])
    ids = sorted(of_picture)
    thousand = [of_picture[number] for number in ids[:1000]]
    tokens = iter(ptb([text for number in ids for text in of_picture[number]]))
    of_tokens = {number: [next(tokens) for _ in of_picture[number]] for number in ids}
    harder = [number for number in ids[100:] if hard(of_picture[number], of_tokens[number])]
    some = sorted(ids[:100] + harder[:: len(harder) // 100][:100])
    extract = [of_picture[number] for number in some]
    golden = {
        "captions": {
            "licence": "COCO Consortium, captions_val2017, CC BY 4.0",
            "ids": some,
            "texts": extract,
            "tokens": ptb([text for texts in extract for text in texts]),
            "ptb": metrics(first_against_others(extract, ptb)),
            "plain": metrics(first_against_others(extract, plain)),
        },
        "written": {"texts": WRITTEN, "tokens": ptb(WRITTEN)},
        "vectors": {"texts": VECTORS, "scores": metrics(VECTORS)},
        "whole": {
            "coco": {"count": len(captions), "tokens": digest(ptb(captions))},
            "alt_texts": {"count": len(alt_texts), "tokens": digest(ptb(alt_texts))},
        },
        "thousand": {
            "ptb": means(metrics(first_against_others(thousand, ptb))),
            "plain": means(metrics(first_against_others(thousand, plain))),
        },
    }
    path = Path(__file__).with_name("captions.json")
    path.write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
