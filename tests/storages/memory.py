"""A storage in memory that has the queues and the container in it from the start."""

from __future__ import annotations

import functools
from typing import Any

import ZODB.config
import ZODB.utils
from BTrees.OOBTree import OOBucket
from ZODB.MappingStorage import MappingStorage, TransactionRecord

from storages import templates


class Installed(ZODB.config.BaseConfig):
    """What ``<installedstorage>`` is, once `storages` is imported in a configuration."""

    def open(self) -> Any:
        """A storage with all that the template has, as if it had been stored here."""
        made, template = MappingStorage(self.config.name), _template()
        # What it stores by itself takes ten times as long, with a lock taken for each object.
        made._data = {oid: OOBucket(found) for oid, found in template._data.items()}
        for tid, found in template._transactions.items():
            made._transactions[tid] = TransactionRecord(tid, found, dict(found.data))
        made._ltid, made._oid = template._ltid, template._oid
        return made


@functools.cache
def _template() -> Any:
    """The template, in memory."""
    made, last = MappingStorage(), {}
    with templates.opened() as stored:
        for transaction in stored.iterator():
            made.tpc_begin(transaction, transaction.tid)
            for record in transaction:
                before = last.get(record.oid, ZODB.utils.z64)
                made.store(record.oid, before, record.data, "", transaction)
                last[record.oid] = transaction.tid
            made.tpc_vote(transaction)
            made.tpc_finish(transaction)
    made._oid = max(map(ZODB.utils.u64, last))
    return made
