"""A real Plone with ZEO and worker processes: its page, and 500 documents while workers die."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import plone_script
import pytest
import requests
import transaction
import ZODB
from ZEO.ClientStorage import ClientStorage
from zope_instance import HOW_TO, PATIENCE, Instance, blocks, instance, until

import zodbjobs
from zodbjobs import insights

PAGE = HOW_TO / "plone.md"

pytestmark = pytest.mark.skipif(
    os.environ.get("ZODBJOBS_HOME") == "plone-6.1" and not os.environ.get("ZODBJOBS_HOME_IN_FULL"),
    reason="the time is spent on the oldest and the newest Plone",
)

_ID = r'"id": "(\d+)"'


@pytest.fixture(scope="module")
def plone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance made of the page."""
    with instance(tmp_path_factory.mktemp("plone"), PAGE) as made:
        yield made


# The page


def test_every_command_of_the_page(plone: Instance) -> None:
    """From pip, which has run by now, to a moving bar."""
    job_id = ""
    for block in blocks("From pip to a moving bar", PAGE):
        for line in block.text.splitlines() if block.language == "console" else ():
            words = shlex.split(line.removeprefix("$ ").replace("PYTHONPATH=. ", ""))
            run_line(plone, [Path(words[0]).name, *words[1:]], job_id)
            if "worker" in words:
                job_id = push_the_button(plone)
    for process in plone.processes[1:]:
        process.stop()


def run_line(plone: Instance, words: list[str], job_id: str) -> None:
    program, *rest = words
    if program == "pip":
        assert "zodbjobs[plone]" in rest
        assert version("Plone").startswith(("6.0.", "6.1.", "6.2."))
    elif program == "mkwsgiinstance":
        assert rest == ["-d", "instance", "-u", "admin:secret"]  # which the fixture has made
    elif program == "runzeo":
        assert rest == ["-C", "zeo.conf"]
        plone.start_zeo()
    elif program == "zconsole":
        plone.run(program, *rest)
    elif program == "runwsgi":
        assert rest == ["instance/etc/zope.ini"]
        plone.start_web()
    elif rest[:1] == ["worker"]:
        plone.start(program, *rest).says("Serving instance/etc/zope.conf with 4 threads")
    elif program == "zodbjobs":
        written = plone.run(program, *rest[:-1], job_id)
        assert "succeeded" in written
        assert f"20 in http://127.0.0.1:{plone.port}/Plone/minutes" in written
    else:
        assert words == ["python3", "-m", "venv", ".venv"]


def push_the_button(plone: Instance) -> str:
    """What a browser does; returns the id of the job."""
    path = "/Plone/minutes/publish-all"
    form = plone.get(path)
    found = re.search(r'name="_authenticator"[^>]*value="(\w+)"', form.text)
    assert found, form
    answer = plone.post(path, f"_authenticator={found[1]}".encode())
    assert answer.status == 202, answer
    assert answer.headers["Location"].startswith(f"http://127.0.0.1:{plone.port}/Plone/@@jobs/")
    job_id = re.search(_ID, answer.text)
    assert job_id
    refused = plone.post(path, b"")
    assert refused.status >= 400
    assert "Location" not in refused.headers
    return job_id[1]


# 500 documents


@contextlib.contextmanager
def database(plone: Instance) -> Iterator[Any]:
    """The root of the database, as a client without Zope sees it."""
    storage = ClientStorage(str(plone.folder / "instance" / "var" / "zeo.sock"))
    db = ZODB.DB(storage)
    connection = db.open()
    try:
        yield connection
    finally:
        transaction.abort()
        connection.close()
        db.close()


def script(plone: Instance, name: str) -> Any:
    """Run one of `plone_script`; what it has printed as JSON."""
    file = plone.folder / f"run_{name}.py"
    file.write_text(f"import plone_script\n\nplone_script.{name}(app)\n")
    lines = plone.run("zconsole", "run", plone.zope_conf, file.name).splitlines()
    [found] = [json.loads(line) for line in lines if line.startswith("{")]
    return found


def test_killed_workers_leave_a_catalog_that_agrees_with_the_content(plone: Instance) -> None:
    """Publish, rename, move and delete, by an editor and by a member who may not."""
    script(plone, "fill")
    holds = [plone.folder / f"hold{number}" for number in range(plone_script.HELD)]
    ids = script(plone, "put_all")
    plone.start_worker("--processes", "2", "--threads", "2")
    with database(plone) as connection:
        for hold in holds:
            kill_who_works(hold)
        until(lambda: all_ended(connection, [*ids["ed"], *ids["mem"]]))
        jobs = {name: [found(connection, each) for each in ids[name]] for name in ids}
        failures = [job.failure and job.failure.type for job in jobs["mem"]]
        assert failures == ["AccessControl.unauthorized.Unauthorized"] * 4
        assert [job.failure for job in jobs["ed"]] == [None] * len(ids["ed"])
        interruptions = [job.interruptions for job in jobs["ed"]]
        assert sum(interruptions) >= plone_script.HELD
    checked = script(plone, "check")
    assert checked["wrong"] == []
    assert [path for path in checked["paths"] if is_ours(path)] == sorted(expected())


def kill_who_works(hold: Path) -> None:
    """Kill the worker process that is in the middle of a job, and let the next one go on."""
    pid = int(until(lambda: hold.exists() and hold.read_text()))
    os.kill(pid, signal.SIGKILL)
    hold.with_suffix(".go").touch()


def found(connection: Any, job_id: str) -> Any:
    return insights.find_job(connection, job_id)


def all_ended(connection: Any, ids: list[str]) -> bool:
    transaction.begin()
    return all(found(connection, each).status == zodbjobs.interfaces.COMPLETED for each in ids)


def is_ours(path: str) -> bool:
    return bool(re.match(r"/Plone/(archive/)?f\d+/", path))


def expected() -> Iterator[str]:
    """The paths of the documents afterwards."""
    for number in range(plone_script.FOLDERS):
        for document in range(plone_script.DOCUMENTS):
            if document in plone_script.DELETED:
                continue
            place = "archive/" if document in plone_script.MOVED else ""
            end = "-renamed" if document in plone_script.RENAMED else ""
            yield f"/Plone/{place}f{number}/d{document}{end}"


# plone.restapi


def rest(plone: Instance, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """What a client of plone.restapi is answered, as ed."""
    return requests.request(
        method,
        f"http://127.0.0.1:{plone.port}{path}" if path.startswith("/") else path,
        json=body,
        headers={"Accept": "application/json", **headers},
        auth=("ed", "correct horse battery"),
        timeout=PATIENCE,
    )


def kill_workers(plone: Instance) -> None:
    """Kill the processes of the workers, which are started anew."""
    with database(plone) as connection:
        for worker in insights.list_workers(connection):
            with contextlib.suppress(ProcessLookupError):  # one that was killed before
                os.kill(worker.pid, signal.SIGKILL)


def test_a_client_of_plone_restapi_puts_and_polls_while_workers_die(plone: Instance) -> None:
    """As Volto would. Each source is moved once."""
    plone.processes[-1].stop()
    script(plone, "install_rest")
    plone.start_web()
    names = [f"d{number}" for number in range(15, 45)]
    body = {"source": [f"/f0/{name}" for name in names]}
    answer = rest(plone, "POST", "/Plone/archive/@move", body, Prefer="respond-async")
    assert answer.status_code == 202, answer.text
    place = answer.headers["Location"]
    plone.start_worker("--processes", "2", "--threads", "2")
    seen = [0.0]

    def look() -> Any:
        now = rest(plone, "GET", place).json()
        seen.append(now["percent"] or 0)
        return now

    until(lambda: look()["percent"])
    kill_workers(plone)
    ended = until(lambda: (now := look())["outcome"] and now)
    assert ended["outcome"] == "succeeded", ended
    assert seen == sorted(seen)
    root = place.partition("/@jobs/")[0]
    assert ended["result"] == [
        {"source": f"{root}/f0/{name}", "target": f"{root}/archive/{name}"} for name in names
    ]
    checked = script(plone, "check")
    assert checked["wrong"] == []
    paths = set(checked["paths"])
    assert {f"/Plone/archive/{name}" for name in names} <= paths
    assert not {f"/Plone/f0/{name}" for name in names} & paths
