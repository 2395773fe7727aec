"""A database with the queues and the container in it, for tests to start from.

It is made once in a process; installing anew for each test would take a third of what tests take.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ZODB
from ZODB.FileStorage import FileStorage

import zodbjobs
from storages.scratch import make_folder

#: How the file is named, also where it is copied to.
NAME = "Data.fs"


@functools.cache
def _file() -> Path:
    """The file, with its index and its folder for blobs beside it."""
    path = make_folder("template-") / NAME
    db = ZODB.DB(FileStorage(str(path), blob_dir=f"{path}.blobs"))
    zodbjobs.install(db)
    db.close()
    return path


def make() -> None:
    """Make it now, before a test has moved a clock or changed a default."""
    _file()


def copy(path: Path) -> None:
    """Copy it to `path`, with what is beside it."""
    for name in ("", ".index"):
        shutil.copyfile(f"{_file()}{name}", f"{path}{name}")
    shutil.copytree(f"{_file()}.blobs", f"{path}.blobs")


@contextlib.contextmanager
def opened() -> Iterator[Any]:
    """Its storage, to be read."""
    storage = FileStorage(str(_file()), read_only=True)
    yield storage
    storage.close()


def remove() -> None:
    """Remove it, if it was made."""
    if _file.cache_info().currsize:
        shutil.rmtree(_file().parent)
        _file.cache_clear()
