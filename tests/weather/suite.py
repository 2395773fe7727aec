"""Runs the suite once, in one weather and one order, and counts what passed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from weather.records import Record
from weather.weathers import Weather

ROOT = Path(__file__).parents[2]


def run(weather: Weather, commit: str, seed: int, log: Path) -> Record:
    """Run all tests in the order that `seed` gives; what they say goes into `log`."""
    # Short, for sockets are made below it, and their paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="w-", dir=weather.scratch) as name:
        folder = Path(name)
        folder.chmod(0o755)  # a PostgreSQL server runs as another user
        counts = folder / "counts.xml"
        with weather.begin(folder) as variables, log.open("w") as out:
            began = time.monotonic()
            options = [f"--randomly-seed={seed}", f"--basetemp={folder}/t"]
            options += ["-n", str(weather.at_once)]
            subprocess.run(
                [*_PYTEST, *options, f"--junit-xml={counts}"],
                cwd=ROOT,
                env={**os.environ, "TMPDIR": name, **variables},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            seconds = time.monotonic() - began
        passed, failed = _count(counts)
    return Record(weather.name, seed, commit, passed, failed, round(seconds))


_PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "randomly"]


def _count(report: Path) -> tuple[int, int]:
    """How many tests passed and failed; none if there is no report, as after a crash."""
    with contextlib.suppress(FileNotFoundError):
        suites = ElementTree.parse(report).getroot().iter("testsuite")
        numbers = [{key: int(suite.get(key, 0)) for key in _KEYS} for suite in suites]
        total = {key: sum(one[key] for one in numbers) for key in _KEYS}
        failed = total["failures"] + total["errors"]
        return total["tests"] - total["skipped"] - failed, failed
    return 0, 0


_KEYS = ("tests", "failures", "errors", "skipped")
