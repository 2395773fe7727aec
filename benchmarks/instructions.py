"""Counts the instructions of the processor that a job takes, in this checkout and in another.

``instructions.py [OTHER]``: OTHER is the folder of another checkout. Needs valgrind. The counts
are the same whatever else the machine does, to about 1 in 100, so differences show that are lost
in the noise of a clock. They leave out what a disk takes, and threads that wait for each other:
one thread does all, on a storage in memory. It takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# What is counted, in counted_process.py.
WORK = ("put_singly", "put_together", "drain_single", "writers", "drain")

# How many jobs there are in the two runs of which the difference is taken.
FEW, MANY = 300, 1_300


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", nargs="?", type=Path)
    roots = [root for root in (parser.parse_args().other, ROOT) if root is not None]
    for name in WORK:
        counts = [per_job(root.resolve(), name) for root in roots]
        shown = "".join(f"{count:>12,}" for count in counts)
        ratio = f"{counts[-1] / counts[0]:>8.2f}" if len(counts) > 1 else ""
        print(f"{name:<10}{shown}{ratio}", flush=True)


def per_job(root: Path, name: str) -> int:
    """The instructions of a job in the checkout at `root`."""
    return (count(root, name, MANY) - count(root, name, FEW)) // (MANY - FEW)


def count(root: Path, name: str, number: int) -> int:
    """The instructions of a process that does something with `number` jobs."""
    folders = ("src", "benchmarks", "tests/unit", "tests")
    options = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    counted = [sys.executable, str(HERE / "counted_process.py"), name, str(number)]
    ended = subprocess.run(
        ["valgrind", *options, *counted],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(root / folder) for folder in folders),
            "PYTHONHASHSEED": "0",
        },
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"I +refs: +([\d,]+)", ended.stderr)
    if found is None:
        raise SystemExit(ended.stderr)
    return int(found[1].replace(",", ""))


if __name__ == "__main__":
    main()
