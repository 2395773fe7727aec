"""What a service manager is told of a worker, and when it isn't told anything."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
from patience import PATIENCE, until
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import POSError

import zodbjobs
from zodbjobs.runtime import service
from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.runtime.service import Datagrams, Lines, Service
from zodbjobs.testing import moving_clock


class Away(OSError):
    """What a storage without room says."""

    def __init__(self) -> None:
        super().__init__(28, "no\nroom")


@pytest.fixture
def told() -> list[str]:
    return []


# When it is told


def test_signs_of_life_are_told_twice_in_their_time(told: list[str]) -> None:
    with moving_clock() as moves:
        listening = Service(told.append, 10)
        step = listening.watch(lambda: "done")
        assert step() == "done"
        for _ in range(4):
            moves.advance(3)
            step()
        assert told == ["WATCHDOG=1"] * 3


def test_without_a_watchdog_there_are_none(told: list[str]) -> None:
    Service(told.append, None).watch(lambda: None)()
    assert told == []


def test_a_step_that_fails_is_no_sign_of_life(told: list[str]) -> None:
    def step() -> None:
        raise POSError("broken")

    with moving_clock() as moves:
        watched = Service(told.append, 10).watch(step)
        for _ in range(3):
            moves.advance(10)
            with pytest.raises(POSError):
                watched()
    assert told == []


def test_a_storage_that_is_waited_for_is_said_and_no_reason_to_end(told: list[str]) -> None:
    errors: list[Exception] = [Away(), Away()]

    def step() -> None:
        if errors:
            raise errors.pop()

    with moving_clock() as moves:
        listening = Service(told.append, 10)
        listening.works("works with 4 threads")
        watched = listening.watch(step)
        for _ in range(2):
            with pytest.raises(Away):
                watched()
            moves.advance(5)
        watched()
    assert told == [
        "READY=1\nSTATUS=works with 4 threads",
        "STATUS=waits for the storage: [Errno 28] no room",
        "WATCHDOG=1",
        "WATCHDOG=1",
        "STATUS=works with 4 threads",
        "WATCHDOG=1",
    ]


# Whether anybody wants to know


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket such as systemd has, and the environment in which it starts a service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield listener


def test_nobody_wants_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert service.of_systemd() is None
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock:2:1234")
    assert service.of_systemd() is None


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        (None, None, None),
        ("30000000", None, 30.0),
        ("30000000", "own", 30.0),
        ("30000000", "1", None),  # it is asked of the process that has started this one
        ("0", None, None),
        ("soon", None, None),
    ],
)
def test_whether_signs_of_life_are_wanted(
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    usec: str | None,
    pid: str | None,
    seconds: float | None,
) -> None:
    pid = str(os.getpid()) if pid == "own" else pid
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value is not None:
            monkeypatch.setenv(name, value)
    found = service.of_systemd()
    assert found is not None
    assert found.watchdog_seconds == seconds


# How it is told


def test_a_socket_with_a_path(listener: socket.socket) -> None:
    found = service.of_systemd()
    assert found is not None
    found.stops()
    said = b"STOPPING=1\nSTATUS=stops as soon as the running jobs have ended"
    assert listener.recv(1_000) == said


def test_an_error_that_is_not_unicode_is_told(listener: socket.socket) -> None:
    """What is raised for it would take the place of the error that is waited for."""
    told = Service(Datagrams(listener.getsockname()).send, None)
    told.waits(FileNotFoundError(2, "no such file", "/srv/b\udce4r.fs"))
    assert listener.recv(1_000) == (
        b"STATUS=waits for the storage: [Errno 2] no such file: '/srv/b\\udce4r.fs'"
    )
    told.waits(OSError("no b\udce4r"))
    told.works("a b\udce4r works")
    assert listener.recv(1_000) == b"READY=1\nSTATUS=a b?r works"


def test_an_abstract_socket() -> None:
    name = f"zodbjobs-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(PATIENCE)
        Datagrams(f"@{name}").send("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_a_socket_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    Datagrams(str(tmp_path / "gone")).send("READY=1")


def test_lines_of_a_pipe_that_nobody_reads_are_lost() -> None:
    reading, writing = os.pipe()
    lines = Lines(writing)
    lines.send("READY=1\nSTATUS=works")
    assert os.read(reading, 100) == b"READY=1\nSTATUS=works\n"
    for _ in range(20_000):  # more than it has room for
        lines.send("WATCHDOG=1")
    os.close(reading)
    lines.send("WATCHDOG=1")
    os.close(writing)


# A worker


class Working:
    """A worker in a thread, and what it has told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.db = DB(MappingStorage())
        zodbjobs.install(self.db)
        self.worker = zodbjobs.Worker(self.db, threads=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.worker.run_until(self._stop, service=Service(self.told.append, 0.002))

    def __enter__(self) -> Working:
        self._thread.start()
        until(lambda: self.signs)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        self.db.close()

    @property
    def signs(self) -> int:
        return self.told.count("WATCHDOG=1")


def test_a_worker_tells_when_it_works_that_it_goes_on_and_when_it_stops() -> None:
    with Working() as working:
        until(lambda: working.signs >= 2)
    assert working.told[0] == f"READY=1\nSTATUS={working.worker.id[:12]} works with 1 thread"
    stopping = "STOPPING=1\nSTATUS=stops as soon as the running jobs have ended"
    assert working.told.count(stopping) == 1


def test_a_dispatcher_that_makes_no_step_gives_no_sign_of_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread lives, and so does the runner that has what it needs. Another worker goes on."""
    holds, go = threading.Event(), threading.Event()
    fetch = Dispatcher.fetch

    def stuck(dispatcher: Dispatcher, *args: Any) -> None:
        with dispatcher.lock:
            if dispatcher is stuck_one and not go.is_set():
                holds.set()
                assert go.wait(PATIENCE)
        fetch(dispatcher, *args)

    monkeypatch.setattr(Dispatcher, "fetch", stuck)
    stuck_one: Dispatcher | None = None
    with Working() as healthy, Working() as ill:
        stuck_one = ill.worker._incarnation._parts.dispatcher
        with ill.db.transaction() as connection:
            zodbjobs.get_queue(connection).put(zodbjobs.Job(sample.nothing))
        assert holds.wait(PATIENCE)
        before, others = ill.signs, healthy.signs
        until(lambda: healthy.signs > others + 3)
        assert ill.signs <= before + 1  # for the step that it had just made
        go.set()
        until(lambda: ill.signs > before + 1)
