"""The load guard: when it refuses a job, what it says, and what the job manager makes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sample
import transaction
from zope.component import getGlobalSiteManager

import zodbjobs
from zodbjobs import defaults
from zodbjobs.errors import BadArgument, Overloaded
from zodbjobs.interfaces import ILoadGuard
from zodbjobs.load_guard import LoadGuard
from zodbjobs.testing import run_jobs


class System:
    """A machine of four processors, as psutil tells of it."""

    def __init__(self) -> None:
        self.load, self.memory, self.disk = 1.0, 10.0, 10.0
        self.paths: list[str] = []

    def getloadavg(self) -> tuple[float, float, float]:
        return self.load, 99.0, 99.0

    def cpu_count(self) -> int:
        return 4

    def virtual_memory(self) -> Any:
        return SimpleNamespace(percent=self.memory)

    def disk_usage(self, path: str) -> Any:
        self.paths.append(path)
        if path == "/not/there":
            raise FileNotFoundError(path)
        return SimpleNamespace(percent=self.disk)


@pytest.fixture
def system() -> System:
    return System()


@pytest.fixture
def registered() -> Iterator[Any]:
    """Registers a guard; none is left at the end."""
    components = getGlobalSiteManager()

    def register(guard: Any) -> None:
        components.registerUtility(guard, ILoadGuard)

    yield register
    components.unregisterUtility(provided=ILoadGuard)


def a_job(owner: str | None = None) -> zodbjobs.Job:
    job = zodbjobs.Job(sample.nothing)
    job.owner = owner
    return job


def test_without_bounds_it_refuses_nothing_and_needs_no_psutil(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    guard = LoadGuard()
    assert guard(a_job("ada"))
    guard.check(a_job())
    assert ILoadGuard.providedBy(guard)
    LoadGuard(running_per_owner=1)


@pytest.mark.parametrize("bound", ["cpu", "memory", "disk"])
def test_without_psutil_it_says_how_to_get_it(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ImportError, match=r"pip install zodbjobs\[load\]"):
        LoadGuard(**{bound: 90})  # type: ignore[arg-type]


def test_the_machine_as_it_is() -> None:
    guard = LoadGuard(cpu=1_000_000, memory=101, disk=101)
    assert guard(a_job())
    with pytest.raises(Overloaded):
        LoadGuard(memory=0.001).check(a_job())


@pytest.mark.promise(165)
def test_cpu(system: System) -> None:
    guard = LoadGuard(cpu=90, system=system)
    assert guard(a_job())
    system.load = 3.6
    assert not guard(a_job())
    with pytest.raises(Overloaded) as found:
        guard.check(a_job())
    assert str(found.value) == (
        "the load of the machine is 90 % of its processors; no new jobs from 90 % on; try again "
        "in 60 seconds"
    )
    assert found.value.retry_after == defaults.LOAD_RETRY_SECONDS
    assert found.value.reason == "cpu"
    system.load = 3.5
    assert guard(a_job())


def test_memory(system: System) -> None:
    guard = LoadGuard(memory=80, system=system)
    assert guard(a_job())
    system.memory = 80.5
    with pytest.raises(Overloaded, match="80 % of the machine's memory are in use") as found:
        guard.check(a_job())
    assert (found.value.reason, found.value.retry_after) == ("memory", 60)


def test_disk(system: System) -> None:
    guard = LoadGuard(disk=80, path="/data", system=system)
    assert guard(a_job())
    system.disk = 99
    with pytest.raises(Overloaded, match="99 % of the disk are in use") as found:
        guard.check(a_job())
    assert (found.value.reason, found.value.retry_after) == ("disk", 600)
    assert set(system.paths) == {"/data"}


def test_a_path_that_is_not_there(system: System) -> None:
    with pytest.raises(FileNotFoundError):
        LoadGuard(disk=80, path="/not/there", system=system)


@pytest.mark.parametrize("bound", [0, -1, "90", True, float("nan"), [1]])
def test_bounds_that_are_none(bound: Any, system: System) -> None:
    for name in ("cpu", "memory", "disk", "running_per_owner"):
        with pytest.raises(BadArgument, match=f"the bound {name} of a load guard"):
            LoadGuard(**{name: bound}, system=system)


def test_what_cannot_be_measured_refuses_nothing(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    guard = LoadGuard(memory=80, disk=80, system=system)
    guard._path = "/not/there"
    assert guard(a_job())
    assert "the load guard can't measure disk" in caplog.text
    system.memory = 90
    assert not guard(a_job())


# Jobs of an owner


def test_running_jobs_of_an_owner(db: Any, queue: Any, connection: Any) -> None:
    guard = LoadGuard(running_per_owner=2)
    queue.put_many([a_job("ada"), a_job("bola"), a_job("ada")])
    transaction.commit()
    with pytest.raises(Overloaded, match="'ada' has 2 jobs that wait or run") as found:
        guard.check(a_job("ada"), connection)
    assert (found.value.reason, found.value.retry_after) == ("owner", 30)
    guard.check(a_job("bola"), queue)
    guard.check(a_job(), connection)
    run_jobs(db)
    transaction.begin()
    guard.check(a_job("ada"), connection)


def test_it_looks_at_so_many_of_an_owner(
    queue: Any, connection: Any, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "OWNER_LOOKS", 3)
    guard = LoadGuard(running_per_owner=1)
    queue.put(a_job("ada"), begin_after=zodbjobs.clock.to_datetime(2**51))
    transaction.commit()
    queue.put_many([a_job("ada") for _ in range(2)])
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    with pytest.raises(Overloaded):
        guard.check(a_job("ada"), connection)
    queue.put(a_job("ada"))
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    guard.check(a_job("ada"), connection)


# The job manager


@pytest.mark.promise(165)
def test_the_job_manager_asks_it(
    queue: Any, connection: Any, registered: Any, system: System, caplog: Any
) -> None:
    registered(LoadGuard(memory=80, running_per_owner=1, system=system))
    manager = zodbjobs.JobManager()
    manager.check(a_job("ada"), site=queue)
    assert manager.put(a_job("ada"), site=queue) is not None
    assert manager.put(a_job("ada"), site=queue) is None
    assert "'ada' has 1 jobs that wait or run" in caplog.text
    system.memory = 90
    assert manager.put(a_job(), site=queue) is None
    with pytest.raises(Overloaded) as found:
        manager.check(a_job(), site=queue)
    assert found.value.retry_after == 60
    assert len(queue) == 1


def test_a_guard_of_the_application_s_own(queue: Any, registered: Any) -> None:
    manager = zodbjobs.JobManager()
    manager.check(a_job(), site=queue)
    registered(lambda job: job.owner == "ada")
    manager.check(a_job("ada"), site=queue)
    with pytest.raises(Overloaded, match="no new jobs are taken now; try again in 60") as found:
        manager.check(a_job(), site=queue)
    assert found.value.reason == "guard"


def test_a_guard_that_breaks_is_told(queue: Any, registered: Any) -> None:
    def broken(job: Any) -> bool:
        raise ZeroDivisionError

    registered(broken)
    with pytest.raises(ZeroDivisionError):
        zodbjobs.JobManager().put(a_job(), site=queue)
