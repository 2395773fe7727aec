"""``--zope-conf FILE``: the databases of a Zope instance, and the instance itself."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import logging.config
import os
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import transaction
from transaction.interfaces import TransientError
from zc.lockfile import LockError

from zodbjobs.cli.errors import CommandError
from zodbjobs.terminal import one_line

log = logging.getLogger("zodbjobs")

# What `runwsgi` is given: it has the log of the instance, which zope.conf hasn't.
_LOG_FILES = ("zope.ini", "wsgi.ini")


@contextlib.contextmanager
def opened(path: str, *, read_only: bool, wait_seconds: int | None) -> Iterator[Any]:
    """The database at the root of Zope, with the others that `path` names in its `databases`.

    No product is initialized, and no ZCML loaded: what the objects are of is imported when it
    is used.
    """
    starter = _configured(path)
    tab = starter.cfg.dbtab
    for database in tab.db_factories.values():
        _adjust(database.config.storage, read_only, wait_seconds)
    with _storage_errors_explained(path, starter), _all_closed(tab.databases):
        for name in tab.mount_paths.values():
            tab.getDatabase(name=name)
        yield tab.getDatabase("/")


@contextlib.contextmanager
def started(path: str) -> Iterator[Any]:
    """The database of Zope, which is started in this process as `runwsgi` starts it."""
    starter = _configured(path)
    _set_up_logging(path)
    # The process is a worker, and needs no other one, which worker.zcml would start.
    os.environ["ZODBJOBS_THREADS"] = "0"
    with _storage_errors_explained(path, starter), _all_closed(starter.cfg.dbtab.databases):
        try:
            starter.prepare()
        except (LockError, TransientError):
            raise
        except Exception as error:
            log.error("Zope doesn't start", exc_info=True)
            raise CommandError(
                f"Zope doesn't start with {path} ({type(error).__name__}: {one_line(error)}); "
                "mend what the traceback above names"
            ) from error
        import Zope2

        # Products begin transactions, in which the thread would see old data.
        transaction.abort()
        yield Zope2.DB


def _configured(path: str) -> Any:
    """What starts Zope, with the configuration of the process set. Raises CommandError."""
    if importlib.util.find_spec("Zope2") is None:
        raise CommandError(
            "--zope-conf needs Zope; install zodbjobs[zope] into the environment of the instance, "
            "and take the command from there"
        )
    from ZConfig import ConfigurationError
    from Zope2.Startup.run import configure_wsgi

    try:
        return configure_wsgi(os.path.abspath(path))
    except (ConfigurationError, ValueError) as error:
        raise CommandError(f"can't use {path} ({one_line(error)}); mend it") from error


def _adjust(storage: Any, read_only: bool, wait_seconds: int | None) -> None:
    """Have a FileStorage opened read-only, and a ZEO client wait for so long, by the settings of
    their sections.
    """
    config = getattr(storage, "config", None)
    kind = config.getSectionType() if hasattr(config, "getSectionType") else ""
    if read_only and kind == "filestorage":
        config.read_only = True
    if wait_seconds is not None and kind == "zeoclient":
        config.wait_timeout = wait_seconds


@contextlib.contextmanager
def _storage_errors_explained(path: str, starter: Any) -> Iterator[None]:
    yield


@contextlib.contextmanager
def _all_closed(databases: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for db in list(databases.values()):
            db.close()


def _set_up_logging(path: str) -> None:
    """Log as the file beside it says that the server of the instance is started with, if any."""
    for name in _LOG_FILES:
        file = Path(path).absolute().with_name(name)
        parser = ConfigParser()
        parser.read(file)
        if parser.has_section("loggers"):
            defaults = {"__file__": str(file), "here": str(file.parent)}
            logging.config.fileConfig(file, defaults, disable_existing_loggers=False)
            return
