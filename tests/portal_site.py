"""The portal of the examples, in processes that tests may kill, and who uses it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import transaction
import ZEO
from patience import PATIENCE, until
from playwright.sync_api import BrowserContext, Page, expect

from zodbjobs.insights import find_job

ROOT = Path(__file__).parents[1]

_ZEO_CONF = """
<zeo>
  address 127.0.0.1:{port}
</zeo>
<filestorage 1>
  path {folder}/Data.fs
  blob-dir {folder}/blobs
</filestorage>
"""


class Portal:
    """The portal: a ZEO server, a worker and the web, each a process."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._pace = folder / "pace"
        self._zeo_port, self._web_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self._web_port}"
        self.take(0)
        conf = folder / "zeo.conf"
        conf.write_text(_ZEO_CONF.format(port=self._zeo_port, folder=folder))
        self._start("ZEO.runzeo", "-C", conf)
        self.db = ZEO.DB(("127.0.0.1", self._zeo_port), wait_timeout=PATIENCE, **_blobs(folder))
        stack.callback(self.db.close)
        setup = self._start("portal", "setup", *self._where, stdout=subprocess.PIPE)
        said = setup.communicate(timeout=PATIENCE)[0]
        self.passwords = dict(re.findall(r"^  (\w+) +(\S+) ", said, re.MULTILINE))
        assert sorted(self.passwords) == ["ada", "bola", "mia"]
        self.worker = self.start_worker()
        self.web = self.start_web()

    # Processes

    def start_worker(self) -> subprocess.Popen[str]:
        self.worker = self._start("portal", "worker", *self._where)
        return self.worker

    def start_web(self, port: int | None = None, **env: str) -> subprocess.Popen[str]:
        port = port or self._web_port
        web = self._start("portal", "web", *self._where, "--port", port, **env)
        until(lambda: _listens(port, web))
        return web

    def kill(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)

    @property
    def _where(self) -> list[object]:
        return ["--folder", self._folder, "--zeo-at", f"127.0.0.1:{self._zeo_port}"]

    def _start(
        self, module: str, *words: object, stdout: int | None = None, **env: str
    ) -> subprocess.Popen[str]:
        paths = os.pathsep.join(map(str, (ROOT / "examples" / "portal", ROOT / "tests")))
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, words)],
            env={**os.environ, "PYTHONPATH": paths, "PORTAL_PACE": str(self._pace), **env},
            stdout=stdout,
            text=True,
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process

    # The database

    def take(self, seconds: float) -> None:
        """Let jobs take so long for each student, at once."""
        fresh = self._pace.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self._pace)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        """A connection that sees what is committed now; commits what was done with it."""
        connection = self.db.open(transaction.TransactionManager())
        try:
            connection.sync()
            yield connection
            connection.transaction_manager.commit()
        finally:
            connection.transaction_manager.abort()
            connection.close()

    def ask(self, job_id: str, question: Callable[[Any], Any]) -> Any:
        """What a function says of a job as it is committed; None if it is gone."""
        with self.reading() as connection:
            job = find_job(connection, job_id)
            return None if job is None else question(job)


class User:
    """Somebody in front of a browser of their own."""

    def __init__(self, portal: Portal, context: BrowserContext, url: str | None = None) -> None:
        self.portal = portal
        self.context = context
        self.url = url or portal.url
        self.page: Page = context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._note)

    def _note(self, said: Any) -> None:
        if said.type == "error" and "Failed to load resource" not in said.text:
            self.faults.append(said.text)

    def log_in(self, login: str) -> User:
        self.go("/login")
        self.page.fill("#login", login)
        self.page.fill("#password", self.portal.passwords[login])
        self.page.click("main button")
        expect(self.page.locator("h1")).to_have_text("Faculties")
        return self

    def go(self, path: str) -> int:
        """Load a page; its status."""
        answer = self.page.goto(self.url + path)
        assert answer is not None
        return answer.status

    def start(self, faculty: str, kind: str, department: str = "", level: str = "") -> str:
        """Press the button of an export; the id of its job, whose page is open then."""
        self.go(f"/{faculty}?department={department}&level={level}")
        self.page.select_option("#kind", kind)
        self.page.click("button[value=all]")
        self.page.wait_for_url(re.compile(r"/jobs/\d+$"))
        return self.page.url.rpartition("/")[2]

    @property
    def state(self) -> Any:
        """What says how the job stands whose page is open."""
        return self.page.locator("main .zj-eyebrow .zj-state")

    @property
    def percent(self) -> float:
        return float(self.page.locator("main progress").get_attribute("value") or 0)

    def sees_more_than(self, percent: float) -> float:
        """Wait until the bar shows more; how much it is then."""
        self.page.wait_for_function(
            "percent => document.querySelector('main progress')?.value > percent", arg=percent,
            timeout=PATIENCE * 1000,
        )  # fmt: skip
        return self.percent

    def token(self, path: str) -> str:
        """The token of a form on a page."""
        text = self.context.request.get(self.url + path).text()
        found = re.search(r'<main.*?name="token" value="(\w+)"', text, re.DOTALL)
        assert found
        return found[1]


def _blobs(folder: Path) -> dict[str, Any]:
    return {"blob_dir": str(folder / "blobs"), "shared_blob_dir": True}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _listens(port: int, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
