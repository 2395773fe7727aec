"""Empty databases for the rounds: a folder, a ZEO server, a database in PostgreSQL, a Redis."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator

from servers import REDIS, Server

_DATABASE = "peer"


class NotHere(Exception):
    """Something isn't on this machine; the text says how to get it."""


class Places:
    """Starts servers when they are first needed, and stops them at the end.

    `pythons` gives the interpreter of an environment by its name.
    """

    def __init__(self, pythons: dict[str, str]) -> None:
        self._pythons = pythons
        self._stack = contextlib.ExitStack()
        self._servers: dict[str, Server] = {}

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def versions(self) -> dict[str, str]:
        """Of the servers that were needed."""
        return {kind: server.facts["version"] for kind, server in self._servers.items()}

    @contextlib.contextmanager
    def empty(self, kind: str) -> Iterator[str]:
        """An empty database of that kind, as `peer.AT` wants it."""
        makers = {
            "file": self._folder,
            "zeo": self._zeo,
            "postgres": self._postgres,
            "redis": self._redis,
        }
        with makers[kind]() as at:
            yield at

    def settle(self, kind: str) -> None:
        """What a server would do sooner or later anyway, so that no round pays for another.

        PostgreSQL counts rows in the background, and writes what it only logged until then.
        """
        if kind == "postgres":
            self._sql(_DATABASE, "VACUUM ANALYZE")
            self._sql(_DATABASE, "CHECKPOINT")

    @contextlib.contextmanager
    def _folder(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            yield folder

    @contextlib.contextmanager
    def _zeo(self) -> Iterator[str]:
        with Server("zeo", self._pythons["ours"]) as server:
            yield server.facts["url"]

    @contextlib.contextmanager
    def _postgres(self) -> Iterator[str]:
        url = self._server("postgres", self._pythons["servers"]).facts["url"]
        self._sql("postgres", f"CREATE DATABASE {_DATABASE}")
        try:
            yield urllib.parse.urlsplit(url)._replace(path=f"/{_DATABASE}").geturl()
        finally:
            self._sql("postgres", f"DROP DATABASE {_DATABASE} WITH (FORCE)")

    def _sql(self, database: str, query: str) -> None:
        facts = self._servers["postgres"].facts
        url = urllib.parse.urlsplit(facts["url"])._replace(path=f"/{database}").geturl()
        subprocess.run([facts["psql"], url, "-qc", query], check=True)

    @contextlib.contextmanager
    def _redis(self) -> Iterator[str]:
        if shutil.which(REDIS) is None:
            raise NotHere(f"{REDIS} isn't installed: apt-get install {REDIS}")
        url = self._server("redis", sys.executable).facts["url"]
        parts = urllib.parse.urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as redis:
            redis.sendall(b"FLUSHALL\r\n")
            if redis.recv(100) != b"+OK\r\n":
                raise RuntimeError("Redis can't be emptied")
        yield url

    def _server(self, kind: str, python: str) -> Server:
        if kind not in self._servers:
            self._servers[kind] = self._stack.enter_context(Server(kind, python))
        return self._servers[kind]
