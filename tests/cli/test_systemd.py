"""Workers as services of systemd: real processes, and a socket such as it has."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE, ended

from zodbjobs.cli import watched_workers
from zodbjobs.cli.child_process import ChildSaid
from zodbjobs.cli.watched_workers import WatchedWorkers
from zodbjobs.runtime.service import Service
from zodbjobs.testing import MovableClock, moving_clock

Run = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]

# A module of the directory that the worker is started in. The first time that it is called it
# keeps the interpreter's lock, so that no thread of the process goes on.
_HANGING = """
import ctypes
from pathlib import Path

def hang(place):
    flag = Path(place, "hung")
    if not flag.exists():
        flag.touch()
        ctypes.PyDLL(None).sleep(600)
    return "done"
"""


class Systemd:
    """What a service has told."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.told: list[str] = []

    def hears(self, text: str) -> str:
        """Wait until a line is told that begins so; returns it."""
        while True:
            lines = self._listener.recv(10_000).decode().split("\n")
            self.told += lines
            for line in lines:
                if line.startswith(text):
                    return line


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "10000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield Systemd(listener)


def test_a_worker(systemd: Systemd, start: Start, path: Path) -> None:
    process = start("worker", path, "--threads", "2", WATCHDOG_USEC="100000")
    assert systemd.hears("READY") == "READY=1"
    assert re.fullmatch(r"STATUS=\w{12} works with 2 threads", systemd.told[1])
    for _ in range(2):
        systemd.hears("WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    systemd.hears("STOPPING=1")
    assert ended(process) == 0


def test_a_worker_that_cannot_start_is_never_ready(
    systemd: Systemd, start: Start, tmp_path: Path
) -> None:
    process = start("worker", tmp_path / "missing.fs")
    assert ended(process) == 2
    systemd._listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.hears("READY")


def test_the_supervisor_speaks_for_its_workers(
    systemd: Systemd, run: Run, start: Start, path: Path
) -> None:
    """One that hangs is ended and replaced, alone; the service goes on."""
    (path.parent / "hanging.py").write_text(_HANGING)
    job = run("put", path, "hanging:hang", path.parent).out.strip()
    words = ("worker", path, "--processes", "2", "--threads", "1")
    process = start(*words, PYTHONFAULTHANDLER="1")
    systemd.hears("READY=1")
    systemd.hears("WATCHDOG=1")
    assert process.stderr is not None
    said = ""
    while "was killed by SIGABRT; it starts again" not in said:
        said += (line := process.stderr.readline())
        assert line, said
    assert "has made no step for 10 s, so it is ended; another process" in said
    assert "hanging.py" in said  # where its threads were
    while "succeeded" not in run("show", path, job).out.split()[:2]:
        systemd.hears("WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    systemd.hears("STOPPING=1")
    assert ended(process) == 0
    assert any(re.match("STATUS=worker [12]: .*; worker [12]: ", line) for line in systemd.told)


# What it hears of them


class Worker:
    """One that a supervisor has started."""

    def __init__(self, number: int) -> None:
        self.name, self.pid = f"worker {number}", number
        self.ends: list[str] = []

    def abort(self) -> None:
        self.ends.append("aborted")

    def kill(self) -> None:
        self.ends.append("killed")


def said(worker: Any, *lines: str) -> Iterator[ChildSaid]:
    return (ChildSaid(worker, worker.pid, line) for line in lines)


def heard(watched: WatchedWorkers, worker: Any, *lines: str) -> None:
    for line in said(worker, *lines):
        watched.heard(line)


def turn_for(watched: WatchedWorkers, moves: MovableClock, seconds: float, *lives: Any) -> None:
    """Let the supervisor's loop turn for some seconds; some workers give signs of life."""
    for _ in range(int(seconds / 5)):
        moves.advance(5)
        for worker in lives:
            heard(watched, worker, "WATCHDOG=1")
        watched.turn()


def test_who_is_stuck_is_ended_and_killed_if_that_does_not_help() -> None:
    told: list[str] = []
    with moving_clock() as moves:
        watched = WatchedWorkers(Service(told.append, 20))
        first, second, starting = (Worker(number) for number in (1, 2, 3))
        for worker in (first, second):
            heard(watched, worker, "READY=1", "STATUS=works")
        # The third one doesn't work yet, and may take its time.
        turn_for(watched, moves, 15, first, starting)
        assert (first.ends, second.ends) == ([], [])
        turn_for(watched, moves, 5, first)
        assert (first.ends, second.ends) == ([], ["aborted"])
        heard(watched, second, "WATCHDOG=1")  # too late
        turn_for(watched, moves, watched_workers._ABORT_SECONDS, first)
        assert (first.ends, second.ends, starting.ends) == ([], ["aborted", "killed"], [])

        watched.exited(second)  # type: ignore[arg-type]
        second.pid, second.ends = 4, []
        watched.heard(ChildSaid(second, 2, "READY=1"))  # type: ignore[arg-type]
        turn_for(watched, moves, 60, first)  # that was of the process that has ended
        assert (first.ends, second.ends) == ([], [])
    assert told.count("READY=1\nSTATUS=") == 1
    assert "STATUS=worker 1: works; worker 2: works" in told
    assert "STATUS=worker 1: works" in told


def test_a_supervisor_that_stood_still_itself_ends_nobody() -> None:
    """With the machine, or in a debugger: it has heard nobody meanwhile."""
    with moving_clock() as moves:
        watched = WatchedWorkers(Service(lambda text: None, 20))
        worker = Worker(1)
        heard(watched, worker, "READY=1")
        turn_for(watched, moves, 15)
        moves.advance(1_000)
        watched.turn()
        assert worker.ends == []
        turn_for(watched, moves, 5)
        assert worker.ends == ["aborted"]


def test_while_it_stops_nobody_is_ended() -> None:
    told: list[str] = []
    with moving_clock() as moves:
        watched = WatchedWorkers(Service(told.append, 20))
        worker = Worker(1)
        heard(watched, worker, "READY=1")
        watched.stop()
        moves.advance(100)
        watched.turn()
    assert worker.ends == []
    assert any(line.startswith("STOPPING=1") for line in told)
    assert watched.most_seconds is None


def test_without_a_service_manager_nothing_is_told() -> None:
    watched = WatchedWorkers(None)
    assert watched.settings() == {}
    watched.turn()
    watched.stop()
