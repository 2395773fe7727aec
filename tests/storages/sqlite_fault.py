"""A fault of RelStorage on SQLite, and how to do without it.

When a commit fails by a conflict over what it has only read, its rows stay in the temporary
table of the pooled session, and the next transaction there commits them too: sessions that
aren't in a transaction of SQLite's are not rolled back, and the roll back would clear the
table. The tests mend it, for they are about jobs; without that the race tests fail at times.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock


@contextlib.contextmanager
def mended() -> Iterator[None]:
    """For the databases that are opened in it: each session is rolled back."""
    from relstorage.adapters.sqlite.drivers import Sqlite3Driver

    with mock.patch.object(Sqlite3Driver, "connection_may_need_rollback", return_value=True):
        yield
