"""``--paste``: commands on the database of a Pyramid application, and the worker in it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyramid_app
import pytest
import sample
import webtest
from patience import ended, until
from storages import file_storage

from zodbjobs import context, insights

Run = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]

_INI = """
[app:main]
paste.app_factory = {factory}
zodbconn.uri = {uri}

[app:other]
paste.app_factory = pyramid_app:make_app_without_jobs
zodbconn.uri = {uri}
"""

# What Pyramid imports warns of its own end.
_QUIET = {"PYTHONWARNINGS": "ignore"}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    context.unregister("pyramid")


@pytest.fixture
def ini(tmp_path: Path) -> Callable[..., Path]:
    """Writes the configuration of the application, with the URI of its database."""

    def ini(uri: str, factory: str = "pyramid_app:make_app") -> Path:
        path = tmp_path / "production.ini"
        path.write_text(_INI.format(uri=uri, factory=factory))
        return path

    return ini


@pytest.fixture
def path(path: Path) -> Path:
    """The file, with what the application needs in it."""
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        connection.root()["account"] = sample.Account()
        connection.root()["office"] = pyramid_app.Office()
    return path


def working(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    said = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if " works with " in line:
            return process
    raise AssertionError("".join(said))


@contextlib.contextmanager
def browser(uri: str) -> Iterator[webtest.TestApp]:
    """The application in this process, as Ada."""
    app = pyramid_app.make_app(**{"zodbconn.uri": uri})
    asked = webtest.TestApp(app, extra_environ={"REMOTE_ADDR": "127.0.0.1"}, lint=False)
    asked.get("/login", {"who": "ada"})
    try:
        yield asked
    finally:
        for db in app.registry._zodb_databases.values():
            db.close()


@pytest.mark.parametrize("more", [[], ["--processes", "2"]])
def test_a_worker_has_the_application(
    start: Start, run: Run, zeo: str, ini: Callable[..., Path], more: list[str]
) -> None:
    """A worker without it parks its jobs, and says what they need."""
    with browser(zeo) as asked:
        at = {"SCRIPT_NAME": "/shop"}
        first = asked.post("/put", extra_environ=at).json["id"]
        without = working(start("worker", zeo, **_QUIET))
        said = ["jobs", "--paste", ini(zeo), "--json"]

        def rows() -> dict[str, Any]:
            return {row["id"]: row for row in json.loads(run(*said).out)}

        until(lambda: rows()[first]["parked"])
        assert "a worker started with --paste" in rows()[first]["parked"]
        without.send_signal(signal.SIGTERM)
        assert ended(without) == 0
        assert run("retry", "--paste", ini(zeo), first).status == 0
        process = working(start("worker", "--paste", ini(zeo), *more, **_QUIET))
        second = asked.post("/put", extra_environ=at).json["id"]
        until(lambda: {rows()[each]["state"] for each in (first, second)} == {"succeeded"})
        with asked.app.registry["zodbjobs.db"].transaction() as connection:
            job = insights.find_job(connection, second)
            assert job is not None
            assert job.result["home"] == "http://localhost/shop/"
        assert asked.get(f"/jobs/jobs/{second}").status_int == 200
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0


def test_commands_need_no_application(run: Run, path: Path, ini: Callable[..., Path]) -> None:
    """They look into its database, also into a file that another process has open."""
    file = ini(f"file://{path}", "sample:fail")
    done = run("put", "--paste", file, "sample:nothing")
    assert done.status == 0
    with contextlib.closing(file_storage(path.parent)):
        found = run("jobs", "--paste", f"{file}#main", "--read-only", "--json")
        assert [row["id"] for row in json.loads(found.out)] == [done.out.strip()]
        assert "is held by process" in run("jobs", "--paste", file).problem


_PIPELINES = """
[pipeline:main]
pipeline = as-it-is other

[filter:as-it-is]
paste.filter_factory = sample:fail

[filter-app:other]
paste.filter_app_factory = sample:fail
next = portal

[app:portal]
paste.app_factory = sample:fail
zodbconn.uri = file://%(where)s

[composite:both]
use = call:sample:fail
/ = main
"""


def test_an_application_behind_filters_and_variables(run: Run, path: Path) -> None:
    """Of the application alone its settings are read, wherever it is in the file."""
    file = path.with_name("production.ini")
    file.write_text(_PIPELINES)
    for name in ("", "#main", "#other", "#portal"):
        done = run("put", "--paste", f"{file}?where={path}{name}", "sample:nothing")
        assert done.status == 0, done.err
    problem = run("jobs", "--paste", f"{file}?where={path}&password=x#both").problem
    assert "production.ini?where=***&password=***#both has no setting" in problem
    assert "FILE#NAME" in problem
    assert "where" in run("jobs", "--paste", file).problem
    gone = run("jobs", "--paste", f"{file.with_name('none.ini')}?where={path}")
    assert "none.ini' does not exist" in gone.problem


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["nothing.ini"], "'nothing.ini' does not exist"),
        (["production.ini#nothing"], "can't use production.ini#nothing ("),
        (["production.ini", "--create"], "--create and --address are for paths"),
        (["production.ini", "--processes", "2"], "say zodbconn.uri = zeo://HOST:PORT there"),
        (["production.ini#other"], "call config.include('zodbjobs.pyramid') in it"),
    ],
)
def test_what_a_worker_refuses(
    run: Run, path: Path, ini: Callable[..., Path], words: list[str], problem: str
) -> None:
    ini(f"file://{path}")
    assert problem in run("worker", "--paste", *words).problem


def test_an_application_that_cannot_be_made(
    run_process: Run, path: Path, ini: Callable[..., Path]
) -> None:
    done = run_process("worker", "--paste", ini(f"file://{path}", "sample:fail"), **_QUIET)
    assert done.status == 2
    assert "can't be made (TypeError" in done.err


def test_a_file_that_the_server_has_open(
    run_process: Run, path: Path, ini: Callable[..., Path]
) -> None:
    with contextlib.closing(file_storage(path.parent)):
        done = run_process("worker", "--paste", ini(f"file://{path}"), **_QUIET)
    assert done.status == 2
    assert "say zodbconn.uri = zeo://HOST:PORT" in done.err


def test_a_file_without_a_database(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "empty.ini"
    file.write_text("[app:main]\npaste.app_factory = pyramid_app:make_app\n")
    assert "has no setting zodbconn.uri; add it" in run("jobs", "--paste", file).problem
    file.write_text("no ini at all")
    assert "can't use" in run("jobs", "--paste", file).problem
