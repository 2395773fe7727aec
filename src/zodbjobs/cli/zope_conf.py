"""``--zope-conf FILE``: the databases of a Zope instance, and the instance itself."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import logging.config
import os
import re
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import transaction
from transaction.interfaces import TransientError
from zc.lockfile import LockError
from ZODB.POSException import POSError

from zodbjobs.cli.database import WAIT_SECONDS, FileInUse, all_closed, in_use
from zodbjobs.cli.errors import CommandError
from zodbjobs.terminal import one_line

log = logging.getLogger("zodbjobs")

# What `runwsgi` is given: it has the log of the instance, which zope.conf hasn't.
_LOG_FILES = ("zope.ini", "wsgi.ini")

# The configuration of a part of a storage that wraps another one.
_PARTS = ("base", "changes")


@contextlib.contextmanager
def opened(path: str, *, read_only: bool, wait_seconds: int | None) -> Iterator[Any]:
    """The database at the root of Zope, with the others that `path` names in its `databases`.

    No product is initialized, and no ZCML loaded: what the objects are of is imported when it
    is used.
    """
    starter = _configured(path)
    tab = starter.cfg.dbtab
    for section in _storage_sections(tab):
        if section.getSectionType() == "filestorage":
            _check_there(path, section)
            section.read_only = section.read_only or read_only
        elif hasattr(section, "wait_timeout"):
            section.wait_timeout = wait_seconds or WAIT_SECONDS
    with _storage_errors_explained(path), all_closed(tab.databases):
        for name in tab.mount_paths.values():
            tab.getDatabase(name=name)
        yield tab.getDatabase("/")


@contextlib.contextmanager
def started(path: str) -> Iterator[Any]:
    """The database of Zope, which is started in this process as `runwsgi` starts it."""
    starter = _configured(path)
    _set_up_logging(path)
    # This process is a worker, and needs no other one, which worker.zcml would start.
    os.environ["ZODBJOBS_THREADS"] = "0"
    with _storage_errors_explained(path), all_closed(starter.cfg.dbtab.databases):
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

        # Products read in the transaction of the thread, and nobody ends it.
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
        starter = configure_wsgi(os.path.abspath(path))
    except (ConfigurationError, ImportError, ValueError) as error:
        raise CommandError(f"can't use {path} ({one_line(error)}); mend it") from error
    if "/" not in starter.cfg.dbtab.mount_paths:
        raise CommandError(f"{path} has no <zodb_db> with the mount-point /; add it")
    for section in _storage_sections(starter.cfg.dbtab):
        # The file of the cache is for one process, that of the server.
        if getattr(section, "cache_path", None) is not None:
            section.cache_path = None
    return starter


def _storage_sections(tab: Any) -> Iterator[Any]:
    """The configuration of each storage, also of those that another one wraps."""
    left = [database.config.storage for database in tab.db_factories.values()]
    while left:
        section = getattr(left.pop(), "config", None)
        if section is not None:
            yield section
            left += [getattr(section, part) for part in _PARTS if getattr(section, part, None)]


def _check_there(path: str, section: Any) -> None:
    """Raise CommandError if a file is missing, which opening would make."""
    if not Path(section.path).exists():
        raise CommandError(
            f"there is no file {section.path}, which {path} names; start Zope once, or "
            f"`zodbjobs worker --zope-conf {path}`"
        )


@contextlib.contextmanager
def _storage_errors_explained(path: str) -> Iterator[None]:
    try:
        yield
    except LockError as error:
        found = re.search(r" '(.*)\.lock'", str(error))
        raise FileInUse(
            f"{in_use(found[1] if found else path)}; stop that process, look with --read-only, or "
            f"have a ZEO server share the file, and say <zeoclient> in {path}"
        ) from error
    except TransientError as error:
        raise CommandError(
            f"no server answers that {path} names ({one_line(error)}); start it, or check the "
            "address"
        ) from error
    except (OSError, POSError) as error:
        raise CommandError(
            f"can't open the databases of {path} ({one_line(error)}); check their paths"
        ) from error


def _set_up_logging(path: str) -> None:
    """Log as the file beside it says that the server of the instance is started with, if any."""
    for name in _LOG_FILES:
        file = Path(path).absolute().with_name(name)
        parser = RawConfigParser()
        parser.read(file)
        if parser.has_section("loggers"):
            defaults = {"__file__": str(file), "here": str(file.parent)}
            logging.config.fileConfig(file, defaults, disable_existing_loggers=False)
            return
