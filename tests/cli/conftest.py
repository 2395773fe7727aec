"""Runs commands: in this process where that is enough, else in one of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import transaction
from click.testing import CliRunner
from patience import PATIENCE, until
from storages import file_storage, templates, zeo_servers

import zodbjobs
from zodbjobs.cli.commands import cli

# click 8.1 has to be told to keep stderr apart.
_APART = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}

_TESTS = Path(__file__).parent.parent


@dataclass
class Ended:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def problem(self) -> str:
        """The one line that it ended with."""
        assert self.status == 2, (self.status, self.out, self.err)
        assert self.out == ""
        assert self.err.startswith("zodbjobs: ")
        assert self.err.count("\n") == 1
        return self.err


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in this process, in a folder of its own."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)

    def run(*words: object, **env: str) -> Ended:
        done = CliRunner(**_APART).invoke(cli, [*map(str, words)], prog_name="zodbjobs", env=env)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ended(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command in a process of its own, which is killed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def start(*words: object, **env: str) -> subprocess.Popen[str]:
            more = {"PYTHONPATH": str(_TESTS), "PYTHONWARNINGS": "error", **env}
            main = "clocked_main" if "SIGNAL_CLOCK" in os.environ else "zodbjobs.cli.main"
            process = subprocess.Popen(
                [sys.executable, "-m", main, *map(str, words)],
                env={**os.environ, **more},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def run_process(start: Callable[..., subprocess.Popen[str]]) -> Run:
    """Runs a command in a process of its own."""

    def run(*words: object, **env: str) -> Ended:
        process = start(*words, **env)
        out, err = process.communicate(timeout=PATIENCE)
        return Ended(process.returncode, out, err)

    return run


@pytest.fixture
def worker(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    """Starts a worker in a process of its own, and returns when it works."""

    def worker(*words: object) -> subprocess.Popen[str]:
        process = start("worker", *words)
        said = []
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if " works with " in line:
                return process
        raise AssertionError("".join(said))

    return worker


class SignalClock:
    """The clock by which processes that are started then tell one signal from another."""

    def __init__(self, place: Path) -> None:
        self._seconds = place / "seconds"
        self._looks = place / "looks"
        self._looks.touch()
        self.set(0)

    def set(self, seconds: float) -> None:
        """Let it be so many seconds after the process was started."""
        self._seconds.write_text(str(seconds))

    def signal(self, process: subprocess.Popen[str], number: int) -> None:
        """Send a signal, and wait until the process has taken it or has ended."""
        before = len(self._looks.read_text().splitlines())
        process.send_signal(number)
        until(
            lambda: (
                len(self._looks.read_text().splitlines()) > before or process.poll() is not None
            )
        )


@pytest.fixture
def signal_clock(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> SignalClock:
    place = tmp_path_factory.mktemp("clock")
    monkeypatch.setenv("SIGNAL_CLOCK", str(place))
    return SignalClock(place)


# A module of the directory that the commands are started in.
_MEETING = """
import os
import time
from pathlib import Path
from zodbjobs import local

def meet(place):
    local.set_progress(40, "half way")
    Path(place, "here").write_text(str(os.getpid()))
    wait_for(Path(place, "go"))
    return "met"

def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a test and a job `meeting:meet` meet: it makes "here", and waits for "go"."""
    (tmp_path / "meeting.py").write_text(_MEETING)
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with queues in it, that nobody has open."""
    path = tmp_path / templates.NAME
    templates.copy(path)
    return path


@pytest.fixture
def put(path: Path) -> Callable[..., list[str]]:
    """Puts jobs into the default queue of the file; returns the ids."""

    def put(*jobs: zodbjobs.Job, **terms: Any) -> list[str]:
        with contextlib.closing(file_storage(path.parent)) as db:
            connection = db.open(transaction.TransactionManager())
            queued = zodbjobs.get_queue(connection).put_many(jobs, **terms)
            connection.transaction_manager.commit()
            ids = [zodbjobs.get_job_id(job) for job in queued]
            connection.close()
        return ids

    return put


@pytest.fixture
def zeo(path: Path) -> Iterator[str]:
    """The URI of a ZEO server that has the file open."""
    with zeo_servers.in_a_thread(path) as (host, port):
        yield f"zeo://{host}:{port}"
