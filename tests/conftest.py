"""Fixtures for all tests, and the report of the promises that they cover."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from hypothesis import HealthCheck, settings
from storages import MAKERS, file_storage, stop_servers

import zodbjobs
from zodbjobs.stored import keys

# How long an example takes is the machine's affair.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _fresh_sample() -> Iterator[None]:
    sample.gate.clear()
    sample.noted.clear()
    # A key is larger than the one before it, which a test with the same clock may have made.
    keys._last_now = 0
    yield
    sample.gate.set()
    transaction.abort()


@pytest.fixture(autouse=True)
def _expected_errors_are_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Failing jobs log errors; `caplog` has them."""
    caplog.set_level(logging.INFO, logger="zodbjobs")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Any]:
    """An open database on a file, with the queues and the container in it."""
    opened = file_storage(tmp_path)
    zodbjobs.install(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="session", autouse=True)
def _servers_are_stopped() -> Iterator[None]:
    """Storages start their servers when they are first used."""
    yield
    stop_servers()


@pytest.fixture(params=sorted(MAKERS))
def any_db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """The same on each storage in turn."""
    with MAKERS[request.param](tmp_path) as place:
        opened = place.open()
        zodbjobs.install(opened)
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
        "--promises", action="store_true", help="list the promises and the tests that cover them"
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.getoption("--promises"):
        return
    covered: dict[int, list[str]] = {}
    for item in session.items:
        for marker in item.iter_markers("promise"):
            for number in marker.args:
                covered.setdefault(number, []).append(item.nodeid)
    for number in sorted(covered):
        names = sorted({name.partition("[")[0] for name in covered[number]})
        print(f"{number:>4}  {names[0]}")
        for name in names[1:]:
            print(f"      {name}")
    pytest.exit(f"{len(covered)} promises are covered", returncode=0)
