"""Runs the suite in each weather, several times; exits 1 if anything failed.

``run.py [--runs N] [WEATHER...]``. It takes hours. What passed isn't run again when it is
started again for the same commit: runs are recorded in the folder .weather, beside what
each has said.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from weather import suite, table
from weather.records import Records, commit_of
from weather.slow_fsync import NoCompiler
from weather.weathers import WEATHERS

RUNS = 5

FOLDER = suite.ROOT / ".weather"


def run_one(name: str, records: Records) -> bool:
    """Run the suite once more in a weather, and record it; whether it passed."""
    seed = random.SystemRandom().randrange(2**32)
    log = FOLDER / f"{name}-{seed}.log"
    run = suite.run(WEATHERS[name], records.commit, seed, log)
    records.add(run)
    print(table.tell(run), flush=True)
    if not run.is_good:
        print(f"    log: {log}", flush=True)
        print(f'    again: make test PYTEST="-p randomly --randomly-seed={seed}"', flush=True)
    return run.is_good


def main() -> int:
    """Run what is asked for and hasn't passed yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS, help="in each weather")
    parser.add_argument("weathers", nargs="*", metavar="WEATHER", help=", ".join(WEATHERS))
    options = parser.parse_args()
    names = options.weathers or list(WEATHERS)
    if unknown := set(names) - set(WEATHERS):
        parser.error(f"no such weather: {', '.join(sorted(unknown))}")
    FOLDER.mkdir(exist_ok=True)
    records = Records(FOLDER / "runs.jsonl", commit_of(suite.ROOT))
    failed = 0
    try:
        for name in names:
            for _ in range(options.runs - records.good(name)):
                failed += not run_one(name, records)
    except NoCompiler as error:
        print(error, file=sys.stderr)
        failed += 1
    table.show(records, names, options.runs)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
