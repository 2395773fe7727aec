"""Makes databases as zc.async on Python 2 left them, without either.

The pickles are those of Python 2: strings are SHORT_BINSTRING, and classes are no more than
their names. Which attributes a class has was read from zc.async 1.5, zc.queue and zc.dict.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.utils import p64, z64


class Name:
    """A class or a function of the old installation: ``"module:name"``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any) -> Made:
        """An instance, for `pickle` wants something that can be called."""
        return Made(self, args)


class Made:
    """An instance that lies within a record."""

    def __init__(self, kind: Name, args: tuple[Any, ...] = (), state: Any = None) -> None:
        self.kind, self.args, self.state = kind, args, state


class Stored:
    """An object with a record of its own. `state` may be changed until it is written."""

    def __init__(self, oid: bytes, name: str, state: Any) -> None:
        self.oid, self.name, self.state = oid, name, state

    @property
    def id(self) -> str:
        return str(int.from_bytes(self.oid, "big"))


class Raw:
    """A persistent reference of any form."""

    def __init__(self, reference: Any) -> None:
        self.reference = reference


# The one of the standard library in Python, whose opcodes can be chosen.
class _Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Stored):
            return value.oid, Name(value.name)
        return value.reference if isinstance(value, Raw) else None

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, Name):
            module, _, name = value.name.partition(":")
            self.write(b"c" + module.encode() + b"\n" + name.encode() + b"\n")
        elif isinstance(value, Made):
            self.save_reduce(value.kind, value.args, value.state)
        elif isinstance(value, bytes):
            assert len(value) < 256
            self.write(b"U" + bytes([len(value)]) + value)
        else:
            super().save(value, save_persistent_id)


def record(kind: Any, state: Any, protocol: int = 1) -> bytes:
    """The data of a record. `kind` is the name of its class, or that in an older form."""
    file = io.BytesIO()
    for value in (Name(kind) if isinstance(kind, str) else kind, state):
        _Pickler(file, protocol).dump(value)
    return file.getvalue()


def utc(moment: datetime) -> Made:
    """A datetime in UTC as pytz and Python 2 pickle it."""
    data = moment.replace(tzinfo=None).__reduce__()[1][0]  # type: ignore[index]
    return Made(Name("datetime:datetime"), (data, Made(Name("pytz:_UTC"))))


def span(duration: timedelta) -> Made:
    """A timedelta."""
    fields = (duration.days, duration.seconds, duration.microseconds)
    return Made(Name("datetime:timedelta"), fields)


class OldDatabase:
    """The objects of a database with zc.async in it."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []
        self.root = self.store("persistent.mapping:PersistentMapping", {b"data": {}})
        assert self.root.oid == z64
        self.queues: dict[bytes, Stored] = {}

    def store(self, name: str, state: Any) -> Stored:
        """An object of a class, by its name, with its state."""
        self.stored.append(Stored(p64(len(self.stored)), name, state))
        return self.stored[-1]

    def sequence(self, items: Iterable[Any]) -> Stored:
        return self.store("persistent.list:PersistentList", {b"data": list(items)})

    def mapping(self, items: dict[Any, Any]) -> Stored:
        return self.store("persistent.mapping:PersistentMapping", {b"data": items})

    def tree(self, pairs: Sequence[tuple[Any, Any]], family: str = "OO") -> Stored:
        """A BTree: empty, with its only bucket in it, or with buckets of three pairs."""
        kind = f"BTrees.{family}BTree:{family}"
        flat = [
            tuple(x for pair in pairs[i : i + 3] for x in pair) for i in range(0, len(pairs), 3)
        ]
        if len(flat) < 2:
            return self.store(f"{kind}BTree", (((flat[0],),),) if flat else None)
        buckets: list[Stored] = []
        for part in reversed(flat):
            buckets.insert(0, self.store(f"{kind}Bucket", (part, *buckets[:1])))
        children: list[Any] = [buckets[0]]
        for part, bucket in zip(flat[1:], buckets[1:], strict=True):
            children += [part[0], bucket]
        return self.store(f"{kind}BTree", (tuple(children), buckets[0]))

    def zc_dict(self, name: str, items: dict[Any, Any], **more: Any) -> Stored:
        """A subclass of zc.dict.Dict."""
        state = {b"_data": self.tree(list(items.items())), b"_len": self.store("x:Length", 1)}
        return self.store(name, state | {key.encode(): value for key, value in more.items()})

    def composite(self, items: Sequence[Any]) -> Stored:
        """A CompositeQueue, with two items in each of its parts."""
        parts = [self.bucket(items[i : i + 2]) for i in range(0, len(items), 2)]
        return self.store("zc.queue._queue:CompositeQueue", {b"_data": tuple(parts)})

    def bucket(self, items: Sequence[Any]) -> Stored:
        return self.store("zc.queue._queue:BucketQueue", {b"_data": tuple(items)})

    def job(self, call: Any, *args: Any, kind: str = "zc.async.job:Job", **terms: Any) -> Stored:
        """A job. `call` is a name, a Stored, or a pair of one and a method.

        `terms` are further attributes, but for `kwargs` and `callbacks`.
        """
        root, method = call if isinstance(call, tuple) else (call, None)
        state = {
            b"_callable_root": Name(root) if isinstance(root, str) else root,
            b"_status_id": 0,
            b"args": self.sequence(args),
            b"kwargs": self.mapping(terms.pop("kwargs", {})),
            b"callbacks": self.bucket(terms.pop("callbacks", ())),
            b"annotations": self.tree([]),
        }
        if method:
            state[b"_callable_name"] = method
        return self.store(kind, state | {key.encode(): value for key, value in terms.items()})

    def pair(self, success: Any, failure: Any, callbacks: Sequence[Any] = ()) -> Stored:
        """What addCallbacks makes."""
        return self.store(
            "zc.async.job:SuccessFailureCallbackProxy",
            {
                b"default": success,
                b"conditionals": self.sequence([(Name("zc.async.job:isFailure"), failure)]),
                b"callbacks": self.bucket(callbacks),
            },
        )

    def agent(self, jobs: Sequence[Any] = (), completed: Sequence[Any] = ()) -> Stored:
        """An agent with the jobs that it has, and those in its history, the newest first."""
        trees = [
            self.tree([(2**60 + number, job) for number, job in enumerate(part)], "LO")
            for part in (completed[:1], completed[1:], [])
        ]
        forest = self.store("zope.bforest.periodic:LOBForest", {b"buckets": self.sequence(trees)})
        history = self.store("zc.async.utils:Periodic", {b"_data": forest})
        state = {b"_data": self.bucket(jobs), b"completed": history, b"size": 3}
        return self.store("zc.async.agent:Agent", state)

    def queue(
        self,
        name: bytes = b"",
        jobs: Sequence[Any] = (),
        *,
        held: Sequence[tuple[datetime, Any]] = (),
        back: Sequence[Any] = (),
        quotas: dict[bytes, int] | None = None,
        agent: Stored | None = None,
    ) -> Stored:
        """A queue, with one dispatcher if it has an agent."""
        sizes = {
            key: self.store("zc.async.queue:Quota", {b"name": key, b"size": size, b"_data": ()})
            for key, size in (quotas or {}).items()
        }
        agents = self.zc_dict("zc.async.queue:DispatcherAgents", {b"main": agent})
        uuid = Made(Name("copy_reg:_reconstructor"), (Name("uuid:UUID"), None), {b"int": 10})
        keys = [((utc(due), b"unnamed", p64(n)), job) for n, (due, job) in enumerate(held)]
        state = {
            b"_queue": self.composite(jobs),
            b"_held": self.tree(keys),
            b"quotas": self.zc_dict("zc.async.queue:Quotas", sizes),
            b"dispatchers": self.zc_dict(
                "zc.async.queue:Dispatchers", {uuid: agents} if agent else {}
            ),
        }
        if back:
            state[b"_putback_queue"] = self.composite(back)
        self.queues[name] = self.store("zc.async.queue:Queue", state)
        return self.queues[name]

    def write(
        self,
        path: Path,
        *,
        magic: bytes = b"FS21",
        protocol: int = 1,
        change: Callable[[bytes], bytes] = lambda data: data,
        without: Iterable[Stored] = (),
    ) -> Path:
        """Write the file. `change` is done to the data of each record."""
        if self.queues:
            queues = self.zc_dict("zc.async.queue:Queues", self.queues)
            self.root.state[b"data"].setdefault(b"zc.async", queues)
        with contextlib.closing(FileStorage(str(path))) as storage:
            transaction = TransactionMetaData()
            storage.tpc_begin(transaction)
            for thing in self.stored:
                if thing not in without:
                    data = change(record(thing.name, thing.state, protocol))
                    storage.store(thing.oid, z64, data, "", transaction)
            storage.tpc_vote(transaction)
            storage.tpc_finish(transaction)
        for beside in path.parent.glob(f"{path.name}.*"):
            beside.unlink()
        stamp(path, magic)
        return path


def stamp(path: Path, magic: bytes) -> None:
    """Let the file begin with these bytes."""
    with path.open("r+b") as file:
        file.write(magic)
