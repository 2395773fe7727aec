"""``zodbjobs worker --processes``: real processes, real signals."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from patience import PATIENCE, is_gone, until, wait_for
from storages import file_storage, in_postgresql
from ZODB.blob import Blob
from ZODB.DB import DB
from zodburi import resolve_uri

import zodbjobs

Run = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]


class Supervised:
    """A supervisor, and what it and its children have said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def saying(self, pattern: str, times: int = 1) -> str:
        """Wait until it has been said so often; returns the last match's group, if it has one."""
        found = until(
            lambda: (
                (
                    len(every := re.findall(pattern, self.said)) >= times
                    or self.process.poll() is not None
                )
                and every
            )
        )
        assert len(found) >= times, self.said
        return str(found[-1])

    @property
    def workers(self) -> list[int]:
        """The process numbers of the first workers."""
        return [int(pid) for pid in self.saying(r"process(?:es)? (\d+(?:, \d+)*)\): ").split(", ")]

    @property
    def server(self) -> int:
        """The process number of the first server."""
        return int(self.saying(r"ZEO \(process (\d+)\)"))

    def status(self) -> int:
        """The status that it ends with; nobody holds the pipe then, so no child is left."""
        status = self.process.wait(PATIENCE)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return status


@pytest.fixture
def supervised(start: Start) -> Iterator[Callable[..., Supervised]]:
    """Starts `zodbjobs worker`, and returns when all of its workers work."""
    every = []

    def supervised(*words: object, processes: int = 2) -> Supervised:
        made = Supervised(start("worker", *words, "--processes", processes))
        every.append(made)
        made.saying(" works with ", processes)
        return made

    yield supervised
    for made in every:
        made.process.kill()
        made.status()
        print(made.said)  # shown if the test failed


@contextlib.contextmanager
def application(uri: str) -> Iterator[Any]:
    """A connection as an application makes it."""
    factory, arguments = resolve_uri(uri)
    with contextlib.closing(DB(factory(), **arguments)) as db:
        connection = db.open()
        yield connection
        transaction.abort()
        connection.close()


def uri_beside(path: Path) -> str:
    (line,) = Path(f"{path}.zeo").read_text().splitlines()
    return line


def at_work(run: Run, path: object, place: Path, number: int, *options: str) -> tuple[str, int]:
    """Put a job that is running then; its id, and the process that runs it."""
    here = place / str(number)
    here.mkdir()
    job_id = run("put", path, "meeting:meet", here, *options).out.strip()
    return job_id, int(until(lambda: (here / "here").exists() and (here / "here").read_text()))


def let_go(place: Path) -> None:
    for here in place.iterdir():
        (here / "go").touch()


def outcome(run: Run, path: object, job_id: str) -> str:
    return str(run("show", path, job_id).out.split()[1])


def test_two_workers_and_an_application_on_one_file(
    run: Run, supervised: Callable[..., Supervised], path: Path, place: Path
) -> None:
    crew = supervised(path, "--threads", "1")
    uri = uri_beside(path)
    assert f"\n  {uri}\n" in crew.said
    assert f"Serving {path} with 2 workers with 1 thread each" in crew.said

    # A thread each: that both jobs run means that both workers took one.
    jobs = [at_work(run, path, place, number) for number in range(2)]
    assert {pid for _, pid in jobs} == set(crew.workers)
    stats = run("stats", path).out
    assert all(str(pid) in stats for pid in crew.workers)
    let_go(place)

    # The application shares data and blobs with them.
    with application(uri) as connection:
        blob = connection.root()["blob"] = Blob(b"from here")
        queue = zodbjobs.get_queue(connection)
        job = queue.put(zodbjobs.Job(sample.copy_blob, blob))
        transaction.commit()
        wait_for(job)
        with job.result.open() as copy:
            assert copy.read() == b"from here, and from there"

    crew.process.terminate()
    assert crew.status() == 0
    assert "Traceback" not in crew.said
    assert [outcome(run, path, job_id) for job_id, _ in jobs] == ["succeeded"] * 2
    assert "no worker is registered" in run("stats", path).out
    assert not Path(f"{path}.zeo").exists()
    assert not Path(f"{path}.sock").exists()


def test_every_command_finds_the_server(
    run: Run, supervised: Callable[..., Supervised], path: Path, place: Path
) -> None:
    supervised(path, "--threads", "1", processes=2)
    job_id, _ = at_work(run, path, place, 1)
    assert "meeting:meet" in run("jobs", path).out
    until(lambda: "active" in run("show", path, job_id).out)
    assert run("cancel", path, job_id).status == 0
    let_go(place)
    assert run("retry", path, job_id).status == 0
    watched = run("watch", path, job_id)
    assert (watched.status, watched.out.split()[1]) == (0, "succeeded")
    assert run("forget", path, job_id).status == 0
    assert run("jobs", path, "--read-only").status == 0
    for more in ([], ["--processes", "2"]):
        problem = run("worker", path, *more).problem
        assert "is held by process" in problem


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies_is_replaced(
    run: Run, supervised: Callable[..., Supervised], path: Path, place: Path, number: int
) -> None:
    crew = supervised(path, "--threads", "1")
    job_id, pid = at_work(run, path, place, 1)
    os.kill(pid, number)
    how = "was killed by SIGKILL" if number == signal.SIGKILL else "ended with status 0"
    if number == signal.SIGTERM:
        let_go(place)
    crew.saying(rf"worker [12] \(process {pid}\) {how}; it starts again now")
    crew.saying(" works with ", 3)
    let_go(place)
    assert run("watch", path, job_id).status == 0
    again = int(crew.saying(r"worker [12] was started again as process (\d+)"))
    crew.process.send_signal(signal.SIGINT)
    assert crew.status() == 0
    assert all(is_gone(pid) for pid in (*crew.workers, again, crew.server))


def test_a_worker_whose_threads_are_stuck_is_replaced(
    run: Run, supervised: Callable[..., Supervised], path: Path, place: Path
) -> None:
    """Its only thread doesn't return from a job that has timed out; others run the next jobs."""
    crew = supervised(path, "--threads", "1")
    stuck, pid = at_work(run, path, place, 1, "--timeout", "0.2")
    crew.saying(rf"worker [12] \(process {pid}\) ended with status 1; it starts again now")
    crew.saying(" works with ", 3)
    assert is_gone(pid)
    assert "1 of its threads didn't return from jobs that had timed out" in crew.said
    assert "another one takes its place. It is at:" in crew.said
    assert "TimedOut" in run("show", path, stuck).out
    after = [at_work(run, path, place, number) for number in (2, 3)]
    again = int(crew.saying(r"worker [12] was started again as process (\d+)"))
    assert {worker for _, worker in after} == {*crew.workers, again} - {pid}
    let_go(place)
    for job_id, _ in after:
        assert run("watch", path, job_id).status == 0
    crew.process.terminate()
    assert crew.status() == 0
    assert outcome(run, path, stuck) == "failed"


@pytest.mark.parametrize("where", [[], ["--address", "127.0.0.1:0"]])
def test_a_server_that_dies_is_replaced(
    run: Run, supervised: Callable[..., Supervised], path: Path, where: list[str]
) -> None:
    """Jobs write all the while, and each does it once."""
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        accounts = connection.root()["accounts"] = [sample.Account() for _ in range(300)]
        queue = zodbjobs.get_queue(connection)
        queue.put_many(zodbjobs.Job(account.deposit, 1) for account in accounts)
        queue.put(zodbjobs.Job(sample.touch, f"{path}.began"), priority=-1)
    crew = supervised(path, *where)
    uri = uri_beside(path)
    os.kill(crew.server, signal.SIGKILL)
    crew.saying(rf"server \(process {crew.server}\) was killed by SIGKILL; it starts again now")
    with application(uri) as connection:
        assert uri_beside(path) == uri
        jobs = list(zodbjobs.get_queue(connection))
        wait_for(jobs)

    def all_done() -> bool:
        return '"finished": 301' in run("stats", path, "--json").out

    until(all_done)
    crew.process.terminate()
    assert crew.status() == 0
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        assert [account.balance for account in connection.root()["accounts"]] == [1] * 300
        outcomes = [job.outcome for job in zodbjobs.get_queue(connection).finished()]
        assert outcomes == ["succeeded"] * 301


def test_without_the_supervisor_all_end(
    run: Run, supervised: Callable[..., Supervised], path: Path, place: Path
) -> None:
    crew = supervised(path)
    job_id, _ = at_work(run, path, place, 1)
    crew.process.kill()
    let_go(place)
    assert crew.status() == -signal.SIGKILL
    until(lambda: all(is_gone(pid) for pid in (*crew.workers, crew.server)))
    assert "Traceback" not in crew.said

    # What it left changes nothing.
    assert Path(f"{path}.zeo").exists()
    assert outcome(run, path, job_id) == "succeeded"
    with contextlib.closing(file_storage(path.parent)):
        assert f"is held by process {os.getpid()}" in run("jobs", path).problem
    crew = supervised(path)
    assert run("jobs", path).status == 0
    crew.process.terminate()
    assert crew.status() == 0


def test_a_stale_file_may_say_anything(run: Run, path: Path) -> None:
    with (
        contextlib.closing(file_storage(path.parent)),
        socket.create_server(("127.0.0.1", 0)) as s,
    ):
        for text in ("", "nonsense", f"zeo://127.0.0.1:{s.getsockname()[1]}", "zeo://x:99999"):
            Path(f"{path}.zeo").write_text(text)
            assert "is held by process" in run("jobs", path).problem


def test_a_signal_to_all_processes_stops_in_order(
    run: Run, supervised: Callable[..., Supervised], path: Path, place: Path
) -> None:
    """As an init system or a terminal may do it."""
    crew = supervised(path)
    job_id, _ = at_work(run, path, place, 1)
    for pid in (crew.server, *crew.workers, crew.process.pid):
        os.kill(pid, signal.SIGTERM)
    let_go(place)
    assert crew.status() == 0
    assert "Traceback" not in crew.said
    assert outcome(run, path, job_id) == "succeeded"


def test_the_same_signal_sent_by_two_stops_in_order(
    run: Run,
    signal_clock: Any,
    supervised: Callable[..., Supervised],
    path: Path,
    place: Path,
) -> None:
    crew = supervised(path)
    job_id, _ = at_work(run, path, place, 1)
    signal_clock.signal(crew.process, signal.SIGINT)
    signal_clock.set(0.99)
    signal_clock.signal(crew.process, signal.SIGINT)
    let_go(place)
    assert crew.status() == 0
    assert outcome(run, path, job_id) == "succeeded"


def test_a_later_signal_ends_all_at_once(
    run: Run,
    signal_clock: Any,
    supervised: Callable[..., Supervised],
    path: Path,
    place: Path,
) -> None:
    crew = supervised(path)
    job_id, _ = at_work(run, path, place, 1)
    signal_clock.signal(crew.process, signal.SIGTERM)
    signal_clock.set(1)
    crew.process.send_signal(signal.SIGINT)
    assert crew.status() == 128 + signal.SIGINT
    assert all(is_gone(pid) for pid in (*crew.workers, crew.server))
    assert not Path(f"{path}.zeo").exists()
    # Whoever comes next runs it again.
    let_go(place)
    crew = supervised(path)
    assert run("watch", path, job_id).status == 0


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """The URI of a configuration that names a database of a PostgreSQL server."""
    with in_postgresql(tmp_path) as place:
        (tmp_path / "zodb.conf").write_text(place.config())
        yield f"zconfig://{tmp_path}/zodb.conf"


@pytest.fixture(params=["zeo", "postgresql"])
def uri(request: pytest.FixtureRequest) -> str:
    """The URI of a database that has a server; name it before `supervised`, which ends first."""
    return str(request.getfixturevalue(request.param))


def test_workers_on_a_server_of_its_own(
    run: Run, uri: str, supervised: Callable[..., Supervised], place: Path
) -> None:
    crew = supervised(uri, "--threads", "1")
    assert f"Serving {uri} with 2 workers with 1 thread each" in crew.said
    jobs = [at_work(run, uri, place, number) for number in range(2)]
    assert {pid for _, pid in jobs} == set(crew.workers)
    let_go(place)
    crew.process.terminate()
    assert crew.status() == 0
    assert [outcome(run, uri, job_id) for job_id, _ in jobs] == ["succeeded"] * 2


def test_it_makes_a_file_if_told(
    run: Run, supervised: Callable[..., Supervised], tmp_path: Path
) -> None:
    crew = supervised(tmp_path / "new.fs", "--create", "--address", tmp_path / "here")
    assert (tmp_path / "here").is_socket()
    assert run("jobs", tmp_path / "new.fs").out == "no such jobs\n"
    crew.process.terminate()
    assert crew.status() == 0
    assert not (tmp_path / "here").exists()


# What goes wrong


def left(path: Path) -> set[str]:
    """Names of files that a server leaves only while it runs."""
    return {p.name for p in path.parent.iterdir() if p.suffix in (".zeo", ".sock")}


def test_held_file(run_process: Run, path: Path) -> None:
    with contextlib.closing(file_storage(path.parent)):
        problem = run_process("worker", path, "--processes", "2").problem
    assert f"{path} is held by process {os.getpid()}" in problem
    assert left(path) == set()


def test_address_in_use(run_process: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "taken"))
        unix.listen()
        port = f"127.0.0.1:{server.getsockname()[1]}"
        for place in (port, str(tmp_path / "taken")):
            words = ["worker", tmp_path / "new.fs", "--create", "--address", place]
            problem = run_process(*words).problem
            assert place in problem
            assert "--address" in problem
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_unknown_queue(run_process: Run, path: Path) -> None:
    problem = run_process("worker", path, "--processes", "2", "--queue", "mail").problem
    assert "there is no queue 'mail'" in problem
    assert left(path) == set()
    with contextlib.closing(file_storage(path.parent)):
        pass  # nobody holds it


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nonsense", "nonsense isn't an address; write HOST:PORT"),
        ("localhost:99999", "isn't an address"),
        ("/nosuch/place", "can't make a socket in /nosuch"),
        ("/tmp/" + "x" * 200, "is too long for a Unix socket"),
        ("/tmp/a?b", "can't be in a URI"),
        ("/etc/passwd", "is there already, and no socket"),
        ("no.such.host.invalid:80", "can't listen at no.such.host.invalid:80"),
    ],
)
def test_bad_address(run: Run, path: Path, place: str, says: str) -> None:
    assert says in run("worker", path, "--address", place).problem


def test_a_path_that_is_too_long(run: Run, tmp_path: Path) -> None:
    problem = run("worker", tmp_path / ("x" * 100), "--create", "--processes", "2").problem
    assert "with --address" in problem
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["file://{path}", "memory://x", "demo:(memory://a)/(memory://b)"])
def test_a_uri_for_one_process(run: Run, path: Path, uri: str) -> None:
    problem = run("worker", uri.format(path=path), "--processes", "2").problem
    assert "is for one process; --processes takes the path" in problem


@pytest.mark.parametrize("option", [["--create"], ["--address", "8100"]])
def test_options_that_are_for_paths(run: Run, option: list[str]) -> None:
    problem = run("worker", "zeo://localhost:1", "--processes", "2", *option).problem
    assert "are for paths" in problem


def test_missing_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "missing.fs"
    assert f"there is no file {path}" in run("worker", path, "--processes", "2").problem
    assert list(tmp_path.iterdir()) == []
