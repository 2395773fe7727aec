"""A FileStorage whose disk is full and then has room again, in this process."""

from __future__ import annotations

import contextlib
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import transaction
from persistent.mapping import PersistentMapping
from storages import file_storage

from zodbjobs.runtime.storage import full_disk

COMMITS = 1_500


@contextlib.contextmanager
def room_for(path: Path, size: int | None) -> Iterator[None]:
    """Files of this process can only grow until they are `size` larger than `path` is."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if size is not None:
        limit = path.stat().st_size + size
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_read_afterwards_is_what_was_committed(tmp_path: Path) -> None:
    chance = random.Random(7)
    db = file_storage(tmp_path)
    full_disk.mend(db.storage)
    path = tmp_path / "Data.fs"
    writer, reader = (db.open(transaction.TransactionManager()) for _ in range(2))
    texts = dict.fromkeys(range(30), "")
    refused = 0
    for number in range(COMMITS):
        names = chance.sample(list(texts), chance.choice([1, 2, 5]))
        change = {name: f"{number} {'x' * chance.randrange(1_500)}" for name in names}
        size = chance.randrange(6_000) if number % 20 < 10 else None
        with room_for(path, size):
            try:
                commit(writer, change)
            except OSError:
                writer.transaction_manager.abort()
                refused += 1
            else:
                texts |= change
        assert read(reader, texts) == texts
    assert refused > COMMITS / 10
    for connection in (writer, reader):
        connection.transaction_manager.abort()
        connection.close()
    db.close()


def commit(connection: Any, change: dict[int, str]) -> None:
    root = connection.root()
    for name, text in change.items():
        root.setdefault(name, PersistentMapping())["text"] = text
    connection.transaction_manager.commit()


def read(connection: Any, names: Any) -> dict[int, str]:
    """The texts as they are in the file, not in the connection's cache."""
    connection.transaction_manager.begin()
    connection.cacheMinimize()
    root = connection.root()
    return {name: root[name]["text"] if name in root else "" for name in names}
