"""Opens the database that a command is given: the path of a FileStorage, a URI, an application."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from transaction.interfaces import TransientError
from zc.lockfile import LockError
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage, packed_version
from ZODB.POSException import POSError

from zodbjobs.cli import zeo_address
from zodbjobs.cli.application import Application, Database
from zodbjobs.cli.errors import CommandError
from zodbjobs.errors import NotInstalled
from zodbjobs.terminal import one_line

#: Seconds that a command waits for a ZEO server, unless the URI has a wait_timeout.
WAIT_SECONDS = 5

#: Seconds that a worker waits for its ZEO server, which may start at the same time.
SERVER_SECONDS = 30

#: Objects that a connection keeps in memory.
_CACHE_SIZE = 10_000

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//|\()")


class FileInUse(CommandError):
    """Another process has the file open."""


@contextlib.contextmanager
def opened(
    database: Database,
    *,
    create: bool = False,
    read_only: bool = False,
    alone: bool = False,
    wait_seconds: int | None = None,
) -> Iterator[Any]:
    """The open ZODB.DB of a path, a URI or an application, closed at the end.

    A file that a supervisor serves is opened through its server. `create`: make the file if
    it is missing. `read_only`: look at a file that another process has open. `alone`: have
    the file itself, or nothing. These are for paths. `wait_seconds`: how long to wait for a
    ZEO server. An application isn't started for it. Raises CommandError if it can't be opened,
    and in place of NotInstalled.
    """
    with _open(database, create, read_only, alone, wait_seconds) as db:
        try:
            yield db
        except NotInstalled as error:
            raise CommandError(
                f"{database} has no queues yet; zodbjobs.install(db) makes them, and so does "
                f"`zodbjobs worker {database}`"
            ) from error


def looked_at(database: Database) -> contextlib.AbstractContextManager[Any]:
    """The open ZODB.DB to read from, whoever else has it: a file that a supervisor serves through
    its server, which needn't read the file anew; any other one read-only. Raises as `opened`.
    """
    if isinstance(database, Application):
        return opened(database, read_only=True)
    if is_uri(database):
        return opened(database)
    served = _open_served(database)
    return opened(database, read_only=True) if served is None else contextlib.closing(served)


def _open(
    database: Database, create: bool, read_only: bool, alone: bool, wait_seconds: int | None
) -> contextlib.AbstractContextManager[Any]:
    if isinstance(database, Application):
        if create:
            raise CommandError(f"--create is for paths; {database} says what is made")
        return database.opened(read_only=read_only, wait_seconds=wait_seconds)
    if is_uri(database):
        if create or read_only:
            raise CommandError(
                "--create and --read-only are for paths; add ?create=1 or ?read_only=1 to the URI"
            )
        return contextlib.closing(open_uri(database, wait_seconds or WAIT_SECONDS))
    return contextlib.closing(_open_path(database, create, read_only, alone))


def is_uri(database: str) -> bool:
    """Whether it is a URI, not a path."""
    return _URI.match(database) is not None


def blobs_of(path: str) -> str:
    """The directory of the blobs of the file at `path`."""
    return f"{path}.blobs"


def file_storage(path: str, *, create: bool = False, read_only: bool = False) -> Any:
    """The open FileStorage at `path`; CommandError if it can't be had, FileInUse if
    another process has it.
    """
    check_path(path, create)
    blobs: str | None = blobs_of(path)
    if read_only and not Path(blobs_of(path)).is_dir():
        blobs = None
    with _storage_errors_explained(path):
        return FileStorage(path, read_only=read_only, blob_dir=blobs)


@contextlib.contextmanager
def _storage_errors_explained(path: str) -> Iterator[None]:
    try:
        yield
    except LockError as error:
        raise FileInUse(_in_use(path)) from error
    except (OSError, POSError) as error:
        raise CommandError(f"can't open {path} ({one_line(error)}); check the path") from error


def _open_path(path: str, create: bool, read_only: bool, alone: bool) -> Any:
    try:
        storage = file_storage(path, create=create, read_only=read_only)
    except FileInUse:
        served = None if alone else _open_served(path)
        if served is None:
            raise
        return served
    with _storage_errors_explained(path):
        return DB(storage, cache_size=_CACHE_SIZE)


def _open_served(path: str) -> Any | None:
    """The database through the server that the file beside it names; None if that is gone."""
    try:
        uri = zeo_address.served_at(path).read_text(encoding="utf-8").strip()
        if not zeo_address.serves(zeo_address.of_uri(uri)):
            return None
        return open_uri(uri, WAIT_SECONDS)
    except (OSError, ValueError, CommandError):  # left there by a supervisor that was killed
        return None


def check_path(path: str, create: bool) -> None:
    """Raise CommandError if `path` can't be opened for what the file is."""
    _check_file(path, create, f"make a new database with `zodbjobs worker --create {path}`")


def _check_file(path: str, create: bool, how_to_create: str) -> None:
    """Raise CommandError if there is no FileStorage at `path`, and none is to be made there."""
    file = Path(path)
    if file.is_dir():
        raise CommandError(f"{path} is a directory; give the path of a file in it, often Data.fs")
    if file.exists():
        with file.open("rb") as data:
            start = data.read(len(packed_version))
        if start != packed_version and not (create and not start):
            raise CommandError(
                f"{path} isn't a FileStorage; give the path of one, often Data.fs, or a URI "
                "such as zeo://localhost:8100"
            )
    elif not create:
        raise CommandError(f"there is no file {path}; check the path, or {how_to_create}")
    elif not file.parent.is_dir():
        raise CommandError(f"there is no directory {file.parent}; make it, or check the path")


def in_use(path: str) -> str:
    """Who has the file, for people."""
    try:
        pid = Path(f"{path}.lock").read_text().split()[0]
    except (OSError, IndexError):
        pid = "?"
    return f"{path} is held by process {pid}, and a FileStorage has room for one"


def _in_use(path: str) -> str:
    return (
        f"{in_use(path)}; stop that process, look with jobs, show or stats --read-only, or have "
        f"it served for many: `zodbjobs worker {path} --processes 2`"
    )


def open_uri(uri: str, wait_seconds: int | None = None, **named: Any) -> Any:
    """The open ZODB.DB of a URI; `named`: arguments of it that the URI doesn't say.

    `wait_seconds`: how long to wait for a ZEO server. Raises CommandError if it can't be opened.
    """
    from zodburi import NoResolverForScheme, resolve_uri

    file = re.match(r"file://([^?#]*)", uri)
    bounded = _bounded(uri, wait_seconds or WAIT_SECONDS)
    try:
        if file:
            _check_file(file[1], "create=" in uri, "add ?create=1 to the URI")
        factory, arguments = resolve_uri(bounded)
        return DB(factory(), **{**arguments, **named})
    except CommandError:
        raise
    except LockError as error:
        raise CommandError(_in_use(file[1] if file else uri)) from error
    except TransientError as error:
        raise CommandError(
            f"no server answers at {bounded}; start it, or check host and port"
        ) from error
    except NoResolverForScheme as error:
        schemes = ", ".join(sorted({e.name for e in entry_points(group="zodburi.resolvers")}))
        raise CommandError(
            f"nothing here opens {uri} (known schemes: {schemes}); check the scheme, or install "
            "its package, such as RelStorage for postgres"
        ) from error
    except Exception as error:
        reason = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise CommandError(
            f"can't open {uri} ({type(error).__name__}: {one_line(reason)}); check the address, "
            "and that its server runs"
        ) from error


def _bounded(uri: str, seconds: int) -> str:
    """The URI with a limit to the wait for a ZEO server, unless it has one."""
    if not uri.startswith("zeo:") or "wait_timeout=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}wait_timeout={seconds}"


@contextlib.contextmanager
def all_closed(databases: Mapping[Any, Any]) -> Iterator[None]:
    """Close those databases at the end which are there by then."""
    try:
        yield
    finally:
        for db in list(databases.values()):
            db.close()
