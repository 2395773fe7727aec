"""What a storage can: who else can open it, how it tells of commits, where its ids come from."""

from __future__ import annotations

import contextlib
from typing import Any

from ZODB.blob import BlobStorage
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.interfaces import IMVCCStorage
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import Unsupported

# As many object ids a ZEO client fetches at a time.
_IDS_IN_STORE = 100


def is_for_one_process(db: Any) -> bool:
    """Whether no other process can have the database open while this one has.

    All workers of other processes are taken for dead then, so it is False of a storage that
    isn't known: that of a server, one that wraps another, or a file that was opened to read.
    """
    return _is_unshared(db.storage)


def _is_unshared(storage: Any) -> bool:
    if isinstance(storage, BlobStorage):
        # It passes on all attributes but its own, and so has no public way to what it wraps.
        return _is_unshared(storage._BlobStorage__storage)  # noqa: SLF001
    if isinstance(storage, DemoStorage):
        # Its own part may be on a server, and in its base may be workers that live.
        return _is_unshared(storage.base) and _is_unshared(storage.changes)
    if isinstance(storage, FileStorage):
        return not storage.isReadOnly()  # to read, it takes no lock
    return isinstance(storage, MappingStorage)


def must_be_polled(db: Any) -> bool:
    """Whether the storage has to be asked for the commits of others, and each connection's
    part of it for itself, as with RelStorage. Elsewhere ``db.lastTransaction()`` tells.
    """
    return bool(IMVCCStorage.providedBy(db.storage))


def blob_folder(db: Any) -> str | None:
    """The folder for blobs that aren't committed yet, on the disk where they will be; None if the
    storage takes no blobs.
    """
    try:
        folder: str | None = db.storage.temporaryDirectory()
    except (AttributeError, Unsupported):
        return None
    return folder


def is_away(db: Any) -> bool:
    """Whether the client of a ZEO server has no connection to it right now."""
    return str(db.storage.getName()).endswith("(disconnected)")


def skip_ids(db: Any) -> None:
    """Drop the object ids that the client of a ZEO server has in store.

    Waits for the server, not longer than the client does, if that is away.
    """
    with contextlib.suppress(Exception):  # which the next transaction will meet again
        for _ in range(_IDS_IN_STORE):
            db.new_oid()
