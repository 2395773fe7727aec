"""Fixtures for all tests, and the option that lists the promises with their tests."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promises
import pytest
import sample
import transaction
from hypothesis import HealthCheck, settings
from storages import MAKERS, SERVERS, file_storage, stop_servers, templates

import zodbjobs
from zodbjobs.stored import job_index
from zodbjobs.stored.lifecycle import keys

# How long an example takes is the machine's affair.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# Fixtures that start processes or servers.
_STARTING = {"postgresql", "run_process", "start", "zeo"}

# The audit events of starting a process.
_STARTS = {"os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen"}

_allowed = True


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """The tests and what their modules import stay: garbage is never looked for among these."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # -m is to see it
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a process or a server, as far as fixtures and parameters tell."""
    for item in items:
        assert isinstance(item, pytest.Function)
        params = item.callspec.params.values() if hasattr(item, "callspec") else ()
        has_server = any(isinstance(value, str) and value in SERVERS for value in params)
        if has_server or _STARTING & set(item.fixturenames):
            item.add_marker("process")


@pytest.fixture(autouse=True)
def _processes_are_for_marked_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    global _allowed
    _allowed = request.node.get_closest_marker("process") is not None
    yield
    _allowed = True


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _allowed and event in _STARTS:
        raise AssertionError(f"a test that starts a process is marked with it ({event} {args})")


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def _fresh_sample() -> Iterator[None]:
    sample.gate.clear()
    sample.noted.clear()
    # A key is larger than the one before it, which a test with the same clock may have made.
    keys._last_now = job_index._last_place = 0
    yield
    sample.gate.set()
    transaction.abort()


@pytest.fixture(autouse=True)
def _expected_errors_are_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Failing jobs log errors; `caplog` has them."""
    caplog.set_level(logging.INFO, logger="zodbjobs")


@pytest.fixture(autouse=True)
def _level_of_logs() -> Iterator[None]:
    """Commands set it as their application says."""
    before = logging.root.level
    yield
    logging.root.setLevel(before)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Any]:
    """An open database on a file, with the queues and the container in it."""
    opened = file_storage(tmp_path, installed=True)
    yield opened
    opened.close()


@pytest.fixture(scope="session", autouse=True)
def _servers_are_stopped() -> Iterator[None]:
    """Storages start their servers when they are first used."""
    templates.make()
    yield
    stop_servers()


@pytest.fixture(params=sorted(MAKERS))
def any_db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """The same on each storage in turn."""
    with MAKERS[request.param](tmp_path, True) as place:
        opened = place.open()
        yield opened
        opened.close()


@pytest.fixture
def connection(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A connection of the thread's transaction manager to `any_db`, if the test has it,
    else to `db`.
    """
    name = "any_db" if "any_db" in request.fixturenames else "db"
    opened = request.getfixturevalue(name).open()
    yield opened
    transaction.abort()
    opened.close()


@pytest.fixture
def queue(connection: Any) -> Any:
    """The default queue."""
    return zodbjobs.get_queue(connection)


@pytest.fixture
def account(connection: Any) -> sample.Account:
    """A stored object of the application's."""
    stored = connection.root()["account"] = sample.Account()
    transaction.commit()
    return stored


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--promises", action="store_true", help="list the promises and the tests that show them"
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.getoption("--promises"):
        return
    known, shown = promises.read(), promises.shown_by(session.items)
    faults = promises.faults(known, shown)
    print("\n".join([*promises.listing(known, shown), *faults]))
    holding = sum(promise.holds for promise in known.values())
    pytest.exit(
        f"{len(known)} promises, {holding} of them hold now; {len(faults)} faults",
        returncode=1 if faults else 0,
    )
