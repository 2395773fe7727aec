"""Opens what the records are read from: a file of any Python, or a storage by its URI."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from ZODB.utils import load_current

from zodbjobs.cli.application import Application, Database
from zodbjobs.cli.database import is_uri, opened
from zodbjobs.cli.zc_async.data_file import DataFile
from zodbjobs.cli.zc_async.records import Records

_FILE_URI = re.compile(r"file://([^?#]*)")


@contextlib.contextmanager
def old_records(database: Database) -> Iterator[Records]:
    """The records of a path, a URI or an application; CommandError if it can't be opened."""
    path = _path_of(database)
    if path is not None:
        with contextlib.closing(DataFile(path)) as data_file:
            yield Records(data_file.load)
    else:
        with opened(database) as db:
            yield Records(lambda oid: load_current(db.storage, oid)[0])


def _path_of(database: Database) -> str | None:
    """The path of a file, also of one that a URI names; None if it is no file."""
    if isinstance(database, Application):
        return None
    file = _FILE_URI.match(database)
    if file:
        return file[1]
    return None if is_uri(database) else database
