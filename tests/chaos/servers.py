"""Servers that can be crashed and started again, at the same address with the same data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from storages import postgresql_server, relstorage, scratch, zeo_servers
from storages.place import Place

from chaos.proxy import Proxy


class Server(Protocol):
    """A storage server of its own for one scenario."""

    def crash(self) -> None:
        """End it as kill -9 does."""

    def start(self) -> None:
        """Start it again."""

    def stop(self) -> None:
        """End it and remove its data."""

    def socket(self) -> str:
        """The path of the unix socket where it listens."""

    def place(self, folder: Path, proxy: Proxy | None = None) -> Place:
        """How clients open its database; through `proxy` if one is given."""


class ZEO:
    """A ZEO server that has nothing of ours."""

    def __init__(self) -> None:
        self._server = zeo_servers.Server(["1"], mended=True)
        self.crash = self._server.kill
        self.start = self._server.start

    @property
    def pid(self) -> int:
        """The process that has the file."""
        return self._server.process.pid

    @property
    def file(self) -> Path:
        """The file."""
        return self._server.folder / "1.fs"

    def stop(self) -> None:
        self._server.stop()

    def socket(self) -> str:
        return str(self._server.address)

    def place(self, folder: Path, proxy: Proxy | None = None) -> Place:
        address = self.socket() if proxy is None else f"127.0.0.1:{proxy.port}"
        return Place(
            folder,
            f"%import ZEO\n<clientstorage>\n server {address}\n storage 1\n"
            " blob-dir $client\n shared-blob-dir no\n wait-timeout 5\n</clientstorage>",
        )


class PostgreSQL:
    """A PostgreSQL server that keeps what was committed when its processes crash."""

    def __init__(self) -> None:
        self._server = postgresql_server.Server()
        self._server.create("chaos")
        self.crash = self._server.crash
        self.start = self._server.start
        self.stop = self._server.stop

    def socket(self) -> str:
        return self._server.socket

    def place(self, folder: Path, proxy: Proxy | None = None) -> Place:
        dsn = self._server.dsn("chaos")
        if proxy is not None:
            dsn = f"host='127.0.0.1' port='{proxy.port}' user='postgres' dbname='chaos'"
        return Place(folder, relstorage(f"<postgresql>\n  dsn {dsn}\n </postgresql>", "chaos"))


class FileStorage:
    """No server: a file, for one process at a time."""

    def __init__(self) -> None:
        self._folder = scratch.make_folder("file-")
        self.file = self._folder / "Data.fs"

    def stop(self) -> None:
        shutil.rmtree(self._folder)

    def socket(self) -> str:
        raise NotImplementedError

    def crash(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def place(self, folder: Path, proxy: Proxy | None = None) -> Place:
        return Place(folder, f"<filestorage>\n path {self.file}\n</filestorage>", clients=1)


SERVERS = {"FileStorage": FileStorage, "ZEO": ZEO, "PostgreSQL": PostgreSQL}
