"""The storages that the contract suite runs on; each makes a place for one test's database.

Add a function here and to MAKERS, and every test of the contract runs on it.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import ZODB
from ZODB.FileStorage import FileStorage

from storages import postgresql_server, sqlite_fault, templates, zeo_servers
from storages.place import Place
from storages.scratch import make_folder


class Maker(Protocol):
    """Makes a place below a folder; with `installed`, the queues and the container are there."""

    def __call__(
        self, folder: Path, installed: bool = False, /
    ) -> contextlib.AbstractContextManager[Place]: ...


def open_file(path: str) -> Any:
    """A file, with blobs beside it."""
    return ZODB.DB(FileStorage(path, blob_dir=path + ".blobs"))


def file_storage(folder: Path, installed: bool = False) -> Any:
    """An open database on a file."""
    path = folder / templates.NAME
    if installed:
        templates.copy(path)
    return open_file(str(path))


@contextlib.contextmanager
def on_a_file(folder: Path, installed: bool = False) -> Iterator[Place]:
    """As `open_file`."""
    path = folder / templates.NAME
    if installed:
        templates.copy(path)
    yield Place(
        folder, f"<filestorage>\n path {path}\n blob-dir {path}.blobs\n</filestorage>", clients=1
    )


@contextlib.contextmanager
def in_memory(folder: Path, installed: bool = False) -> Iterator[Place]:
    """In memory, but for the blobs."""
    imported, section = _section_in_memory(installed)
    text = f"<blobstorage>\n blob-dir $client\n <{section}>\n </{section}>\n</blobstorage>"
    yield Place(folder, imported + text, clients=1)


@contextlib.contextmanager
def over_a_base(folder: Path, installed: bool = False) -> Iterator[Place]:
    """Changes in memory over an empty base in memory."""
    imported, section = _section_in_memory(installed)
    layers = f" <mappingstorage base>\n </mappingstorage>\n <{section} changes>\n </{section}>\n"
    yield Place(folder, f"{imported}<demostorage>\n{layers}</demostorage>", clients=1)


def _section_in_memory(installed: bool) -> tuple[str, str]:
    """What to import for a section of a configuration, and how that is named."""
    return ("%import storages\n", "installedstorage") if installed else ("", "mappingstorage")


@contextlib.contextmanager
def over_zeo(folder: Path, installed: bool = False) -> Iterator[Place]:
    """In a server that has nothing of ours; clients keep their own copies of blobs."""
    address, storage = zeo_servers.fresh_storage(installed)
    yield Place(
        folder,
        f"%import ZEO\n<clientstorage>\n server {address}\n storage {storage}\n"
        " blob-dir $client\n shared-blob-dir no\n</clientstorage>",
    )


@contextlib.contextmanager
def in_postgresql(folder: Path, installed: bool = False) -> Iterator[Place]:
    """In a database server, blobs too; clients keep copies of them."""
    with postgresql_server.fresh_database(installed) as dsn:
        yield Place(folder, relstorage(f"<postgresql>\n  dsn {dsn}\n </postgresql>", folder.name))


@contextlib.contextmanager
def in_sqlite(folder: Path, installed: bool = False) -> Iterator[Place]:
    """In a SQLite file, blobs too; clients keep copies of them."""
    data = folder / "sqlite"
    if installed:
        shutil.copytree(_sqlite_template(), data)
    else:
        data.mkdir()
    with sqlite_fault.mended():
        yield Place(folder, relstorage(f"<sqlite3>\n  data-dir {data}\n </sqlite3>", folder.name))


@functools.cache
def _sqlite_template() -> Path:
    """The folder of such a file."""
    with in_sqlite(make_folder("sqlite-")) as place, templates.opened() as template:
        storage = place.open_storage()
        storage.copyTransactionsFrom(template)
        storage.close()
    return place.folder / "sqlite"


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
    """End what the makers started, and remove what they made."""
    zeo_servers.stop()
    postgresql_server.stop()
    if _sqlite_template.cache_info().currsize:
        shutil.rmtree(_sqlite_template().parent)
        _sqlite_template.cache_clear()
    templates.remove()
