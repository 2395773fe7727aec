"""``--paste FILE[?VARIABLE=VALUE][#NAME]``: the databases of a Pyramid application, and the
application itself.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from transaction.interfaces import TransientError
from zc.lockfile import LockError

from zodbjobs.cli.application import without_values
from zodbjobs.cli.database import FileInUse, all_closed, open_uri
from zodbjobs.cli.errors import CommandError, without_passwords
from zodbjobs.terminal import one_line

log = logging.getLogger("zodbjobs")

# What `zodbjobs.pyramid` has in the registry of an application: its database.
_DB = "zodbjobs.db"

# The name of the database at zodbconn.uri.
_PRIMARY = ""


@contextlib.contextmanager
def opened(path: str, *, read_only: bool, wait_seconds: int | None) -> Iterator[Any]:
    """The primary database, with the others that the settings of the application name in its
    `databases`. The application isn't made.
    """
    loader, path = _loader(path), without_values(path)
    uris = _uris(path, _read(path, lambda: _settings(loader, loader.uri.fragment or "main")))
    if _PRIMARY not in uris:
        raise CommandError(
            f"the application of {path} has no setting zodbconn.uri; add it, or name the "
            "application that has one: FILE#NAME"
        )
    databases: dict[str, Any] = {}
    with all_closed(databases):
        for name, uri in uris.items():
            if read_only and uri.startswith("file:"):
                uri = f"{uri}{'&' if '?' in uri else '?'}read_only=1"
            open_uri(uri, wait_seconds, database_name=name, databases=databases)
        yield databases[_PRIMARY]


@contextlib.contextmanager
def started(path: str) -> Iterator[Any]:
    """The primary database of the application, which is made in this process."""
    loader, path = _loader(path), without_values(path)
    if "loggers" in _read(path, loader.get_sections):
        _read(path, loader.setup_logging)
    _read(path, loader.get_wsgi_app_settings)  # which says in a line what is wrong with the file
    from pyramid.config import global_registries

    before = list(global_registries)
    app = _made(path, loader)
    made = [found for found in global_registries if found not in before]
    databases = {id(db): db for found in made for db in _databases_of(found)}
    with all_closed(databases):
        yield _the_one(path, {found[_DB] for found in made if _DB in found})
    del app  # which had to be kept until here: registries are found as long as they are used


def _loader(path: str) -> Any:
    """What reads the file. Raises CommandError without Pyramid."""
    missing = [
        name
        for name in ("pyramid", "pyramid_zodbconn", "plaster_pastedeploy")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise CommandError(
            f"--paste needs {', '.join(missing)}; install zodbjobs[pyramid] into the environment "
            "of the application, and take the command from there"
        )
    import plaster

    return _read(without_values(path), lambda: plaster.get_loader(path, protocols=["wsgi"]))


def _read(path: str, read: Any) -> Any:
    """What is read of the file; CommandError for one that can't be used."""
    try:
        return read()
    except Exception as error:  # of plaster, PasteDeploy and configparser, which share no class
        raise CommandError(
            f"can't use {path} ({type(error).__name__}: {one_line(error)}); mend it"
        ) from error


def _settings(loader: Any, name: str) -> Any:
    """Those of the application of that name, or of the one behind filters."""
    for kind, option in (("pipeline", "pipeline"), ("filter-app", "next")):
        said = loader.get_settings(f"{kind}:{name}").get(option)
        if said:
            return _settings(loader, said.split()[-1])
    return loader.get_wsgi_app_settings(name)


def _uris(path: str, settings: Any) -> dict[str, str]:
    from pyramid_zodbconn import get_uris

    return dict(_read(path, lambda: list(get_uris(settings))))


def _made(path: str, loader: Any) -> Any:
    """The application. Raises CommandError if it can't be made."""
    try:
        return loader.get_wsgi_app(defaults={"__script__": "zodbjobs"})
    except LockError as error:
        raise FileInUse(
            f"another process has the database of {path} open ({one_line(error)}), and a "
            "FileStorage has room for one; stop that process, or have a ZEO server share the "
            "file, and say zodbconn.uri = zeo://HOST:PORT"
        ) from error
    except TransientError as error:
        raise CommandError(
            f"no server answers that {path} names ({one_line(error)}); start it, or check the "
            "address"
        ) from error
    except Exception as error:
        log.error("the application can't be made", exc_info=True)
        raise CommandError(
            f"the application of {path} can't be made ({type(error).__name__}: "
            f"{without_passwords(one_line(error))}); mend what the traceback above names"
        ) from error


def _databases_of(registry: Any) -> Iterable[Any]:
    return (getattr(registry, "_zodb_databases", None) or {}).values()


def _the_one(path: str, found: set[Any]) -> Any:
    if not found:
        raise CommandError(
            f"no application of {path} has jobs; call config.include('zodbjobs.pyramid') in it, "
            "or name another one: FILE#NAME"
        )
    if len(found) > 1:
        raise CommandError(
            f"the applications of {path} have {len(found)} databases, and a worker is "
            "for one; name the application: FILE#NAME"
        )
    return found.pop()
