"""Draws JPEG files: sampling, order and names of components, scans, restarts, colours, markers between."""

import numpy

import exif
from jpeg import Component, Jpeg, segment

LUMINANCE = numpy.array([
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
    60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121,
    112, 100, 120, 92, 101, 103, 99,
])

USUAL = [[(1, 1)] * 3, [(2, 1), (1, 1), (1, 1)], [(2, 2), (1, 1), (1, 1)], [(1, 2), (1, 1), (1, 1)]]
JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")


def adobe(transform):
    return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


def wave(random):
    """A smooth plane with an edge or two, of any size."""
    base, phase = random.uniform(60, 190), random.uniform(0, 6.3, 2)
    turns, height = random.uniform(0, 1.6, 4), random.uniform(10, 60, 2)
    edge, step = random.uniform(0.2, 0.8), random.choice([0, random.uniform(-40, 40)])

    def plane(width, height_):
        y, x = numpy.mgrid[0:height_, 0:width]
        x, y = (x + 0.5) / width, (y + 0.5) / height_
        value = base + height[0] * numpy.sin(phase[0] + 6.3 * (turns[0] * x + turns[1] * y))
        value += height[1] * numpy.sin(phase[1] + 6.3 * (turns[2] * x - turns[3] * y))
        return numpy.clip(value + step * (x > edge), 0, 255)

    return plane


def factors(random, count):
    if count == 1:
        return [(int(random.integers(1, 5)), int(random.integers(1, 5)))] if random.random() < 0.3 else [(1, 1)]
    if random.random() < 0.4:
        first = USUAL[random.integers(len(USUAL))]
        return (first + [first[0]])[:count]
    if random.random() < 0.25:
        # Tall, wide or threefold.
        first = [(1, 3), (3, 1), (3, 2), (4, 1), (4, 2), (1, 4), (2, 4), (4, 4), (2, 3), (3, 3)][random.integers(10)]
        return [first] + [(1, 1)] * (count - 1)
    choice = [1, 1, 2, 2, 4] if random.random() < 0.7 else [1, 2, 3, 4]
    return [(int(random.choice(choice)), int(random.choice(choice))) for _ in range(count)]


def names(random, count):
    """Names of components, and what says of their colours."""
    kinds = [list(range(1, count + 1)), list(range(count)), [int(one) for one in random.permutation(200)[:count]]]
    if count == 3:
        kinds += [list(b"RGB"), list(b"RGB"), list(b"rgb"), list(b"YCc"), [1, 34, 35], [3, 2, 1]]
    return kinds[random.integers(len(kinds))] if random.random() < 0.6 else kinds[0]


def headers(random, count):
    found = []
    if random.random() < (0.5 if count < 4 else 0.2):
        found.append(JFIF)
    if random.random() < (0.35 if count < 4 else 0.7):
        found.append(adobe(int(random.choice([0, 1, 2]))))
    if random.random() < 0.03:
        # Too short to count for libjpeg.
        found.append(segment(0xE0, b"JFIF\0\1\1"))
    return [found[at] for at in random.permutation(len(found))]


def between(random):
    """Markers that may stand between any two others."""
    if random.random() < 0.7:
        return b""
    contents = [b"a comment", b"\xff\xd9 ends here?", b"\xff\xda\0\x08\1\1\0\0\x3f\0", b"\xff\xc0\0\x11", b"\xff" * 5]
    marker = int(random.choice([0xFE, 0xE5, 0xEC]))
    fill = b"\xff" * int(random.integers(0, 3))
    return fill + segment(marker, contents[random.integers(len(contents))])


def groups(random, jpeg, wanted=None):
    """The components of each scan, in order; at most ten blocks in one of several."""
    left = list(range(len(jpeg.components)))
    found = []
    while left:
        take = wanted or int(random.integers(1, len(left) + 1))
        while take > 1 and sum(jpeg.components[n].across * jpeg.components[n].down for n in left[:take]) > 10:
            take -= 1
        found.append(left[:take])
        left = left[take:]
    if random.random() < 0.3:
        found = [found[at] for at in random.permutation(len(found))]
    return found


def sequential(random, jpeg):
    whole = random.random() < 0.45
    for which in groups(random, jpeg, len(jpeg.components) if whole else None):
        yield which, (0, 63), (0, 0)


def progressive(random, jpeg):
    """A script in which every bit of every coefficient comes once, at random but in a legal order."""
    low = int(random.integers(0, 3))
    chains = []
    first = [(which, (0, 0), (0, low)) for which in groups(random, jpeg)]
    for bit in range(low, 0, -1):
        first += [(which, (0, 0), (bit, bit - 1)) for which in groups(random, jpeg)]
    chains.append(first)
    for number in range(len(jpeg.components)):
        start = 1
        while start < 64:
            end = 63 if random.random() < 0.4 else int(random.integers(start, 64))
            low = int(random.integers(0, 3))
            chain = [([number], (start, end), (0, low))]
            chain += [([number], (start, end), (bit, bit - 1)) for bit in range(low, 0, -1)]
            chains.append(chain)
            start = end + 1
    # All first scans of DC stand before those of AC.
    count = len(groups_of_first(chains[0]))
    yield from chains[0][:count]
    chains[0] = chains[0][count:]
    while chains := [chain for chain in chains if chain]:
        yield chains[random.integers(len(chains))].pop(0)


def groups_of_first(chain):
    return [scan for scan in chain if scan[2][0] == 0]


def draw(random):
    count = int(random.choice([1, 3, 3, 3, 3, 3, 4]))
    # libjpeg does not interpolate where there are fewer than three samples of colour in a row, and
    # jpeg-decoder does so otherwise in a lone row. Smaller pictures say something of that alone.
    width, height = int(random.integers(9, 81)), int(random.integers(2, 81))
    spread = random.uniform(0.2, 1.2)
    tables = [numpy.clip(numpy.rint(LUMINANCE * spread * scale), 1, 255) for scale in (1, 0.7, 1.3, 1)]
    named, sampled = names(random, count), factors(random, count)
    components = [
        Component(name, *factor, int(random.integers(0, 3)), wave(random)) for name, factor in zip(named, sampled)
    ]
    process = int(random.choice([0xC0, 0xC1, 0xC2]))
    jpeg = Jpeg(width, height, components, tables, process)
    script = list((progressive if process == 0xC2 else sequential)(random, jpeg))
    parts = [b"\xff\xd8", *headers(random, count), between(random)]
    said = ""
    if random.random() < 0.25:
        contents, said = exif.jpeg_segments(random)
        parts += [segment(0xE1, content) for content in contents]
    late = random.random() < 0.1 and process != 0xC2
    used = {one.table for one in components}
    parts += [b"" if late else jpeg.quantisation(used), between(random), jpeg.frame(), between(random)]
    restart, most = 0, 2 if process == 0xC0 else 4
    for which, band, bits in script:
        if random.random() < 0.25:
            restart = int(random.choice([0, 1, 2, 3, 5, 7, 50]))
            parts.append(segment(0xDD, restart.to_bytes(2, "big")))
        numbers = [(int(random.integers(most)), int(random.integers(most))) for _ in which]
        if random.random() < 0.02:
            which = which[::-1]
        defined, data = jpeg.scan(which, band, bits, restart, numbers)
        if late:
            parts.append(jpeg.quantisation({components[number].table for number in which}))
        parts += [between(random), defined, between(random), data]
    parts += [between(random), b"\xff\xd9"]
    if random.random() < 0.1:
        parts.append(b"trailing \xff\xd8\xff")
    layout = "+".join(f"{one.across}x{one.down}" for one in components)
    colours = "/".join(str(one.name) for one in components)
    kind = f"SOF{process - 0xC0} {width}x{height} {layout} names {colours} scans {[which for which, *_ in script]}"
    kind += said
    if restart:
        kind += f" restart {restart}"
    return b"".join(parts), kind
