"""Opens the database that a command is given: the path of a FileStorage, or a URI."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import transaction
from zc.lockfile import LockError
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.format import packed_version
from ZODB.POSException import POSError

from zodbjobs.cli.problem import Problem, one_line
from zodbjobs.errors import NotInstalled

#: Objects that a connection keeps in memory.
_CACHE_SIZE = 10_000

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//|\()")


@contextlib.contextmanager
def opened(database: str, *, create: bool = False, read_only: bool = False) -> Iterator[Any]:
    """The open ZODB.DB of a path or a URI, closed at the end; Problem if it can't be had.

    `create`: make the file if it is missing. `read_only`: look at a file that another
    process has open. Both are for paths.
    """
    if _URI.match(database):
        db = _open_uri(database, create, read_only)
    else:
        db = _open_path(database, create, read_only)
    try:
        yield db
    except NotInstalled as error:
        raise Problem(
            f"{database} has no queues yet; zodbjobs.install(db) makes them, and so does "
            f"`zodbjobs worker {database}`"
        ) from error
    finally:
        db.close()


@contextlib.contextmanager
def reading(db: Any) -> Iterator[Any]:
    """A connection to read from; nothing is committed."""
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    try:
        yield connection
    finally:
        manager.abort()
        connection.close()


def is_for_one_process(db: Any) -> bool:
    """Whether nobody else can work on the database while it is open here."""
    return isinstance(db.storage, FileStorage)


def _open_path(path: str, create: bool, read_only: bool) -> Any:
    file = Path(path)
    if not create and not file.exists():
        raise Problem(
            f"there is no file {path}; check the path, or make a new database with "
            f"`zodbjobs worker --create {path}`"
        )
    blobs: str | None = f"{path}.blobs"
    if read_only and not Path(f"{path}.blobs").is_dir():
        blobs = None
    try:
        if file.exists():
            _check_format(file)
        return DB(FileStorage(path, read_only=read_only, blob_dir=blobs), cache_size=_CACHE_SIZE)
    except LockError as error:
        raise Problem(_held(path)) from error
    except (OSError, POSError) as error:
        raise Problem(f"can't open {path} ({one_line(error)}); check the path") from error


def _check_format(file: Path) -> None:
    with file.open("rb") as data:
        start = data.read(len(packed_version))
    if start and start != packed_version:
        raise Problem(
            f"{file} isn't a FileStorage; give the path of one (often Data.fs), or a URI "
            "such as zeo://localhost:8100"
        )


def _held(path: str) -> str:
    try:
        pid = Path(f"{path}.lock").read_text().split()[0]
    except (OSError, IndexError):
        pid = "?"
    return (
        f"{path} is held by process {pid}, and a FileStorage has room for one; stop that "
        "process, look with --read-only, or serve the file by ZEO and use zeo://HOST:PORT"
    )


def _open_uri(uri: str, create: bool, read_only: bool) -> Any:
    from zodburi import resolve_uri

    if create or read_only:
        raise Problem("--create and --read-only are for paths; put it into the URI")
    _check_file_uri(uri)
    try:
        factory, arguments = resolve_uri(uri)
        return DB(factory(), **arguments)
    except LockError as error:
        raise Problem(_held(_file_of(uri) or uri)) from error
    except Exception as error:
        reason = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise Problem(
            f"can't open {uri} ({type(error).__name__}: {one_line(reason)}); check the address, "
            "and that its server runs and its package is installed"
        ) from error


def _file_of(uri: str) -> str | None:
    match = re.match(r"file://([^?#]*)", uri)
    return match and match[1]


def _check_file_uri(uri: str) -> None:
    """A URI of a file that is missing would make an empty one."""
    path = _file_of(uri)
    if path is not None and not Path(path).exists() and "create=" not in uri:
        raise Problem(f"there is no file {path}; check the path, or add ?create=1 to the URI")
