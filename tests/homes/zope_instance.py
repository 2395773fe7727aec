"""A Zope instance made of what its page in docs/how-to shows, and its processes."""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent

HOW_TO = HERE.parents[1] / "docs" / "how-to"

#: The page that an instance is made of.
PAGE = HOW_TO / "zope.md"

#: Where the programs of this environment are.
BIN = Path(sys.executable).parent

#: Seconds after which what should have happened has failed its test.
PATIENCE = 300

_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:# |<!-- )([\w./-]+\.(?:py|zcml|conf|pt))(?: -->)?\n")


class Block(NamedTuple):
    """A block of code of the page."""

    language: str
    text: str


def blocks(heading: str, page: Path = PAGE) -> list[Block]:
    """Those below a heading, up to the next one."""
    _, found, rest = page.read_text("utf-8").partition(f"\n## {heading}\n")
    assert found
    return [Block(*match.groups()) for match in _BLOCK.finditer(rest.partition("\n## ")[0])]


def until(condition: Callable[[], Any]) -> Any:
    """What `condition` returns, as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


class Answer(NamedTuple):
    """What the server has answered."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def _hear_interrupts() -> None:
    """As in a terminal: a shell lets what it runs in the background ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Process:
    """A process that is killed at the end, and whose output can be waited for."""

    def __init__(self, words: list[str], folder: Path, env: dict[str, str]) -> None:
        self.log = folder / f"{Path(words[0]).name}-{time.monotonic_ns()}.log"
        with self.log.open("w") as output:
            self.popen = subprocess.Popen(
                words,
                cwd=folder,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_hear_interrupts,
            )

    def says(self, text: str) -> str:
        """Wait until that is in its output; returns all of it."""

        def said() -> str | None:
            output = self.log.read_text()
            if text not in output:
                assert self.popen.poll() is None, output
                return None
            return output

        return until(said)  # type: ignore[no-any-return]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the end; returns the status."""
        self.popen.send_signal(number)
        return self.popen.wait(PATIENCE)


class Instance:
    """The instance, in the folder `instance` of `folder`."""

    def __init__(self, folder: Path, page: Path = PAGE) -> None:
        self.folder = folder
        self.page = page
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.processes: list[Process] = []
        paths = [str(folder), str(HERE), os.environ.get("PYTHONPATH", "")]
        self.env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    @property
    def zope_conf(self) -> str:
        """Its path, as it is in commands."""
        return "instance/etc/zope.conf"

    def make(self) -> None:
        """Make it, with its files of the page."""
        self.run("mkwsgiinstance", "-d", "instance", "-u", "admin:secret")
        self.replace("zope.ini", "port = 8080", f"port = {self.port}")
        for block in blocks("From pip to a moving bar", self.page):
            self.add(block)

    def add(self, block: Block) -> None:
        """Write a block that is a file, and put a database into the configuration."""
        named = _FILE.match(block.text)
        if named:
            path = self.folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.text.startswith("<zodb_db"):
            self.set_database(block.text)

    def set_database(self, section: str) -> None:
        """Put a section in the place of the one of that name, or add it."""
        first = section.splitlines()[0]
        path = self.folder / self.zope_conf
        text = path.read_text()
        pattern = rf"^{re.escape(first)}$.*?^</zodb_db>\n"
        changed, count = re.subn(pattern, lambda _: section, text, flags=re.M | re.S)
        path.write_text(changed if count else f"{text}\n{section}")

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a file of its folder etc."""
        path = self.folder / "instance" / "etc" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    # Its processes

    def run(self, program: str, *words: str, status: int = 0) -> str:
        """Run a program of this environment to its end; returns what it has written."""
        done = subprocess.run(
            [str(BIN / program), *words],
            cwd=self.folder, env=self.env, timeout=PATIENCE,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def command(self, name: str, *words: str, status: int = 0) -> str:
        """Run a command of zodbjobs with this configuration."""
        return self.run("zodbjobs", name, "--zope-conf", self.zope_conf, *words, status=status)

    def start(self, program: str, *words: str) -> Process:
        """Start a program of this environment."""
        process = Process([str(BIN / program), *words], self.folder, self.env)
        self.processes.append(process)
        return process

    def start_zeo(self) -> Process:
        """Start the server of the database, and wait until it listens."""
        server = self.start("runzeo", "-C", "zeo.conf")
        until((self.folder / "instance" / "var" / "zeo.sock").exists)
        return server

    def start_web(self) -> Process:
        """Start the web server, and wait until it answers."""
        server = self.start("runwsgi", "instance/etc/zope.ini")

        def answers() -> bool:
            assert server.popen.poll() is None, server.log.read_text()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            return False

        until(answers)
        return server

    def start_worker(self, *words: str) -> Process:
        """Start a worker, and wait until it works."""
        worker = self.start("zodbjobs", "worker", "--zope-conf", self.zope_conf, *words)
        worker.says("Serving ")
        return worker

    def close(self, but: int = 0) -> None:
        """End all processes but the first ones."""
        while len(self.processes) > but:
            process = self.processes.pop()
            if process.popen.poll() is None:
                # One that has children stops them.
                process.popen.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.popen.wait(10)
            process.popen.kill()
            process.popen.wait()

    # Its browser

    def get(self, path: str, user: str | None = "admin:secret", **headers: str) -> Answer:
        """Ask the server."""
        return self._ask(path, None, user, headers)

    def post(self, path: str, form: bytes, user: str | None = "admin:secret") -> Answer:
        """Send a form to the server."""
        return self._ask(path, form, user, {})

    def _ask(
        self, path: str, data: bytes | None, user: str | None, headers: dict[str, str]
    ) -> Answer:
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, headers)
        if user is not None:
            token = base64.b64encode(user.encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return Answer(response.status, dict(response.headers), response.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read().decode())

    # Its jobs

    def show(self, job_id: str) -> Any:
        """What the command `show` tells of a job."""
        return _first_json(self.command("show", job_id, "--json"))

    def watch(self, job_id: str, status: int = 0) -> Any:
        """What it tells of a job when that has ended."""
        return _first_json(self.command("watch", job_id, "--json", status=status))


def result_of(shown: Any) -> Any:
    """The result of a job, which commands show as Python writes it."""
    return ast.literal_eval(shown["result"])


def _first_json(text: str) -> Any:
    return json.JSONDecoder().raw_decode(text[text.index("{") :])[0]


@contextlib.contextmanager
def instance(folder: Path, page: Path = PAGE) -> Iterator[Instance]:
    """An instance, whose processes are killed at the end."""
    made = Instance(folder, page)
    try:
        made.make()
        yield made
    finally:
        made.close()
