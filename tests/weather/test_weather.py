"""The weathers are what they say, and what passed in one isn't run again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from weather import slow_fsync, table
from weather.records import Record, Records
from weather.weathers import WEATHERS

#: Prints how many cores there are, and the seconds that each kind of fsync takes.
PROBE = """
import os, tempfile, time
print(len(os.sched_getaffinity(0)))
with tempfile.TemporaryFile() as file:
    for sync in (os.fsync, os.fdatasync):
        began = time.monotonic()
        sync(file.fileno())
        print(time.monotonic() - began)
"""


def probe(name: str, folder: Path) -> list[float]:
    """What PROBE prints in that weather."""
    with WEATHERS[name].begin(folder) as variables:
        command = [sys.executable, "-c", PROBE]
        environment = {**os.environ, **variables}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


@pytest.mark.process
def test_one_core(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    assert probe("one-core", tmp_path)[0] == 1
    assert os.sched_getaffinity(0) == before


@pytest.mark.process
def test_a_slow_disk(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        with pytest.raises(slow_fsync.NoCompiler):
            probe("slow-disk", tmp_path)
        return
    assert min(probe("slow-disk", tmp_path)[1:]) >= slow_fsync.MILLIS / 1_000


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(slow_fsync.NoCompiler, match="install one"):
        slow_fsync.compiled(tmp_path)


def test_what_passed_is_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "runs.jsonl"
    records = Records(file, "one")
    records.add(Record("busy", 1, "one", passed=10, failed=0, seconds=60))
    records.add(Record("busy", 2, "one", passed=9, failed=1, seconds=60))
    records.add(Record("busy", 3, "one", passed=0, failed=0, seconds=1))
    assert Records(file, "one").runs == records.runs
    assert [Records(file, "one").good(name) for name in ("busy", "ramdisk")] == [1, 0]
    assert Records(file, "another").good("busy") == 0
    table.show(Records(file, "one"), ["busy", "ramdisk"], runs=5)
    rows = [re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines()[3:]]
    assert rows == [
        ["busy", "1 of 5", "2", "0 to 10", "1", "0 to 1"],
        ["ramdisk", "0 of 5", "0", "-", "0", "-"],
    ]


def test_what_was_changed_since_the_commit_is_run_again(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    Records(file, "one-dirty").add(Record("busy", 1, "one-dirty", passed=1, failed=0, seconds=1))
    assert Records(file, "one-dirty").good("busy") == 0
