"""A Zope instance with waitress, ZEO and worker processes, driven over HTTP."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from zope_instance import BIN, PATIENCE, Answer, Instance, Process, blocks, instance, until

SITE = """
<configure xmlns="http://namespaces.zope.org/zope">
  <include package="zodbjobs.zope" />
  <include package="zodbjobs" file="single.zcml" />
  <include package="zope_site" />
</configure>
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance on ZEO with the web server of the tests."""
    with instance(tmp_path_factory.mktemp("zope")) as made:
        set_zcml(made, SITE)
        made.start_zeo()
        made.start_web()
        yield made


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
    for number, line in enumerate(lines):
        if not line.startswith("$ "):
            continue
        output = "\n".join(lines[number + 1 :]).partition("\n$ ")[0]
        words = shlex.split(line.removeprefix("$ ").replace("PYTHONPATH=. ", ""))
        run_line(made, words, output)


def run_line(made: Instance, words: list[str], output: str) -> None:
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
        assert f"0 in http://127.0.0.1:{made.port}" in written
    elif name == "curl":
        done = subprocess.run(["curl", "--silent", *rest], capture_output=True, text=True)
        assert json.loads(done.stdout) == json.loads(output.partition("\n")[0])
    else:
        assert words == ["python3", "-m", "venv", ".venv"]


# What a job finds


def test_a_job_runs_as_the_user_and_with_the_addresses_of_the_request(site: Instance) -> None:
    site.start_worker()
    virtual = "/VirtualHostBase/https/shop.example:443/VirtualHostRoot"
    first, second = put(site, "look"), put(site, "look", path=virtual)
    nobody = put(site, "look", user=None)
    found = json.loads(site.watch(first)["result"])
    assert found["user"] == "admin"
    assert "Manager" in found["roles"]
    assert found["url"] == f"http://127.0.0.1:{site.port}"
    assert found["path"] == ""
    assert found["request"] == "HTTPRequest"
    assert found["worker threads"] == "0"  # what worker.zcml would start
    assert json.loads(site.watch(second)["result"])["url"] == "https://shop.example"
    assert json.loads(site.watch(nobody)["result"])["user"] is None
