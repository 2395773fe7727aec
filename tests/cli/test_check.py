"""``zodbjobs check``: one line, a status, and JSON."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import ended, until

Run = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]


def test_no_worker(run: Run, path: Path) -> None:
    checked = run("check", path)
    assert (checked.status, checked.err) == (1, "")
    assert checked.out == (
        "failing: no worker works: none is registered; start one with `zodbjobs worker`\n"
    )
    told = run("check", path, "--json")
    assert told.status == 1
    data = json.loads(told.out)
    assert (data["ok"], data["workers"], data["last_sign"]) == (False, 0, None)
    (problem,) = data["problems"]
    assert (problem["kind"], problem["queue"]) == ("workers", None)


def test_a_worker_that_works_and_one_that_was_killed(run: Run, worker: Start, path: Path) -> None:
    process = worker(path)
    checked = run("check", path, "--here", "--max-wait", "60")
    assert (checked.status, checked.err) == (0, "")
    assert checked.out.startswith("ok: 1 worker works, the last sign of life was ")
    assert checked.out.count("\n") == 1
    assert json.loads(run("check", path, "--json").out)["ok"] is True
    few = run("check", path, "--min-workers", "2")
    assert few.status == 1
    assert few.out.startswith("failing: 1 of 2 workers work, and no other is registered")

    process.kill()
    ended(process)
    checked = run("check", path, "--here")
    assert checked.status == 1
    assert f"(process {process.pid} on " in checked.out
    assert "has ended without a word; see its log, and start it again" in checked.out


def test_jobs_that_wait(run: Run, path: Path, worker: Start) -> None:
    run("pause", path, "--reason", "the release")
    for _ in range(2):
        run("put", path, "sample:nothing")
    worker(path)
    assert run("check", path, "--max-waiting", "2").status == 0
    checked = run("check", path, "--max-waiting", "1", "--max-parked", "0")
    assert checked.status == 1
    assert checked.out == (
        "failing: more than 1 jobs of the default queue are due and wait; it is paused (the "
        "release): resume it with `zodbjobs resume`\n"
    )


def test_what_a_supervisor_serves_is_asked_of_its_server(
    run: Run, start: Start, path: Path
) -> None:
    process = start("worker", path, "--processes", "2")
    until(lambda: run("check", path, "--min-workers", "2", "--here").status == 0)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    assert run("check", path).status == 1


def test_nothing_is_locked_or_written(run: Run, path: Path) -> None:
    before = path.read_bytes()
    names = sorted(each.name for each in path.parent.iterdir())
    run("check", path)
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == names


def test_what_cannot_be_told_has_a_status_of_its_own(run: Run, path: Path) -> None:
    assert "there is no file" in run("check", path.parent / "no.fs").problem
    assert "'no'" in run("check", path, "--queue", "no").problem
    assert "see `zodbjobs check --help`" in run("check", path, "--min-workers", "0").problem


@pytest.mark.process
def test_a_server_that_is_away(run: Run) -> None:
    problem = run("check", "zeo://localhost:1?wait_timeout=1").problem
    assert "no server answers at zeo://localhost:1" in problem
