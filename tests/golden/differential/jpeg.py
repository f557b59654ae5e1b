"""A JPEG writer for every layout that ITU-T T.81 allows Huffman-coded DCT pictures of 8 bits.

Pillow and cjpeg write the few that are usual. Here sampling factors, order and names of components,
scans, restarts and tables are what the caller says.
"""

import struct

import numpy

ZIGZAG = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14,
    21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60,
    61, 54, 47, 55, 62, 63,
]

_K = numpy.arange(8)
DCT = numpy.where(_K[:, None] == 0, numpy.sqrt(1 / 8), 0.5 * numpy.cos(numpy.pi * _K[:, None] * (2 * _K + 1) / 16))


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


class Codes:
    """A Huffman table: the number of codes of each length, and what they stand for."""

    def __init__(self, counts, symbols):
        self.counts, self.symbols = counts, symbols
        self.code = {}
        code = at = 0
        for length, count in enumerate(counts, 1):
            for _ in range(count):
                self.code[symbols[at]] = format(code, f"0{length}b")
                code, at = code + 1, at + 1
            code <<= 1

    def table(self, kind, number):
        return segment(0xC4, bytes([kind << 4 | number, *self.counts, *self.symbols]))


def codes_for(used, extra=()):
    """Codes for the symbols in `used`, the frequent ones shorter; `extra` gets codes too."""
    order = sorted(set(used) | set(extra), key=lambda symbol: (-used.count(symbol), symbol))
    # Lengths grow by one for each symbol until the rest fits codes of one length.
    counts, left, room = [0] * 16, len(order), 2
    for length in range(1, 17):
        if left < room:
            counts[length - 1] = left
            break
        take = 1 if room > 2 or left > 2 else 0
        if length < 8 and left - take >= (room - take) * 2 ** (8 - length):
            take = 0
        counts[length - 1] = take
        left, room = left - take, (room - take) * 2
    return Codes(counts, order)


class Component:
    """One colour: its name, sampling factors, quantisation table and quantised blocks in zigzag order."""

    def __init__(self, name, across, down, table, plane):
        self.name, self.across, self.down, self.table, self.plane = name, across, down, table, plane
        self.blocks = self.width = self.height = None


class Jpeg:
    def __init__(self, width, height, components, tables, process=0xC0):
        self.width, self.height, self.components = width, height, components
        self.tables, self.process = tables, process
        self.across = max(one.across for one in components)
        self.down = max(one.down for one in components)
        self.mcus = (-(-width // (8 * self.across)), -(-height // (8 * self.down)))
        for one in components:
            self._transform(one)

    def _transform(self, one):
        columns, rows = self.mcus[0] * one.across, self.mcus[1] * one.down
        one.width = -(-self.width * one.across // self.across)
        one.height = -(-self.height * one.down // self.down)
        y = numpy.minimum(numpy.arange(rows * 8), one.height - 1)
        x = numpy.minimum(numpy.arange(columns * 8), one.width - 1)
        padded = one.plane(one.width, one.height)[y][:, x] - 128.0
        blocks = padded.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3)
        spectrum = (DCT @ blocks @ DCT.T).reshape(rows, columns, 64)[:, :, ZIGZAG]
        limit = numpy.where(numpy.arange(64) == 0, 1016, 1000)
        one.blocks = numpy.clip(numpy.rint(spectrum / self.tables[one.table]), -limit, limit).astype(int).tolist()

    def quantisation(self, numbers):
        return b"".join(
            segment(0xDB, bytes([number, *map(int, self.tables[number])])) for number in sorted(numbers)
        )

    def frame(self):
        content = struct.pack(">BHHB", 8, self.height, self.width, len(self.components))
        for one in self.components:
            content += bytes([one.name, one.across << 4 | one.down, one.table])
        return segment(self.process, content)

    def order(self, which):
        """MCUs of a scan of the components `which`: lists of (position in the scan, block)."""
        chosen = [self.components[number] for number in which]
        if len(chosen) == 1:
            one = chosen[0]
            for row in range(-(-one.height // 8)):
                for column in range(-(-one.width // 8)):
                    yield [(0, one.blocks[row][column])]
            return
        for row in range(self.mcus[1]):
            for column in range(self.mcus[0]):
                yield [
                    (at, one.blocks[row * one.down + y][column * one.across + x])
                    for at, one in enumerate(chosen)
                    for y in range(one.down)
                    for x in range(one.across)
                ]

    def scan(self, which, band=(0, 63), bits=(0, 0), restart=0, tables=None):
        """A scan with its own Huffman tables before it. `tables` are their numbers for each component."""
        progressive = self.process == 0xC2
        tables = tables or [(0, 0)] * len(which)
        coder = Coder(len(which), band, bits, progressive)
        for number, mcu in enumerate(self.order(which)):
            if restart and number and number % restart == 0:
                coder.restart()
            for at, block in mcu:
                coder.block(at, block)
        coder.finish()
        return coder.written([self.components[number].name for number in which], tables)


def category(value):
    return abs(value).bit_length()


def magnitude(value, size):
    return format(value if value > 0 else value + (1 << size) - 1, f"0{size}b") if size else ""


class Coder:
    """Symbols and bits of one scan; codes are given when all symbols are known."""

    def __init__(self, count, band, bits, progressive):
        self.band, self.bits, self.progressive = band, bits, progressive
        self.parts, self.part = [], []
        self.before = [0] * count
        self.run, self.pending = 0, ""

    def restart(self):
        self.finish()
        self.before = [0] * len(self.before)

    def finish(self):
        self.end_of_bands()
        self.parts.append(self.part)
        self.part = []

    def block(self, at, block):
        (start, end), (high, low) = self.band, self.bits
        if start == 0:
            if high:
                self.part.append(format(block[0] >> low & 1, "b"))
            else:
                value = block[0] >> low
                size = category(value - self.before[at])
                self.part += [(0, at, size), magnitude(value - self.before[at], size)]
                self.before[at] = value
        if not self.progressive:
            self.sequential(at, block)
        elif start and high:
            self.refined(block)
        elif start:
            self.first(block)

    def sequential(self, at, block):
        zeros = 0
        for value in block[1:]:
            if value == 0:
                zeros += 1
                continue
            while zeros > 15:
                self.part.append((1, at, 0xF0))
                zeros -= 16
            size = category(value)
            self.part += [(1, at, zeros << 4 | size), magnitude(value, size)]
            zeros = 0
        if zeros:
            self.part.append((1, at, 0))

    def first(self, block):
        zeros, low = 0, self.bits[1]
        for value in block[self.band[0] : self.band[1] + 1]:
            value = (abs(value) >> low) * (1 if value > 0 else -1)
            if value == 0:
                zeros += 1
                continue
            self.end_of_bands()
            while zeros > 15:
                self.part.append((1, 0, 0xF0))
                zeros -= 16
            size = category(value)
            self.part += [(1, 0, zeros << 4 | size), magnitude(value, size)]
            zeros = 0
        if zeros:
            self.lengthen("")

    def refined(self, block):
        low = self.bits[1]
        values = block[self.band[0] : self.band[1] + 1]
        sizes = [abs(value) >> low for value in values]
        last = max((at for at, size in enumerate(sizes) if size == 1), default=-1)
        zeros, corrections = 0, ""
        for at, (value, size) in enumerate(zip(values, sizes)):
            if size == 0:
                zeros += 1
                continue
            while zeros > 15 and at <= last:
                self.end_of_bands()
                self.part += [(1, 0, 0xF0), corrections]
                zeros, corrections = zeros - 16, ""
            if size > 1:
                corrections += format(size & 1, "b")
                continue
            self.end_of_bands()
            self.part += [(1, 0, zeros << 4 | 1), "1" if value > 0 else "0", corrections]
            zeros, corrections = 0, ""
        if zeros or corrections:
            self.lengthen(corrections)

    def lengthen(self, corrections):
        self.run += 1
        self.pending += corrections
        if self.run == 0x7FFF or len(self.pending) > 900:
            self.end_of_bands()

    def end_of_bands(self):
        if self.run:
            size = self.run.bit_length() - 1
            self.part += [(1, 0, size << 4), format(self.run, "b")[1:], self.pending]
        self.run, self.pending = 0, ""

    def written(self, names, tables):
        used = {}
        for part in self.parts:
            for item in part:
                if isinstance(item, tuple):
                    kind, at, symbol = item
                    used.setdefault((kind, tables[at][kind]), []).append(symbol)
        codes = {key: codes_for(symbols) for key, symbols in used.items()}
        data = b""
        for number, part in enumerate(self.parts):
            text = "".join(
                item if isinstance(item, str) else codes[item[0], tables[item[1]][item[0]]].code[item[2]]
                for item in part
            )
            text += "1" * (-len(text) % 8)
            if number:
                data += bytes([0xFF, 0xD0 + (number - 1) % 8])
            data += int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:].replace(b"\xff", b"\xff\0")
        header = bytes([len(names)])
        for name, (direct, alternating) in zip(names, tables):
            header += bytes([name, direct << 4 | alternating])
        header += bytes([*self.band, self.bits[0] << 4 | self.bits[1]])
        defined = b"".join(code.table(*key) for key, code in sorted(codes.items()))
        return defined, segment(0xDA, header) + data
