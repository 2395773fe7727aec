"""The storages that the contract suite runs on; each makes a place for one test's database.

Add a function here and to MAKERS, and every test of the contract runs on it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ZODB
from ZODB.FileStorage import FileStorage

from storages import postgresql_server, sqlite_fault, zeo_servers
from storages.place import Place

Maker = Callable[[Path], contextlib.AbstractContextManager[Place]]


def open_file(path: str) -> Any:
    """A file, with blobs beside it."""
    return ZODB.DB(FileStorage(path, blob_dir=path + ".blobs"))


def file_storage(folder: Path) -> Any:
    """An open database on a file."""
    return open_file(str(folder / "Data.fs"))


@contextlib.contextmanager
def on_a_file(folder: Path) -> Iterator[Place]:
    """As `open_file`."""
    path = folder / "Data.fs"
    yield Place(
        folder, f"<filestorage>\n path {path}\n blob-dir {path}.blobs\n</filestorage>", clients=1
    )


@contextlib.contextmanager
def in_memory(folder: Path) -> Iterator[Place]:
    """In memory, but for the blobs."""
    text = (
        "<blobstorage>\n blob-dir $client\n <mappingstorage>\n </mappingstorage>\n</blobstorage>"
    )
    yield Place(folder, text, clients=1)


@contextlib.contextmanager
def over_a_base(folder: Path) -> Iterator[Place]:
    """Changes in memory over a base in memory."""
    layers = "".join(
        f" <mappingstorage {name}>\n </mappingstorage>\n" for name in ("base", "changes")
    )
    yield Place(folder, f"<demostorage>\n{layers}</demostorage>", clients=1)


@contextlib.contextmanager
def over_zeo(folder: Path) -> Iterator[Place]:
    """In a server that has nothing of ours; clients keep their own copies of blobs."""
    address, storage = zeo_servers.fresh_storage()
    yield Place(
        folder,
        f"%import ZEO\n<clientstorage>\n server {address}\n storage {storage}\n"
        " blob-dir $client\n shared-blob-dir no\n</clientstorage>",
    )


@contextlib.contextmanager
def in_postgresql(folder: Path) -> Iterator[Place]:
    """In a database server, blobs too; clients keep copies of them."""
    with postgresql_server.fresh_database() as dsn:
        yield Place(folder, relstorage(f"<postgresql>\n  dsn {dsn}\n </postgresql>", folder.name))


@contextlib.contextmanager
def in_sqlite(folder: Path) -> Iterator[Place]:
    """In a SQLite file, blobs too; clients keep copies of them."""
    data = folder / "sqlite"
    data.mkdir()
    with sqlite_fault.mended():
        yield Place(folder, relstorage(f"<sqlite3>\n  data-dir {data}\n </sqlite3>", folder.name))


def relstorage(adapter: str, name: str) -> str:
    """Configuration text. By their names, storages finish a commit one after the other."""
    return (
        f"%import relstorage\n<relstorage>\n keep-history no\n blob-dir $client\n"
        f" shared-blob-dir no\n name {name}\n {adapter}\n</relstorage>"
    )


MAKERS: dict[str, Maker] = {
    "DemoStorage": over_a_base,
    "FileStorage": on_a_file,
    "MappingStorage": in_memory,
    "PostgreSQL": in_postgresql,
    "SQLite": in_sqlite,
    "ZEO": over_zeo,
}

#: Those that take blobs: changes over a base are kept without them.
WITH_BLOBS = sorted(set(MAKERS) - {"DemoStorage"})

#: Those that several processes can have open.
SHARED = ["PostgreSQL", "SQLite", "ZEO"]

#: Those that have a server.
SERVERS = ["PostgreSQL", "ZEO"]


def stop_servers() -> None:
    """End what the makers started."""
    zeo_servers.stop()
    postgresql_server.stop()
