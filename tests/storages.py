"""The storages that the contract suite runs on; each makes the database of one test.

Add a function here and to MAKERS, and every test of the contract runs on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ZODB
from ZODB.blob import BlobStorage
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage


def open_file(path: str) -> Any:
    """A file, with blobs beside it."""
    return ZODB.DB(FileStorage(path, blob_dir=path + ".blobs"))


def file_storage(folder: Path) -> Any:
    """On a file."""
    return open_file(str(folder / "Data.fs"))


def mapping_storage(folder: Path) -> Any:
    """In memory."""
    return ZODB.DB(BlobStorage(str(folder / "blobs"), MappingStorage()))


def demo_storage(folder: Path) -> Any:
    """Changes in memory over a base."""
    return ZODB.DB(DemoStorage(base=MappingStorage(), changes=MappingStorage()))


MAKERS = {
    "FileStorage": file_storage,
    "MappingStorage": mapping_storage,
    "DemoStorage": demo_storage,
}
