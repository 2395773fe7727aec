"""Real ZEO servers, in processes that can't import zodbjobs.

A server has many storages. Each test gets one that nobody had before; when all are used,
the next server is started.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import ZEO

from storages import templates
from storages.scratch import make_folder
from zodbjobs.runtime.storage import full_disk

STORAGES = 60

_SERVER = Path(__file__).with_name("zeo_server.py")
_LIBRARIES = Path(ZEO.__file__).parents[1]


class Server:
    """A server on a folder of its own, with a file for each of the storages.

    `mended`: it bears a full disk, by a module of zodbjobs that needs no other.
    `installed`: the storages have what the template has.
    """

    def __init__(
        self, storages: Sequence[str], mended: bool = False, installed: bool = False
    ) -> None:
        self._mended = [full_disk.__file__] if mended else []
        self.folder = make_folder("zeo-")
        self.address = self.folder / "socket"
        self.unused = list(storages)
        self._config = self.folder / "zeo.conf"
        self._config.write_text(self._text())
        self._link_libraries()
        if installed:
            for name in storages:
                templates.copy(self.folder / f"{name}.fs")
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        with open(self.folder / "out", "a") as out:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    _SERVER,
                    self._libraries,
                    self._config,
                    *self._mended,
                ],
                stdin=subprocess.PIPE,  # its end is the server's, however this process ends
                stdout=out,
                stderr=out,
                env=environment,
                cwd=self.folder,
            )
        self._wait()

    def _text(self) -> str:
        storages = [
            f"<filestorage {name}>\n path {self.folder}/{name}.fs\n"
            f" blob-dir {self.folder}/{name}.blobs\n</filestorage>\n"
            for name in self.unused
        ]
        return f"<zeo>\n address {self.address}\n</zeo>\n" + "".join(storages)

    def _link_libraries(self) -> None:
        """A folder with all that is installed here but zodbjobs."""
        self._libraries = self.folder / "libraries"
        self._libraries.mkdir()
        for entry in _LIBRARIES.iterdir():
            if "zodbjobs" not in entry.name and entry.suffix != ".pth":
                (self._libraries / entry.name).symlink_to(entry)

    def _wait(self) -> None:
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.address)) == 0:
                    return
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "out").read_text())
            time.sleep(0.02)

    def kill(self) -> None:
        """End the process as kill -9 does."""
        assert self.process.stdin is not None
        self.process.kill()
        self.process.wait(30)
        self.process.stdin.close()

    def stop(self) -> None:
        """End the process; it removes what it stored."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


#: Those with empty storages, and those with installed ones.
_servers: dict[bool, list[Server]] = {False: [], True: []}


def fresh_storage(installed: bool = False) -> tuple[Path, str]:
    """The address of a server, and the name of a storage in it."""
    servers = _servers[installed]
    if not servers or not servers[-1].unused:
        names = [f"s{number:02}" for number in range(STORAGES)]
        servers.append(Server(names, installed=installed))
    server = servers[-1]
    return server.address, server.unused.pop(0)


@contextlib.contextmanager
def in_a_thread(path: Path | None = None) -> Iterator[tuple[str, int]]:
    """Host and port of a server in this process, of a file or of a storage in memory."""
    address, end = ZEO.server(None if path is None else str(path))
    try:
        yield address
    finally:
        # Its loop may end before it has closed each connection; then it has them collected.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            end()


def stop() -> None:
    """End all servers."""
    for servers in _servers.values():
        while servers:
            servers.pop().stop()
