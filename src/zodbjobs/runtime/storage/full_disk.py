"""Has a FileStorage drop what is left of a commit for which the disk had no room.

ZODB means to, but meets the error once more while it cleans up (FileStorage.tpc_vote). Then
half a transaction stays behind the end of the file, in the file's buffer and in those of its
readers. What is committed later at that place is read wrongly, until the file is opened anew.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from ZODB.FileStorage import FileStorage


def mend(storage: Any) -> None:
    """Mend `storage` for this process, if it is a FileStorage; no matter if that was done."""
    if isinstance(storage, FileStorage):

        def abort() -> None:
            FileStorage._abort(storage)
            if not _is_clean(storage):
                _drop_leftovers(storage)

        # The commit lock is held whenever it is called, so nothing is committed meanwhile.
        storage._abort = abort


def _is_clean(storage: FileStorage) -> bool:
    try:
        storage._file.flush()
    except OSError:
        return False
    return bool(os.fstat(storage._file.fileno()).st_size == storage._pos)


def _drop_leftovers(storage: FileStorage) -> None:
    with contextlib.suppress(OSError):
        storage._file.close()  # writes what is in its buffer, if it can
    storage._file = open(storage._file_name, "r+b")  # noqa: SIM115
    storage._file.truncate(storage._pos)
    storage._files.flush()
