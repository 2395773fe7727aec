"""Opens what the records are read from: a file of any Python, or a storage by its URI."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from ZODB.utils import load_current

from zodbjobs.cli.database import is_uri, opened
from zodbjobs.cli.zc_async.data_file import DataFile
from zodbjobs.cli.zc_async.records import Records

_FILE_URI = re.compile(r"file://([^?#]*)")


@contextlib.contextmanager
def old_records(database: str) -> Iterator[Records]:
    """The records of a path or a URI; CommandError if it can't be opened."""
    file = _FILE_URI.match(database)
    if file or not is_uri(database):
        with contextlib.closing(DataFile(file[1] if file else database)) as data_file:
            yield Records(data_file.load)
    else:
        with opened(database) as db:
            yield Records(lambda oid: load_current(db.storage, oid)[0])
