"""Who else can have a storage open, and which of its errors are waited out."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ZEO
from storages import zeo_servers
from ZEO.Exceptions import ServerException
from ZODB.blob import BlobStorage
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from zodbjobs.runtime.storage import abilities, errors


def is_for_one_process(of: Any) -> bool:
    return abilities.is_for_one_process(SimpleNamespace(storage=of))


class Wrapper:
    """Gives out all that a storage has, as those do that compress or encrypt."""

    def __init__(self, base: Any) -> None:
        self.base = base

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[FileStorage]:
    with contextlib.closing(FileStorage(str(tmp_path / "Data.fs"))) as opened:
        yield opened


def test_storages_for_one_process(file: FileStorage, tmp_path: Path) -> None:
    assert is_for_one_process(file)
    assert is_for_one_process(MappingStorage())
    assert is_for_one_process(BlobStorage(str(tmp_path / "blobs"), file))
    demo = DemoStorage(base=file)
    demo.temporaryDirectory()  # now it has a place for blobs
    assert isinstance(demo.changes, BlobStorage)
    assert is_for_one_process(demo)
    assert is_for_one_process(demo.push())


def test_storages_that_others_may_have_open(file: FileStorage, tmp_path: Path) -> None:
    assert not is_for_one_process(Wrapper(file))
    assert not is_for_one_process(BlobStorage(str(tmp_path / "blobs"), Wrapper(MappingStorage())))
    assert not is_for_one_process(DemoStorage(base=Wrapper(file)))
    assert not is_for_one_process(DemoStorage(changes=Wrapper(MappingStorage())))
    with contextlib.closing(FileStorage(file.getName(), read_only=True)) as second:
        assert not is_for_one_process(second)


def test_what_lies_over_a_server_is_shared() -> None:
    with (
        zeo_servers.in_a_thread() as address,
        contextlib.closing(ZEO.client(address)) as client,
    ):
        assert not is_for_one_process(client)
        demo = DemoStorage(base=client)
        assert not is_for_one_process(demo)
        assert not is_for_one_process(demo.push())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_no_room_is_waited_out(number: int) -> None:
    assert errors.is_unavailable(OSError(number, "no room"))
    # What a ZEO client raises when its server has raised that.
    assert errors.is_unavailable(ServerException("builtins.OSError", (number, "no room")))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "no right"),
        ServerException("builtins.OSError", (errno.EACCES, "no right")),
        ServerException("builtins.OSError", ()),
        ServerException("builtins.ValueError", (errno.ENOSPC,)),
    ],
)
def test_other_errors_are_not(error: Exception) -> None:
    assert not errors.is_unavailable(error)
