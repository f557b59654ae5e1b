"""One build of capfilt against another on the races of `fetch.py`, to see that a change costs no speed.

    VENV/bin/python tests/bench/fetch_builds.py --before OLD/capfilt --capfilt target/release/capfilt

The older build runs twice in each round, so that its spread against itself says what the machine alone does:
`before`, `after` and `before again` alternate, their order turns from round to round. A ratio is taken within a round:
seconds of `before` over seconds of the other arm, so more than 1 is faster. `spread` is the widest distance of
`before again` from 1. Regimes, server and checks are those of `fetch.py`.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import fetch

ROUNDS = {"a": 7, "b": 3, "c": 3}


def compare(regime, stalls, pictures, server, work, options):
    """Seconds of every arm, round by round."""
    races = {}
    for arm, program in (("before", options.before), ("after", options.capfilt), ("before again", options.before)):
        settings = argparse.Namespace(**{**vars(options), "capfilt": program})
        races[arm] = fetch.Race(regime, stalls, pictures, server, work, settings)
    rows = options.many or fetch.SIZES[regime][1]
    seconds = {arm: [] for arm in races}
    names = list(races)
    for turn in range(options.rounds or ROUNDS[regime]):
        for arm in names[turn % 3 :] + names[: turn % 3]:
            one = fetch.calm(options, races[arm].capfilt, rows, options.policy)
            if one["successes"] != one["expected"]:
                sys.exit(f"{arm}: {one['successes']} of {one['expected']} pictures, {one['errors']}")
            seconds[arm].append(one["seconds"])
            print(f"  {races[arm].title}, round {turn + 1}, {arm}: {one['seconds']:.2f} s, others {one['others']:.0%}", flush=True)
    return {"regime": races["after"].title, "rows": rows, "seconds": seconds}


def ratios(result, arm):
    """Seconds of `before` over those of `arm`, round by round."""
    return [old / new for old, new in zip(result["seconds"]["before"], result["seconds"][arm])]


def table(results):
    """Prints all results as Markdown."""
    print("| regime | rounds | rows/s before | rows/s after | after (median, range) | before again (median, range) | spread |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for result in results:
        rate = {arm: result["rows"] / statistics.median(result["seconds"][arm]) for arm in ("before", "after")}
        cells = [f"{rate['before']:.0f}", f"{rate['after']:.0f}"]
        for arm in ("after", "before again"):
            values = ratios(result, arm)
            cells.append(f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        cells.append(f"{max(abs(value - 1) for value in ratios(result, 'before again')):.1%}")
        print(f"| {result['regime']} | {len(result['seconds']['after'])} | {' | '.join(cells)} |")


def main():
    """Races two builds and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="the older build")
    parser.add_argument("--capfilt", default="target/release/capfilt", help="the newer build")
    parser.add_argument("--pictures", type=Path, default=fetch.ROOT.parent / "shared/data/openstax-photos.parquet")
    parser.add_argument("--regime", nargs="*", default=["a", "b", "c"], choices=["a", "b", "c"])
    parser.add_argument("--stalls", nargs="*", type=float, default=[0], help="shares in regime c")
    parser.add_argument("--policy", default="ours", choices=["its", "ours"])
    parser.add_argument("--rounds", type=int, help="instead of 7 for a, 3 for b and c")
    parser.add_argument("--many", type=int, help="rows instead of the regime's")
    parser.add_argument("--patience", type=float, default=60, help="seconds that a run may wait for an idle machine")
    parser.add_argument("--calm", type=float, default=0.06, help="share of the machine that others may take meanwhile")
    parser.add_argument("--json", type=Path, help="every measurement goes here")
    options = parser.parse_args()
    # What `fetch.py` lets one choose, at its defaults.
    options.concurrency, options.check, options.fetch = None, "structure", 'allow-networks = ["127.0.0.0/8"]'
    options.hosts, options.no_keepalive, options.port = 1, False, 18090
    options.nginx_modules, options.nginx_workers = "/usr/lib/nginx/modules", 1
    options.before, options.capfilt = (str(Path(path).absolute()) for path in (options.before, options.capfilt))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    work = Path(tempfile.mkdtemp(prefix="fetch-builds-")).absolute()
    results = []
    try:
        pictures = fetch.Pictures(options.pictures, work / "files")
        for regime in options.regime:
            for stalls in options.stalls if regime == "c" else [0]:
                with fetch.Server(work / "files", work / "server", options) as server:
                    results.append(compare(regime, stalls, pictures, server, work, options))
        print(f"{os.cpu_count()} cores")
        table(results)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
