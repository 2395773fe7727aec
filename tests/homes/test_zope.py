"""A Zope instance with waitress, ZEO and worker processes, driven over HTTP."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from zope_instance import PATIENCE, Instance, blocks, instance, result_of, until

SITE = """
<configure xmlns="http://namespaces.zope.org/zope">
  <include package="zodbjobs.zope" />
  <include package="zodbjobs" file="single.zcml" />
  <include package="zope_site" />
</configure>
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance on ZEO with the web server of the tests."""
    with instance(tmp_path_factory.mktemp("zope")) as made:
        set_zcml(made, SITE)
        made.start_zeo()
        made.start_web()
        yield made


@pytest.fixture
def site(server: Instance) -> Iterator[Instance]:
    """The same, for one test: its workers end with it."""
    yield server
    server.close(but=2)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Instance]:
    """An instance on a FileStorage, of which no process runs."""
    with instance(tmp_path) as made:
        set_zcml(made, SITE)
        made.set_database(FILE)
        yield made


FILE = """<zodb_db main>
  <filestorage>
    path $INSTANCE/var/Data.fs
    blob-dir $INSTANCE/var/blobs
  </filestorage>
  mount-point /
</zodb_db>
"""


def set_zcml(made: Instance, text: str) -> None:
    folder = made.folder / "instance" / "etc" / "package-includes"
    (folder / "shop-configure.zcml").write_text(text)


def put(
    site: Instance, job: str, *words: Any, path: str = "", user: str | None = "admin:secret"
) -> str:
    """Put a job by a request; returns its id."""
    answer = site.get(f"{path}/put?job={job}&words={quote(','.join(map(str, words)))}", user)
    assert answer.status == 202, answer
    return str(answer.json["id"])


class Waiting:
    """A job that waits until it is let go."""

    def __init__(self, site: Instance, folder: Path) -> None:
        self._begun, self._go_on = folder / "begun", folder / "go on"
        self.id = put(site, "wait", self._begun, self._go_on)

    def pids(self) -> list[int]:
        """The processes that have begun it, once there are some."""
        until(self._begun.exists)
        return [int(line) for line in until(self._begun.read_text).split()]

    def let_go(self) -> None:
        self._go_on.touch()


# The page


def test_every_command_of_the_page(tmp_path: Path) -> None:
    """From pip, which has run by now, to a moving bar."""
    with instance(tmp_path) as made:
        for block in blocks("From pip to a moving bar"):
            if block.language == "console":
                run_console(made, block.text)


def run_console(made: Instance, text: str) -> None:
    lines = text.replace(":8080", f":{made.port}").splitlines()
    ids: dict[str, str] = {}
    for number, line in enumerate(lines):
        if not line.startswith("$ "):
            continue
        output = "\n".join(lines[number + 1 :]).partition("\n$ ")[0]
        words = shlex.split(line.removeprefix("$ ").replace("PYTHONPATH=. ", ""))
        run_line(made, [ids.get(word, word) for word in words], output, ids)


def run_line(made: Instance, words: list[str], output: str, ids: dict[str, str]) -> None:
    """Run a command. `ids` gets the id of a job that it puts, by that in the page."""
    program, *rest = words
    name = Path(program).name
    if name == "pip":
        assert rest == ["install", "Zope[wsgi]", "zodbjobs[zope]"]
    elif name == "mkwsgiinstance":
        assert rest == ["-d", "instance", "-u", "admin:secret"]  # which the fixture has made
    elif name == "runzeo":
        assert rest == ["-C", "zeo.conf"]
        made.start_zeo()
    elif name == "runwsgi":
        assert rest == ["instance/etc/zope.ini"]
        made.start_web()
    elif name == "zodbjobs" and rest[0] == "worker":
        made.start(name, *rest).says("Serving instance/etc/zope.conf with 4 threads")
    elif name == "zodbjobs":
        written = made.run(name, *rest)
        assert "succeeded" in written
        assert re.search(rf"\d in http://127.0.0.1:{made.port}", written), written[-300:]
    elif name == "curl":
        done = subprocess.run(["curl", "--silent", *rest], capture_output=True, text=True)
        found, shown = json.loads(done.stdout), json.loads(output.partition("\n")[0])
        ids[shown["id"]] = found["id"]
        shown["@id"] = shown["@id"].replace(shown["id"], found["id"])
        assert found == {**shown, "id": found["id"]}
    else:
        assert words == ["python3", "-m", "venv", ".venv"]


# What a job finds


def test_a_job_runs_as_the_user_and_with_the_addresses_of_the_request(site: Instance) -> None:
    site.start_worker()
    virtual = "/VirtualHostBase/https/shop.example:443/VirtualHostRoot"
    first, second = put(site, "look"), put(site, "look", path=virtual)
    nobody = put(site, "look", user=None)
    found = result_of(site.watch(first))
    assert found["user"] == "admin"
    assert "Manager" in found["roles"]
    assert found["url"] == f"http://127.0.0.1:{site.port}"
    assert found["path"] == ""
    assert found["request"] == "HTTPRequest"
    assert found["worker threads"] == "0"  # what worker.zcml would start
    assert result_of(site.watch(second))["url"] == "https://shop.example"
    assert result_of(site.watch(nobody))["user"] is None


def test_a_user_can_do_in_a_job_what_the_user_may(site: Instance) -> None:
    """Nothing is changed by one who may not."""
    site.start_worker()
    done, refused = put(site, "add_folder", "made"), put(site, "add_folder", "not", user=None)
    assert result_of(site.watch(done)) == f"http://127.0.0.1:{site.port}/made"
    failed = site.watch(refused, status=1)
    assert "Unauthorized" in failed["traceback"]
    assert site.get("/made/manage_main").status == 200
    assert site.get("/not/manage_main").status == 404


def test_the_log_is_that_of_the_instance(site: Instance) -> None:
    log = site.folder / "instance" / "var" / "log" / "event.log"
    site.start_worker().stop()
    assert re.search(r"INFO \[zodbjobs:\d+\].*worker \w+ has stopped", log.read_text())


def test_the_start_leaves_no_transaction_and_no_connection_open(alone: Instance) -> None:
    written = alone.run("python", "-c", STARTED, alone.zope_conf)
    assert "None 0" in written.splitlines()


STARTED = """
import sys, transaction
from zodbjobs.cli import zope_conf
with zope_conf.started(sys.argv[1]) as db:
    opened = [each for each in db.pool.all if each.opened]
    print(transaction.manager.manager._txn, len(opened), flush=True)
"""


@pytest.mark.parametrize("words", [(), ("--processes", "1")])
def test_a_worker_declares_what_an_installer_brings(site: Instance, words: Any) -> None:
    site.start_worker(*words)
    (shown,) = json.loads(site.command("schedules", "--json"))
    assert (shown["name"], shown["state"]) == ("tick", "active")
    site.command("schedules", "pause", "tick", "--reason", "not in the tests")
    site.close(but=2)
    site.start_worker(*words)
    (shown,) = json.loads(site.command("schedules", "--json"))
    assert shown["state"] == "paused"
    site.command("schedules", "remove", "tick")


# The ends of workers


def test_a_killed_worker_is_replaced_and_its_job_runs_again(
    site: Instance, tmp_path: Path
) -> None:
    """Its effects are there once."""
    worker = site.start_worker("--processes", "2")
    job = Waiting(site, tmp_path)
    (pid,) = job.pids()
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(job.pids()) == 2)
    worker.says("starts again")
    job.let_go()
    shown = site.watch(job.id)
    assert (shown["state"], shown["interruptions"]) == ("succeeded", 1)
    assert result_of(site.watch(put(site, "calls"))) == result_of(shown)
    assert worker.stop() == 0


def test_sigterm_lets_a_running_job_end(site: Instance, tmp_path: Path) -> None:
    worker = site.start_worker()
    job = Waiting(site, tmp_path)
    assert len(job.pids()) == 1
    worker.popen.send_signal(signal.SIGTERM)
    later = put(site, "look")
    job.let_go()
    assert worker.popen.wait(PATIENCE) == 0
    assert site.show(job.id)["state"] == "succeeded"
    assert site.show(later)["state"] == "waiting"
    site.start_worker()
    site.watch(later)


def test_a_worker_without_the_application_parks_what_needs_it(site: Instance) -> None:
    job = put(site, "look")
    uri = (
        f"zeo://{site.folder}/instance/var/zeo.sock?blob_dir=instance/var/blobs&shared_blob_dir=1"
    )
    worker = site.start("zodbjobs", "worker", uri)
    parked = until(lambda: site.show(job)["parked"])
    assert "needs a worker started with --zope-conf" in parked
    assert worker.stop() == 0
    site.start_worker()
    site.command("retry", job)
    assert site.watch(job)["state"] == "succeeded"


# Commands


def test_commands_take_the_configuration(site: Instance) -> None:
    job = put(site, "look")
    assert job in site.command("jobs")
    assert "zope_site:look" in site.command("show", job)
    assert "1" in site.command("stats")
    site.command("pause", "--reason", "it is late")
    assert "it is late" in site.command("jobs")
    site.command("resume")
    assert (
        site.command("cancel", job, "--why", "not wanted") == f"cancelled: {job} zope_site:look\n"
    )
    text = site.command("put", "builtins:len", "abc").strip()
    site.start_worker()
    assert result_of(site.watch(text)) == 3


def test_one_of_both_is_given(alone: Instance) -> None:
    assert "Missing argument" in alone.run("zodbjobs", "jobs", status=2)
    refused = alone.command("jobs", "Data.fs", status=2)
    assert refused.startswith("zodbjobs: Got unexpected extra argument (Data.fs)")
    refused = alone.command("worker", "--create", status=2)
    assert refused.startswith("zodbjobs: --create and --address are for paths")


# A FileStorage


def test_a_file_that_is_in_use_is_refused_with_the_cure(alone: Instance) -> None:
    web = alone.start_web()
    for command in ("jobs", "worker"):
        refused = last_line(alone.command(command, status=2))
        assert refused.startswith("zodbjobs: ")
        assert f"Data.fs is held by process {web.popen.pid}" in refused
        assert "have a ZEO server share the file" in refused
        assert "Traceback" not in alone.command(command, status=2)
    assert alone.command("jobs", "--read-only") == "no such jobs\n"


def test_a_file_has_no_room_for_several_workers(alone: Instance) -> None:
    assert "there is no file" in alone.command("jobs", status=2)
    alone.start_worker().stop()
    refused = alone.command("worker", "--processes", "2", status=2)
    assert len(refused.splitlines()) == 1
    assert "have a ZEO server share it" in refused


def last_line(text: str) -> str:
    return text.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_in_the_web_process_may_end(
    alone: Instance, tmp_path: Path, number: signal.Signals
) -> None:
    """The server answers meanwhile."""
    set_zcml(alone, SITE.replace('"single.zcml" />', '"single.zcml" />' + WORKER))
    web = alone.start_web()
    job = Waiting(alone, tmp_path)
    assert job.pids() == [web.popen.pid]
    web.popen.send_signal(number)
    web.says("the workers of this process stop")
    later = put(alone, "look")
    job.let_go()
    assert web.popen.wait(PATIENCE) == 0
    shown = alone.show(job.id)
    assert (shown["state"], shown["interruptions"]) == ("succeeded", 0)
    assert alone.show(later)["state"] == "waiting"


WORKER = '<include package="zodbjobs" file="worker.zcml" />'


# Two databases


def test_the_database_async_of_the_page(tmp_path: Path) -> None:
    with instance(tmp_path) as made:
        set_zcml(made, SITE.replace("single.zcml", "multidb.zcml"))
        for block in blocks("Jobs in a database of their own"):
            made.add(block)
            if block.text.startswith("<filestorage"):
                with (tmp_path / "zeo.conf").open("a") as file:
                    file.write(block.text)
        made.start_zeo()
        # Which are the first to open it. Zope itself conflicts if two begin with an empty database
        # at a time; the one that does ends, and starts again.
        workers = made.start_worker("--processes", "2")
        until(lambda: workers.log.read_text().count("works with 4 threads") >= 2)
        made.start_web()
        job = put(made, "look")
        assert result_of(made.watch(job))["user"] == "admin"
        names = made.run(
            "zodbjobs", "jobs", f"zeo://{tmp_path}/instance/var/zeo.sock?storage=async"
        )
        assert job in names
