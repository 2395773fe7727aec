"""The ZCML files, loaded by the real zope.configuration."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
import ZODB
import zope.component.testing
from ZODB.MappingStorage import MappingStorage
from zope.component import getUtility, provideHandler
from zope.configuration import xmlconfig
from zope.container.interfaces import IContainer
from zope.event import notify
from zope.lifecycleevent.interfaces import IObjectAddedEvent
from zope.processlifetime import (
    DatabaseOpened,
    DatabaseOpenedWithRoot,
    IDatabaseOpened,
    IDatabaseOpenedWithRoot,
)

import zodbjobs
from zodbjobs import Schedule, web_worker
from zodbjobs.defaults import CONTAINER_KEY, QUEUES_KEY
from zodbjobs.errors import BadArgument, NotInstalled
from zodbjobs.interfaces import IJobManager
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.queues import Queues


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    zope.component.testing.setUp()
    yield
    zope.component.testing.tearDown()


@pytest.fixture
def open_db() -> Iterator[Callable[..., Any]]:
    """Opens new databases in memory, which are of one family."""
    family: dict[str, Any] = {}

    def open_db(name: str = "main") -> Any:
        return ZODB.DB(MappingStorage(), databases=family, database_name=name)

    yield open_db
    for db in family.values():
        web_worker.stop_worker(db)
        db.close()


def load(*names: str) -> None:
    for name in names:
        xmlconfig.file(name, zodbjobs)


def root_of(db: Any) -> dict[str, Any]:
    with db.transaction() as connection:
        return dict(connection.root())


def open_connections(db: Any) -> int:
    return sum(info["opened"] is not None for info in db.connectionDebugInfo())


def run_one(db: Any) -> Any:
    """Put a job, and wait until a worker has run it."""
    connection = db.open(transaction.TransactionManager())
    try:
        job = zodbjobs.get_queue(connection).put(zodbjobs.Job(sample.add, 20, 3))
        connection.transaction_manager.commit()
        zodbjobs.testing.wait_for(job, timeout=60)
        connection.sync()
        return job.result
    finally:
        connection.transaction_manager.abort()
        connection.close()


@pytest.mark.promise(169)
def test_configure_registers_the_manager() -> None:
    load("configure.zcml")
    assert type(getUtility(IJobManager)) is zodbjobs.JobManager


@pytest.mark.promise(146, 170)
def test_single_installs_into_the_database_that_was_opened(open_db: Any) -> None:
    load("configure.zcml", "single.zcml")
    db = open_db()
    notify(DatabaseOpened(db))
    with db.transaction() as connection:
        root = connection.root()
        assert list(root[QUEUES_KEY]) == [""]
        assert IContainer.providedBy(root[CONTAINER_KEY])
        assert root[QUEUES_KEY]._p_jar is root[CONTAINER_KEY]._p_jar is connection
    assert open_connections(db) == 0


@pytest.mark.promise(145, 146, 170)
@pytest.mark.parametrize("order", [("main", "async"), ("async", "main")])
def test_multidb_installs_into_the_other_database(open_db: Any, order: Any) -> None:
    load("multidb.zcml")
    family = {name: open_db(name) for name in order}
    notify(DatabaseOpened(family["main"]))
    with family["main"].transaction() as connection:
        other = connection.get_connection("async")
        for key in (QUEUES_KEY, CONTAINER_KEY):
            found = connection.root()[key]
            assert found._p_jar is other
            assert found is other.root()[key]
    assert [open_connections(db) for db in family.values()] == [0, 0]


@pytest.mark.promise(145)
def test_jobs_work_across_the_databases(open_db: Any) -> None:
    load("configure.zcml", "multidb.zcml")
    main, other = open_db(), open_db("async")
    notify(DatabaseOpened(main))
    with main.transaction() as connection:
        account = connection.root()["account"] = sample.Account()
        connection.add(account)
        manager = getUtility(IJobManager)
        job_id = manager.put(zodbjobs.Job(account.deposit, 5), site=account)
        assert manager.get(job_id, site=account)._p_jar.db() is other
    zodbjobs.testing.run_jobs(main)
    with main.transaction() as connection:
        account = connection.root()["account"]
        assert account.balance == 5
        assert account._p_jar is connection
        assert manager.get(job_id, site=account).result == 5


@pytest.mark.promise(146, 170)
@pytest.mark.parametrize("name", ["single.zcml", "multidb.zcml"])
def test_the_next_start_changes_nothing(open_db: Any, name: str) -> None:
    load(name)
    added: list[Any] = []
    provideHandler(lambda event: added.append(type(event.object)), [IObjectAddedEvent])
    db, other = open_db(), open_db("async")
    notify(DatabaseOpened(db))
    assert added == [Queues, Queue, zodbjobs.JobContainer]
    before = (db.lastTransaction(), other.lastTransaction())
    notify(DatabaseOpened(db))
    assert (db.lastTransaction(), other.lastTransaction()) == before
    assert len(added) == 3


@pytest.mark.promise(146, 170)
@pytest.mark.parametrize("key", [QUEUES_KEY, CONTAINER_KEY])
def test_an_error_of_a_subscriber_stops_the_start(open_db: Any, key: str) -> None:
    def refuse(event: Any) -> None:
        if event.newName == key:
            raise ArithmeticError("not with me")

    load("single.zcml")
    provideHandler(refuse, [IObjectAddedEvent])
    db = open_db()
    with pytest.raises(ArithmeticError, match="not with me"):
        notify(DatabaseOpened(db))
    assert key not in root_of(db)
    assert open_connections(db) == 0


@pytest.mark.promise(146, 170)
def test_without_the_other_database_multidb_stops_the_start(open_db: Any) -> None:
    load("multidb.zcml")
    db = open_db()
    with pytest.raises(KeyError, match="async"):
        notify(DatabaseOpened(db))
    assert root_of(db) == {}
    assert open_connections(db) == 0


@pytest.mark.promise(146, 170)
def test_installers_leave_the_callers_transaction_alone(open_db: Any) -> None:
    load("single.zcml")
    db = open_db()
    connection = db.open()
    connection.root()["mine"] = 1
    notify(DatabaseOpened(db))
    assert connection.root()["mine"] == 1
    transaction.abort()
    assert set(connection.root()) == {QUEUES_KEY, CONTAINER_KEY}
    connection.close()


@pytest.mark.parametrize("name", ["single.zcml", "multidb.zcml"])
def test_the_worker_runs_jobs_in_the_web_process(open_db: Any, name: str) -> None:
    load(name, "worker.zcml")
    db, _ = open_db(), open_db("async")
    notify(DatabaseOpened(db))
    notify(DatabaseOpenedWithRoot(db))
    assert run_one(db) == 23
    web_worker.stop_worker(db)
    with db.transaction() as connection:
        assert len(zodbjobs.get_queues(connection).workers) == 0


@pytest.mark.parametrize("name", ["single.zcml", "multidb.zcml"])
def test_the_worker_waits_for_no_order_of_subscribers(open_db: Any, name: str) -> None:
    """zope.app.appsetup sends the second event from a subscriber of the first."""

    def send(event: Any) -> None:
        notify(DatabaseOpenedWithRoot(event.database))

    load("worker.zcml")
    provideHandler(send, [IDatabaseOpened])
    load(name)
    db, other = open_db(), open_db("async")
    notify(DatabaseOpened(db))
    assert run_one(db) == 23
    with db.transaction() as connection:
        home = zodbjobs.get_queues(connection)._p_jar.db()
        assert home is (db if name == "single.zcml" else other)


def test_one_worker_per_database(open_db: Any) -> None:
    load("single.zcml", "worker.zcml")
    first, second = open_db(), open_db("second")
    for db in (first, first, second):
        notify(DatabaseOpenedWithRoot(db))
    for db in (first, second):
        with db.transaction() as connection:
            assert len(zodbjobs.get_queues(connection).workers) == 1


def test_a_stopped_worker_can_be_started_again(open_db: Any) -> None:
    load("single.zcml", "worker.zcml")
    db = open_db()
    web_worker.stop_worker(db)
    notify(DatabaseOpenedWithRoot(db))
    web_worker.stop_worker(db)
    notify(DatabaseOpenedWithRoot(db))
    assert run_one(db) == 23


def test_a_worker_declares_what_an_installer_brings(open_db: Any) -> None:
    nightly = Schedule("nightly", "@daily", sample.nothing)
    weekly = Schedule("weekly", "@weekly", sample.nothing)
    provideHandler(zodbjobs.QueueInstaller(schedules=[nightly]))
    provideHandler(zodbjobs.QueueInstaller(schedules=[weekly]), [IDatabaseOpenedWithRoot])
    load("single.zcml", "worker.zcml")
    db, other = open_db(), open_db("other")
    notify(DatabaseOpened(db))
    notify(DatabaseOpenedWithRoot(db))
    with db.transaction() as connection:
        schedules = zodbjobs.get_queues(connection).schedules
        assert [(one.name, one.declared) for one in schedules.values()] == [
            ("nightly", True),
            ("weekly", True),
        ]
        (record,) = schedules.parent.workers.values()
        assert sorted(record.schedules) == ["nightly", "weekly"]
        schedules["nightly"].pause("not in August")
    zodbjobs.install(other)
    for some, names in ((db, ["by hand", "nightly", "weekly"]), (other, ["by hand"])):
        own = Schedule("by hand", "@daily", sample.nothing)
        with zodbjobs.Worker(some, schedules=[own]), some.transaction() as connection:
            there = zodbjobs.get_queues(connection).schedules
            assert list(there) == names
            assert "nightly" not in there or there["nightly"].paused == "not in August"


def test_two_installers_bring_different_schedules_of_a_name(open_db: Any) -> None:
    db = open_db()
    first, second = (
        zodbjobs.QueueInstaller(schedules=[Schedule("nightly", when, sample.nothing)])
        for when in ("@daily", "@weekly")
    )
    for _ in range(2):  # there are two events for which one may be subscribed
        first(DatabaseOpened(db))
    with pytest.raises(BadArgument, match="the schedule 'nightly' is declared twice"):
        second(DatabaseOpened(db))
    with pytest.raises(BadArgument, match="the schedule 'nightly' is declared twice"):
        zodbjobs.Worker(db, schedules=second.schedules)
    with pytest.raises(TypeError, match="schedules is a list"):
        zodbjobs.QueueInstaller(schedules=first.schedules[0])  # type: ignore[arg-type]


def test_the_environment_says_how_many_threads(
    open_db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("worker.zcml")
    db = open_db()
    monkeypatch.setenv("ZODBJOBS_THREADS", "three")
    with pytest.raises(BadArgument, match=r"ZODBJOBS_THREADS.*'three'"):
        notify(DatabaseOpenedWithRoot(db))
    monkeypatch.setenv("ZODBJOBS_THREADS", "0")
    notify(DatabaseOpenedWithRoot(db))
    assert root_of(db) == {}
    load("single.zcml")
    monkeypatch.setenv("ZODBJOBS_THREADS", "3")
    notify(DatabaseOpenedWithRoot(db))
    with db.transaction() as connection:
        (record,) = zodbjobs.get_queues(connection).workers.values()
        assert record.threads == 3


def test_without_installers_the_worker_says_what_is_missing(open_db: Any) -> None:
    load("worker.zcml")
    db = open_db()
    with pytest.raises(NotInstalled, match=r"zodbjobs\.install"):
        notify(DatabaseOpenedWithRoot(db))
    assert open_connections(db) == 0


@pytest.mark.process
def test_the_worker_stops_with_its_process(tmp_path: Path) -> None:
    """Nothing is lost, and the worker has signed off."""
    path = str(tmp_path / "Data.fs")
    script = Path(__file__).with_name("web_process.py")
    command = [sys.executable, "-W", "error", str(script), path]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (ended.returncode, ended.stderr) == (0, "")
    db = ZODB.DB(path)
    try:
        with db.transaction() as connection:
            assert len(zodbjobs.get_queues(connection).workers) == 0
        zodbjobs.testing.run_jobs(db)
        with db.transaction() as connection:
            results = [job.result for job in zodbjobs.get_queue(connection).finished()]
            assert sorted(results) == [3, 4]
    finally:
        db.close()


@contextlib.contextmanager
def _server(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A web process in which a job runs."""
    script = Path(__file__).with_name("web_server.py")
    server = subprocess.Popen(
        [sys.executable, str(script), str(path)], stdout=subprocess.PIPE, text=True
    )
    with server:
        try:
            _read_to(server, "begun")
            yield server
        finally:
            server.kill()


def _read_to(server: subprocess.Popen[str], start: str) -> None:
    """Read what the server writes, up to a line that begins with `start`."""
    assert server.stdout is not None
    while not (line := server.stdout.readline()).startswith(start):
        assert line, f"it ended before it wrote {start!r}"


def _ended(path: Path) -> list[tuple[str, Any, int]]:
    """Outcome, result and interruptions of each job."""
    with contextlib.closing(ZODB.DB(str(path))) as db, db.transaction() as connection:
        return [
            (job.outcome, job.result, job.interruptions)
            for job in zodbjobs.get_queue(connection).finished()
        ]


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_job_may_end_when_the_server_gets_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    path, go_on = tmp_path / "Data.fs", tmp_path / "go on"
    with _server(path) as server:
        server.send_signal(number)
        _read_to(server, "the workers of this process stop")
        go_on.touch()
        assert server.wait(60) == 0
    assert _ended(path) == [("succeeded", "done", 0)]


@pytest.mark.process
def test_a_second_signal_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that it interrupts goes back."""
    path = tmp_path / "Data.fs"
    with _server(path) as server:
        server.send_signal(signal.SIGTERM)
        # Those within the first second are the same one; a third one is the end.
        while server.poll() is None:
            server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.2)
        assert server.returncode in (0, -signal.SIGTERM)
    (tmp_path / "go on").touch()
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with contextlib.closing(ZODB.DB(str(path))) as db:
        zodbjobs.testing.run_jobs(db)
    assert _ended(path) == [("succeeded", "done", 1)]
