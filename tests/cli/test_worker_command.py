"""``zodbjobs worker`` as a process of its own, and the commands against a running one."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE, ended, until
from storages import file_storage

import zodbjobs

Run = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]


def outcomes(path: Path) -> dict[str, str | None]:
    """How each job ended, read from the file that the worker has left."""
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        queue = zodbjobs.get_queue(connection)
        return {zodbjobs.get_job_id(job): job.outcome for job in (*queue, *queue.finished())}


@pytest.mark.promise(107)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(
    run: Run, worker: Start, path: Path, place: Path, number: int
) -> None:
    """Jobs are put while no worker is there; the one that runs at the signal is finished."""
    before = [run("put", path, "sample:add", n).out.strip() for n in range(3)]
    running = run("put", path, "meeting:meet", place).out.strip()
    after = run("put", path, "sample:nothing").out.strip()
    process = worker(path, "--threads", "1")
    until((place / "here").exists)
    process.send_signal(number)
    (place / "go").touch()
    assert ended(process) == 0
    left = outcomes(path)
    assert [left[job_id] for job_id in (*before, running)] == ["succeeded"] * 4
    # Whether the signal or the end of the job came first is the machine's affair.
    assert left[after] in (None, "succeeded")
    assert json.loads(run("stats", path, "--json").out)["workers"] == []


def test_a_job_that_takes_too_long_is_ended(
    run: Run, worker: Start, path: Path, place: Path
) -> None:
    """Its thread is replaced, and doesn't keep the process when that is to stop."""
    late = run("put", path, "meeting:meet", place, "--timeout", "0.2").out.strip()
    process = worker(path, "--threads", "2")

    def is_listed(outcome: str) -> bool:
        found = run("jobs", path, "--read-only", "--outcome", outcome, "--json").out
        return [job["id"] for job in json.loads(found)] == [late]

    until(lambda: is_listed("failed"))
    shown = run("show", path, "--read-only", late).out
    assert "TimedOut" in shown
    assert "took longer than its timeout of 0:00:00.200000" in shown
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    assert outcomes(path) == {late: "failed"}


def test_it_ends_with_status_1_once_its_threads_are_stuck(
    run: Run, worker: Start, path: Path, place: Path
) -> None:
    late = run("put", path, "meeting:meet", place, "--timeout", "0.2").out.strip()
    after = run("put", path, "sample:nothing").out.strip()
    assert ended(worker(path, "--threads", "1")) == 1
    left = outcomes(path)
    assert left[late] == "failed"
    assert left[after] in (None, "succeeded")  # whether it was begun is the machine's affair


@pytest.mark.promise(107)
@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_the_same_signal_sent_by_two_stops_it_in_order(
    run: Run, signal_clock: Any, worker: Start, path: Path, place: Path, again: int
) -> None:
    """A terminal and a wrapper both send it."""
    job_id = run("put", path, "meeting:meet", place).out.strip()
    process = worker(path)
    until((place / "here").exists)
    signal_clock.signal(process, signal.SIGINT)
    signal_clock.set(0.99)
    signal_clock.signal(process, again)
    (place / "go").touch()
    assert ended(process) == 0
    assert outcomes(path) == {job_id: "succeeded"}


def test_a_later_signal_ends_it_at_once(
    run: Run, signal_clock: Any, worker: Start, path: Path, place: Path
) -> None:
    job_id = run("put", path, "meeting:meet", place).out.strip()
    process = worker(path)
    until((place / "here").exists)
    signal_clock.signal(process, signal.SIGTERM)
    signal_clock.set(1)
    process.send_signal(signal.SIGINT)
    assert ended(process) == 128 + signal.SIGINT
    assert " gone " in run("stats", path).out

    (place / "go").touch()
    (place / "here").unlink()
    process = worker(path)
    until((place / "here").exists)
    process.terminate()
    assert ended(process) == 0
    job = json.loads(run("show", path, job_id, "--json").out)
    assert (job["outcome"], job["interruptions"]) == ("succeeded", 1)


def test_it_makes_a_database_if_told(run: Run, worker: Start, tmp_path: Path) -> None:
    process = worker(tmp_path / "new.fs", "--create")
    process.terminate()
    assert ended(process) == 0
    assert run("jobs", tmp_path / "new.fs").out == "no such jobs\n"


def test_it_says_what_it_does(run: Run, start: Start, path: Path) -> None:
    for _ in range(2):
        run("put", path, "sample:fail", "because")
    process = start("worker", path, "--threads", "1")
    assert process.stderr is not None
    said = []
    while sum("because" in line for line in said) < 2:
        said.append(process.stderr.readline())
        assert said[-1], said
    assert said[0] == f"Serving {path} with 1 thread: (default); 2 jobs to do.\n"
    assert said[1] == (
        "Ctrl-C or SIGTERM stops it in order, another one a second later at once.\n"
    )
    assert "sample:fail('because')" in "".join(said[2:])
    process.terminate()
    assert ended(process) == 0


def test_commands_against_a_running_worker(
    run: Run, worker: Start, start: Start, zeo: str, path: Path, place: Path
) -> None:
    process = worker(zeo)

    # It runs what is put from another process, and `watch` shows that.
    job_id = run("put", zeo, "meeting:meet", place, "--progress").out.strip()
    watch = start("watch", zeo, job_id)
    assert watch.stderr is not None
    while "meeting:meet active 40 % half way" not in watch.stderr.readline():
        assert watch.poll() is None
    stats = json.loads(run("stats", zeo, "--json").out)
    assert [worker["pid"] for worker in stats["workers"]] == [process.pid]
    assert [queue["active"] for queue in stats["queues"]] == [1]
    assert "is active; cancel it first" in run("remove", zeo, job_id).problem
    (place / "go").touch()
    out, err = watch.communicate(timeout=PATIENCE)
    assert watch.returncode == 0
    assert err.splitlines()[-1] == f"{job_id} meeting:meet succeeded 40 % half way"
    assert "result  'met'" in out

    # A running job is cancelled, what it returns later doesn't count.
    for name in ("go", "here"):
        (place / name).unlink()
    job_id = run("put", zeo, "meeting:meet", place).out.strip()
    until((place / "here").exists)
    assert run("cancel", zeo, job_id).out == f"cancelled: {job_id} meeting:meet\n"
    watched = run("watch", zeo, job_id, "--json")
    assert watched.status == 1
    assert json.loads(watched.out)["outcome"] == "cancelled"
    (place / "go").touch()

    # Put in again, it ends like any other.
    assert run("retry", zeo, job_id).status == 0
    assert run("watch", zeo, job_id).status == 0

    process.terminate()
    assert ended(process) == 0
