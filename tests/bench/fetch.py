"""capfilt against img2dataset: pictures from URLs into Parquet, over loopback, on the same cores.

    apt-get install nginx-light libnginx-mod-http-echo wrk
    python3 -m venv VENV && VENV/bin/pip install -r tests/bench/requirements.txt
    cargo build --release
    VENV/bin/python tests/bench/fetch.py --capfilt target/release/capfilt --json race.json

Three regimes, each with what bounds it beside it; `--regime a`, `--quick` and `--only` run parts of it:

* `a`: photographs, the shorter side to 256 pixels, encoded again as JPEG 95. Bound by the processor.
* `b`: photographs, checked and kept as fetched. img2dataset checks by decoding (`resize_mode=no`, `skip_reencode`);
  what it does by default there (`encoded`: everything again) and without a look (`unchecked`) is measured once.
* `c`: small pictures, checked and kept as fetched, from a server that answers after 300 ms; then with 1 % and 5 % of URLs
  that do not answer before both have given up. These take more rows: at the end capfilt waits for the last of them twice.

img2dataset writes Parquet without hashes and EXIF, which capfilt does not write either, with one process per core and
with the thread counts that `--sweep` found to be its best. capfilt runs with `its` policy (X-Robots-Tag alone) and
with `ours` (robots.txt and the TDM reservation too, its default), with limits per host that one busy host needs. Both
get the same shards, the same timeout and `retries` 0; capfilt still asks again, once, at the end of each piece, for
rows that failed in passing, which img2dataset does not.

Arms alternate, `--rounds` times; the table has medians, and the widest deviation from them. `whole` is rows over the
seconds of the whole process. `steady` leaves starting up out: for img2dataset it is what its own statistics say, from
the start of its first shard to the end of its last; for capfilt the slope between two numbers of rows. Memory is the
highest sum over a process and its children: resident, and proportional (shared pages count once).

Nothing counts that was not checked: every success must have a picture that decodes, in `a` with the right sides. What
capfilt stores in `b` and `c` must have the bytes of the file that its URL names; img2dataset encodes the few again
whose first bytes it does not know as JPEG.
"""

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import cv2
import numpy
import pyarrow
import pyarrow.parquet

SIDE, QUALITY, TIMEOUT, LATENCY = 256, 95, 10, 0.3
# nginx holds a connection until its answer is due, also when the client has gone: longer, and it runs out of them.
STALL = TIMEOUT + 2
# Names that a number in a URL can lead to: its last three digits.
NAMES = 1000
# Rows of a piece of capfilt, and of a shard of img2dataset, both by default.
PIECE = 10_000
ROOT = Path(__file__).absolute().parents[2]
TEXT = "a photograph that a textbook shows"

NGINX = """
load_module {modules}/ngx_http_echo_module.so;
daemon off;
{user}
worker_processes {workers};
worker_rlimit_nofile {files};
error_log {work}/error.log error;
pid {work}/pid;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout {keepalive};
    keepalive_requests 1000000;
    open_file_cache max=4000 inactive=1h;
    types {{ image/jpeg jpg; }}
    client_body_temp_path {work}; proxy_temp_path {work}; fastcgi_temp_path {work};
    scgi_temp_path {work}; uwsgi_temp_path {work};
    server {{
        {listen}
        # Nothing at /robots.txt and /.well-known/tdmrep.json: everything is allowed.
        location / {{ return 404; }}
        location ~ "^/(photo|small)/[0-9]*([0-9]{{3}})\\.jpg$" {{ alias {files_at}/$1/$2.jpg; }}
        location ~ "^/late/([0-9]+)\\.jpg$" {{ echo_sleep {latency}; echo_exec /small/$1.jpg; }}
        location /stall/ {{ echo_sleep {stall}; echo late; }}
    }}
}}
"""

WRK = """
local number = tonumber("%d")
request = function()
    number = number + 1
    return wrk.format("GET", string.format("/%s/%%07d.jpg", number))
end
"""


class Server:
    """nginx as a process of ours, with everything it needs in one folder."""

    def __init__(self, files_at: Path, work: Path, options):
        self.hosts = [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(options.hosts)]
        self.port, self.options, self.work = options.port, options, work
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        work.mkdir(exist_ok=True)
        config = work / "nginx.conf"
        listen = "\n        ".join(f"listen {host}:{self.port} backlog=4096;" for host in self.hosts)
        config.write_text(
            NGINX.format(
                modules=options.nginx_modules,
                user="user root root;" if os.geteuid() == 0 else "",
                workers=options.nginx_workers,
                files=limit,
                connections=min(limit - 100, 60_000),
                work=work,
                files_at=files_at,
                listen=listen,
                latency=LATENCY,
                stall=STALL,
                keepalive=0 if options.no_keepalive else 75,
            )
        )
        self.command = ["nginx", "-c", config, "-e", work / "error.log"]

    def __enter__(self):
        with socket.socket() as probe:
            if probe.connect_ex((self.hosts[0], self.port)) == 0:
                sys.exit(f"port {self.port} is taken")
        self.process = subprocess.Popen(self.command, start_new_session=True)
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"http://{self.hosts[0]}:{self.port}/photo/0.jpg", timeout=1) as answer:
                    answer.read()
                    return self
            except urllib.error.HTTPError:
                return self
            except OSError:
                time.sleep(0.05)
        sys.exit(f"nginx does not start; see {self.work}/error.log")

    def __exit__(self, *_):
        # At once, not when stalled connections have got their answer.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while list(session(self.process.pid)):
            time.sleep(0.05)

    def seconds(self) -> float:
        """Processor seconds until now."""
        return sum(one["cpu"] for one in session(self.process.pid))

    def url(self, kind: str, number: int) -> str:
        """The address of a picture."""
        return f"http://{self.hosts[number % len(self.hosts)]}:{self.port}/{kind}/{number:07}.jpg"

    def wrk(self, kind: str, connections: int, seconds: int) -> float:
        """Answers per second that a bare client gets."""
        script = self.work / "wrk.lua"
        script.write_text(WRK % (0, kind))
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}",
            "-s",
            script,
            f"http://{self.hosts[0]}:{self.port}/",
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "Non-2xx" not in said and "Socket errors" not in said, said
        return next(float(line.split()[1]) for line in said.splitlines() if line.startswith("Requests/sec"))


def session(leader: int):
    """The processes of a session: processor seconds and memory of each."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            values = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(values[3]) == leader:
            yield {"at": entry, "cpu": (int(values[11]) + int(values[12])) / ticks, "rss": int(values[21]) * page}


def proportional(at: Path) -> int:
    """Resident bytes of a process; pages that it shares count in parts."""
    try:
        for line in (at / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def busy() -> float:
    """Processor seconds that the whole machine has spent on something."""
    values = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(values[:8]) - values[3] - values[4]) / os.sysconf("SC_CLK_TCK")


def watch(command, log: Path, server: Server, cap: float = 900):
    """Runs a command to its end: seconds, processor seconds of it, the server and all others, peak memory."""
    peak = {"rss": 0, "pss": 0}
    ended = threading.Event()

    def look(leader):
        turn = 0
        while not ended.wait(0.2):
            members = list(session(leader))
            peak["rss"] = max(peak["rss"], sum(one["rss"] for one in members))
            if turn % 5 == 0:
                peak["pss"] = max(peak["pss"], sum(proportional(one["at"]) for one in members))
            turn += 1

    spent, served, begun = busy(), server.seconds(), time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    looker = threading.Thread(target=look, args=(process.pid,))
    looker.start()
    timer = threading.Timer(cap, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        timer.cancel()
        ended.set()
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    looker.join()
    if process.returncode != 0:
        sys.exit(f"{command} ended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
    cpu, served = usage.ru_utime + usage.ru_stime, server.seconds() - served
    others = (busy() - spent - cpu - served) / seconds / os.cpu_count()
    return {"seconds": seconds, "cpu": cpu, "server": served, "others": others, **peak}


class Pictures:
    """The files behind the URLs, and what may be stored of each."""

    def __init__(self, source: Path, folder: Path):
        rows = pyarrow.parquet.read_table(source, columns=["image"])["image"].to_pylist()
        self.photos = [row["bytes"] for row in rows if row["bytes"].startswith(b"\xff\xd8")]
        self.small, self.sides = [], []
        for number, data in enumerate(self.photos):
            pixels = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_COLOR)
            height, width = pixels.shape[:2]
            self.sides.append((width, height))
            scale = (64 + number % 33) / min(width, height)
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            self.small.append(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
        for kind, pictures in (("photo", self.photos), ("small", self.small)):
            (folder / kind).mkdir(parents=True)
            for name in range(NAMES):
                (folder / kind / f"{name:03}.jpg").write_bytes(pictures[name % len(pictures)])
        self.digests = {
            kind: [hashlib.sha256(data).digest() for data in pictures]
            for kind, pictures in (("photo", self.photos), ("small", self.small))
        }
        self.seen = {}

    def sides_of(self, data: bytes):
        """Width and height of a picture, by decoding it; equal bytes are decoded once."""
        digest = hashlib.sha256(data).digest()
        if digest not in self.seen:
            pixels = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_UNCHANGED)
            assert pixels is not None, "a stored picture does not decode"
            self.seen[digest] = (pixels.shape[1], pixels.shape[0])
        return self.seen[digest]

    def check(self, regime: str, url: str, data: bytes) -> bool:
        """Checks a stored picture; whether it has the bytes that were fetched."""
        index = int(url[-7:-4]) % len(self.photos)
        kind = "small" if regime == "c" else "photo"
        kept = hashlib.sha256(data).digest() == self.digests[kind][index]
        width, height = self.sides_of(data)
        if regime == "a":
            before = self.sides[index]
            assert min(width, height) == min(SIDE, *before), f"{url}: {before} became {(width, height)}"
            # The right picture, by its shape.
            long = round(max(before) * min(width, height) / min(before))
            assert abs(max(width, height) - long) <= 1, f"{url}: {before} became {(width, height)}"
        return kept


class Race:
    """One regime with its server, its rows and its arms."""

    def __init__(self, regime: str, stalls: float, pictures: Pictures, server: Server, work: Path, options):
        self.regime, self.stalls, self.pictures, self.server = regime, stalls, pictures, server
        self.work, self.options = work, options

    @property
    def title(self):
        """Regime and share of stalling URLs."""
        return f"{self.regime}, {self.stalls:.0%} stall" if self.regime == "c" else self.regime

    def shard(self, rows: int, first: int = 0) -> Path:
        """A shard of so many URLs; stalling ones are spread evenly but not periodically."""
        path = self.work / "shards" / f"{self.regime}-{self.stalls}-{rows}" / "shard.parquet"
        if not path.exists():
            path.parent.mkdir(parents=True)
            urls = []
            kind = "late" if self.regime == "c" else "photo"
            for number in range(first, first + rows):
                draw = int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:4]) / 2**32
                urls.append(self.server.url("stall" if draw < self.stalls else kind, number))
            pyarrow.parquet.write_table(pyarrow.table({"url": urls, "caption": [TEXT] * rows}), path)
        return path

    def expected(self, shard: Path) -> int:
        """URLs that bring a picture."""
        urls = pyarrow.parquet.read_table(shard, columns=["url"])["url"].to_pylist()
        return sum("/stall/" not in url for url in urls)

    def stored(self, files, column):
        """Checks what an arm stored: successes, and how many have the bytes that were fetched."""
        successes, kept = 0, 0
        for file in files:
            table = pyarrow.parquet.ParquetFile(file)
            for batch in table.iter_batches(256, columns=["url", column]):
                for row in batch.to_pylist():
                    url, image = row["url"], row[column]
                    data = image["bytes"] if isinstance(image, dict) else image
                    if data is None:
                        continue
                    successes += 1
                    kept += self.pictures.check(self.regime, url, data)
        return {"successes": successes, "kept": kept}

    def img2dataset(self, rows: int, processes: int, threads: int, mode: str = "checked"):
        """One run of img2dataset."""
        shard, out = self.shard(rows), self.work / "img2dataset"
        shutil.rmtree(out, ignore_errors=True)
        settings = {
            "url_list": shard,
            "input_format": "parquet",
            "url_col": "url",
            "caption_col": "caption",
            "output_folder": out,
            "output_format": "parquet",
            "processes_count": processes,
            "thread_count": threads,
            "number_sample_per_shard": min(PIECE, math.ceil(rows / processes)),
            "timeout": TIMEOUT,
            "retries": 0,
            "distributor": "multiprocessing",
            "enable_wandb": False,
            "compute_hash": None,
            "extract_exif": False,
            "encode_quality": QUALITY,
            "encode_format": "jpg",
        }
        if self.regime == "a":
            settings |= {"image_size": SIDE, "resize_mode": "keep_ratio", "resize_only_if_bigger": True}
        else:
            settings |= {"resize_mode": "no"} | MODES[mode]
        program = Path(sys.executable).parent / "img2dataset"
        command = [sys.executable, program, *(f"--{name}={value}" for name, value in settings.items())]
        measured = watch(command, self.work / "img2dataset.log", self.server)
        shards = [json.loads(file.read_text()) for file in out.glob("*_stats.json")]
        assert sum(one["count"] for one in shards) == rows, "img2dataset lost rows"
        busy = max(one["end_time"] for one in shards) - min(one["start_time"] for one in shards)
        measured["own"] = rows / busy
        errors = {}
        for one in shards:
            for what, count in one["status_dict"].items():
                if what != "success":
                    errors[what] = errors.get(what, 0) + count
        measured |= self.stored(sorted(out.glob("*.parquet")), "jpg")
        measured |= {"rows": rows, "expected": self.expected(shard), "errors": errors}
        shutil.rmtree(out)
        return measured

    def capfilt(self, rows: int, policy: str):
        """One run of capfilt."""
        shard, place = self.shard(rows), self.work / "capfilt"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        slots = self.options.concurrency or CONCURRENCY[self.regime]
        fetch = f"concurrency = {slots}, per-host = {slots}, retries = 0"
        for limit in ("timeout", "connect-timeout", "first-byte-timeout", "idle-timeout"):
            fetch += f', {limit} = "{TIMEOUT}s"'
        if self.options.fetch:
            fetch += f", {self.options.fetch}"
        if policy == "its":
            fetch += ", robots-txt = false, tdm-reservation = false"
        resize = f"resize = {{ shorter-side = {SIDE}, quality = {QUALITY} }}"
        decode = resize if self.regime == "a" else f'check = "{self.options.check}"'
        pipeline = place / "race.toml"
        pipeline.write_text(f"""name = "race"
[source]
shards = "{shard}"
columns = {{ url = "url", text = "caption" }}
[[stage]]
fetch = {{ {fetch} }}
[[stage]]
decode = {{ {decode} }}
[store]
dataset = "later"
[sink]
output = "out"
""")
        measured = watch([self.options.capfilt, "run", pipeline], self.work / "capfilt.log", self.server)
        out = place / "out"
        scored = pyarrow.parquet.ParquetDataset(out / "scored").read(columns=["reject"])["reject"]
        assert len(scored) == rows, "capfilt lost rows"
        counts = scored.value_counts().to_pylist()
        measured["errors"] = {one["values"]: one["counts"] for one in counts if one["values"]}
        measured |= self.stored(sorted((out / "scored").rglob("*.parquet")), "image")
        assert self.regime == "a" or measured["kept"] == measured["successes"], "capfilt changed bytes"
        measured |= {"rows": rows, "expected": self.expected(shard)}
        shutil.rmtree(place)
        return measured


# What bounds a regime, on `--processes` processes, without network and Parquet.


def decode_resize_encode(data):
    """What img2dataset does in regime `a`."""
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    return resize_encode(pixels)


def half_resize_encode(data):
    """The same, decoded at half scale where that is still large enough."""
    pixels = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_2)
    if min(pixels.shape[:2]) < SIDE:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    return resize_encode(pixels)


def resize_encode(pixels):
    """The shorter side to `SIDE`, as JPEG."""
    height, width = pixels.shape[:2]
    if min(height, width) > SIDE:
        scale = SIDE / min(height, width)
        size = (round(width * scale), round(height * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]


def decode(data):
    """What img2dataset does to check a picture."""
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def decode_eighth(data):
    """Little more than reading every coefficient."""
    return cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_8)


def bare_worker(work, pictures, seconds, done):
    """Does the work until the time is up."""
    cv2.setNumThreads(1)
    arrays = [numpy.frombuffer(data, numpy.uint8) for data in pictures]
    for data in arrays[:20]:
        work(data)
    count, begun = 0, time.perf_counter()
    # Whole rounds, so that every picture counts the same.
    while time.perf_counter() - begun < seconds:
        for data in arrays:
            work(data)
        count += len(arrays)
    done.put(count / (time.perf_counter() - begun))


def bare(work, pictures, processes, seconds):
    """Pictures per second of a function over all processes."""
    done = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=bare_worker, args=(work, pictures, seconds, done)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    rates = [done.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def limits(regime: str, pictures: Pictures, server: Server, options):
    """What bounds a regime, by name."""
    seconds = 3 if options.quick else 8

    def run(work):
        return bare(work, pictures.photos, options.processes, seconds)

    if regime == "a":
        return {
            "OpenCV decode + resize + encode": run(decode_resize_encode),
            "OpenCV, decoded at half scale": run(half_resize_encode),
        }
    if regime == "b":
        return {
            "wrk, 64 connections": server.wrk("photo", 64, seconds),
            "OpenCV decode": run(decode),
            "OpenCV decode at 1/8": run(decode_eighth),
        }
    slots = options.concurrency or CONCURRENCY[regime]
    return {
        f"{slots} connections / {LATENCY} s": slots / LATENCY,
        f"wrk, {slots} connections": server.wrk("late", slots, seconds),
    }


# Settings of img2dataset for pictures that keep their size.
MODES = {"checked": {"skip_reencode": True}, "encoded": {}, "unchecked": {"disable_all_reencoding": True}}
# Rows of the small and of the large run of capfilt; img2dataset runs the large one.
SIZES = {"a": (1_000, 5_000), "b": (1_000, 4_000), "c": (20_000, 60_000)}
STALLED_SIZES = (60_000, 300_000)
# Requests of capfilt in flight.
CONCURRENCY = {"a": 64, "b": 64, "c": 8192}
# The best of `--sweep` on two cores.
THREADS = {"a": 16, "b": 16, "c": 512}
SWEEP = {"a": (4, 8, 16, 64, 256), "b": (4, 8, 16, 64, 256), "c": (128, 256, 512, 1024)}


def median(values):
    """The median, and the widest deviation from it."""
    middle = statistics.median(values)
    return middle, max(abs(value - middle) for value in values) / middle


def calm(options, run, *arguments):
    """Runs when the rest of the machine is idle, or patience ends; again where others came in meanwhile."""
    best, until = None, time.monotonic() + options.patience
    while True:
        while time.monotonic() < until:
            spent = busy()
            time.sleep(4)
            if busy() - spent < 0.3:
                break
        one = run(*arguments)
        if best is None or one["others"] < best["others"]:
            best = one
        if best["others"] <= options.calm or time.monotonic() > until:
            return best


def run_regime(regime, stalls, pictures, server, work, options):
    """All arms of a regime, alternating."""
    race = Race(regime, stalls, pictures, server, work, options)
    few, many = (rows // (4 if options.quick else 1) for rows in (STALLED_SIZES if stalls else SIZES[regime]))
    few, many = options.few or few, options.many or many
    arms = {"img2dataset": []} if "img2dataset" in options.only else {}
    if "capfilt" in options.only:
        arms |= {f"capfilt, {policy} policy": [] for policy in options.policy}
    for turn in range(options.rounds):
        for arm, runs in arms.items():
            if arm == "img2dataset":
                threads = options.threads or THREADS[regime]
                one = calm(options, race.img2dataset, many, options.processes, threads)
                one["steady"] = one["own"]
            else:
                policy = arm.split()[1]
                first = calm(options, race.capfilt, few, policy)
                one = calm(options, race.capfilt, many, policy)
                one["few"] = first
                one["steady"] = (many - few) / (one["seconds"] - first["seconds"])
            one["whole"] = many / one["seconds"]
            runs.append(one)
            print(
                f"  {race.title}, {arm}, round {turn + 1}: {one['seconds']:.1f} s, whole {one['whole']:.1f}/s, "
                f"steady {one['steady']:.1f}/s, {one['successes']} of {one['expected']} {one['errors'] or ''}, "
                f"others {one['others']:.0%}",
                flush=True,
            )
    extras = {}
    if regime == "b" and "img2dataset" in options.only and not options.quick:
        # What else it can do here: encode everything again, its default, and look at nothing.
        for mode in ("encoded", "unchecked"):
            threads = options.threads or THREADS[regime]
            one = calm(options, race.img2dataset, many, options.processes, threads, mode)
            extras[f"img2dataset, {mode}"] = one
            one["steady"], one["whole"] = one["own"], many / one["seconds"]
            print(f"  b, img2dataset {mode}: whole {one['whole']:.1f}/s, steady {one['steady']:.1f}/s", flush=True)
    return {
        "regime": race.title,
        "few": few,
        "many": many,
        "arms": arms,
        "extras": extras,
        "limits": limits(regime, pictures, server, options) if "limits" in options.only and not stalls else {},
    }


def sweep(regime, stalls, pictures, server, work, options):
    """img2dataset with several thread counts, each once."""
    race = Race(regime, stalls, pictures, server, work, options)
    rows = options.many or SIZES[regime][1] // (4 if options.quick else 1)
    for processes in options.sweep or [options.processes]:
        for threads in SWEEP[regime]:
            one = calm(options, race.img2dataset, rows, processes, threads)
            print(
                f"| {race.title} | {processes} | {threads} | {rows / one['seconds']:.0f} | {one['own']:.0f} "
                f"| {one['successes']} of {one['expected']} | {one['rss'] / 1e6:.0f} | {one['others']:.0%} |",
                flush=True,
            )


def table(results):
    """Prints all results as Markdown."""
    heads = "regime, arm, success, whole/s, steady/s, CPU ms, server ms, RSS MB, PSS MB, others, x whole, x steady"
    print(f"| {heads.replace(', ', ' | ')} |")
    print("| " + "--- | " * 12)
    for result in results:
        base = None
        for arm, runs in (result["arms"] | {name: [one] for name, one in result["extras"].items()}).items():
            rates = {key: median([one[key] for one in runs]) for key in ("whole", "steady")}
            base = base or {key: rate for key, (rate, _) in rates.items()}
            cells = [f"{statistics.median(one['successes'] / one['expected'] for one in runs):.2%}"]
            cells += [f"{rate:.1f} ± {off:.0%}" for rate, off in rates.values()]
            for key, unit in (("cpu", 1000 / result["many"]), ("server", 1000 / result["many"])):
                cells.append(f"{statistics.median(one[key] for one in runs) * unit:.2f}")
            cells += [f"{statistics.median(one[key] for one in runs) / 1e6:.0f}" for key in ("rss", "pss")]
            cells.append(f"{max(one['others'] for one in runs):.0%}")
            cells += [f"{rate / base[key]:.2f}" for key, (rate, _) in rates.items()]
            print(f"| {result['regime']} | {arm} | {' | '.join(cells)} |")
        for name, rate in result["limits"].items():
            times = f"{rate / base['steady']:.2f}" if base else ""
            print(f"| {result['regime']} | limit: {name} | | | {rate:.1f} | | | | | | | {times} |")


def main():
    """Races and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capfilt", default="target/release/capfilt")
    parser.add_argument("--pictures", type=Path, default=ROOT.parent / "shared/data/openstax-photos.parquet")
    parser.add_argument("--regime", nargs="*", default=["a", "b", "c"], choices=["a", "b", "c"])
    parser.add_argument("--stalls", nargs="*", type=float, default=[0, 0.01, 0.05], help="shares in regime c")
    parser.add_argument("--policy", nargs="*", default=["its", "ours"], choices=["its", "ours"])
    parser.add_argument("--only", nargs="*", default=["img2dataset", "capfilt", "limits"])
    parser.add_argument("--quick", action="store_true", help="a quarter of the rows, one round")
    parser.add_argument(
        "--sweep", nargs="*", type=int, help="only tries thread counts of img2dataset with so many processes"
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--few", type=int, help="rows of the small run instead of the regime's")
    parser.add_argument("--many", type=int, help="rows of the large run instead of the regime's")
    parser.add_argument("--patience", type=float, default=0, help="seconds that a run may wait for an idle machine")
    parser.add_argument("--calm", type=float, default=0.06, help="share of the machine that others may take meanwhile")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="of img2dataset and of the bare loops")
    parser.add_argument("--threads", type=int, help="of each process of img2dataset instead of the regime's")
    parser.add_argument("--concurrency", type=int, help="requests of capfilt in flight instead of the regime's")
    parser.add_argument(
        "--check", choices=("pixels", "structure"), default="structure", help="of capfilt in regimes b and c"
    )
    parser.add_argument("--fetch", default='allow-networks = ["127.0.0.0/8"]', help="more options of the fetch stage")
    parser.add_argument("--hosts", type=int, default=1, help="loopback addresses that URLs are spread over")
    parser.add_argument("--no-keepalive", action="store_true", help="the server closes after every answer")
    parser.add_argument("--port", type=int, default=18090)
    parser.add_argument("--nginx-modules", default="/usr/lib/nginx/modules")
    parser.add_argument("--nginx-workers", type=int, default=1)
    parser.add_argument("--work", type=Path, help="a folder for everything that is written; a temporary one without it")
    parser.add_argument("--json", type=Path, help="every measurement goes here")
    options = parser.parse_args()
    options.capfilt = str(Path(options.capfilt).absolute())
    options.rounds = options.rounds or (1 if options.quick else 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    # So that what is running is ended and what was written is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    work = Path(tempfile.mkdtemp(prefix="fetch-race-", dir=options.work)).absolute()
    results = []
    try:
        pictures = Pictures(options.pictures, work / "files")
        for kind, files in (("photographs", pictures.photos), ("small pictures", pictures.small)):
            print(f"{len(files)} {kind} of {sum(map(len, files)) / len(files) / 1000:.1f} kB", flush=True)
        if options.sweep is not None:
            print("| regime | processes | threads | whole/s | own/s | success | RSS MB | others |")
            print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for regime in options.regime:
            for stalls in options.stalls if regime == "c" else [0]:
                with Server(work / "files", work / "server", options) as server:
                    if options.sweep is not None:
                        sweep(regime, stalls, pictures, server, work, options)
                    else:
                        results.append(run_regime(regime, stalls, pictures, server, work, options))
        if options.sweep is None:
            table(results)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
