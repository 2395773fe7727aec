"""A storage in memory that has the queues and the container in it from the start."""

from __future__ import annotations

import functools
from typing import Any

import ZODB.config
import ZODB.utils
from ZODB.MappingStorage import MappingStorage

from storages import templates


class Installed(ZODB.config.BaseConfig):
    """What ``<installedstorage>`` is, once `storages` is imported in a configuration."""

    def open(self) -> Any:
        """Store what the template has, with the times that it has there."""
        storage = MappingStorage(self.name)
        for transaction, records in _transactions():
            storage.tpc_begin(transaction, transaction.tid)
            for oid, before, data in records:
                storage.store(oid, before, data, "", transaction)
            storage.tpc_vote(transaction)
            storage.tpc_finish(transaction)
        last = max(storage._data)
        while storage.new_oid() < last:
            pass
        return storage


@functools.cache
def _transactions() -> list[tuple[Any, list[tuple[bytes, bytes, bytes]]]]:
    """Those of the template, each with what it stored: oid, the transaction before, the data."""
    found, last = [], {}
    with templates.opened() as storage:
        for transaction in storage.iterator():
            records = [
                (record.oid, last.get(record.oid, ZODB.utils.z64), record.data)
                for record in transaction
            ]
            last.update((oid, transaction.tid) for oid, _, _ in records)
            found.append((transaction, records))
    return found
