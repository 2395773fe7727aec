"""Jobs that say that all they do is in their transaction, and some for which that isn't so."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import transaction
from persistent import Persistent
from ZODB.blob import Blob

import zodbjobs
from zodbjobs import local

#: Set by a test: what `meet` calls; who waits, and for what.
meeting: Callable[[], object] = dict
entered = threading.Event()
leave = threading.Event()

#: The names of those that were called, in the order of the calls.
called: list[object] = []


class Counter(Persistent):
    """Counts how often its method's effect is in the database."""

    def __init__(self) -> None:
        self.value = 0

    @zodbjobs.transactional
    def add(self) -> int:
        self.value += 1
        return self.value

    def add_alone(self) -> int:
        self.value += 1
        return self.value


class Hooked(zodbjobs.Job):
    """A kind of job with hooks."""

    def set_up(self) -> None:
        called.append("set_up")

    def tear_down(self, value: object) -> None:
        called.append("tear_down")


class Kind(zodbjobs.Job):
    """A kind of job of which all are transactional."""

    transactional = True


class Rude:
    """A resource that knows no savepoints."""

    transaction_manager = None

    def __init__(self) -> None:
        self.calls: list[str] = []

    def sortKey(self) -> str:
        return "rude"

    def _note(self, name: str) -> Callable[[Any], None]:
        return lambda txn: self.calls.append(name)

    def __getattr__(self, name: str) -> Any:
        if name in ("abort", "commit", "tpc_begin", "tpc_vote", "tpc_finish", "tpc_abort"):
            return self._note(name)
        raise AttributeError(name)


@zodbjobs.transactional
def count(counter: Counter, name: object = None) -> int:
    """Add one."""
    called.append(name)
    return counter.add()


@zodbjobs.transactional
def refuse(counter: Counter, name: object = None) -> None:
    """Add one, and fail."""
    called.append(name)
    counter.add()
    raise ValueError("refused")


@zodbjobs.transactional
def retry(job_id: str) -> None:
    """Put another job in again."""
    queue = local.get_queue()
    job = queue.get(job_id)
    assert job is not None
    queue.retry(job)


@zodbjobs.transactional
def meet(counter: Counter, name: object = None) -> int:
    """Add one, and do what the test says."""
    called.append(name)
    counter.add()
    meeting()
    return counter.value


@zodbjobs.transactional
def wait(counter: Counter) -> int:
    """Add one, and wait for leave."""
    counter.add()
    entered.set()
    assert leave.wait(60)
    return counter.value


@zodbjobs.transactional
def look(counter: Counter) -> int:
    """What is there."""
    return counter.value


@zodbjobs.transactional
def attach(counter: Counter) -> int:
    """Leave a file."""
    called.append("attach")
    counter.add()
    local.attach("a.txt", b"a")
    return counter.value


@zodbjobs.transactional
def beget(counter: Counter, fails: bool = False) -> int:
    """Also put a job."""
    zodbjobs.get_queue(counter).put(zodbjobs.Job(count, Counter(), "child"))
    counter.add()
    if fails:
        raise ValueError("refused")
    return counter.value


@zodbjobs.transactional
def end_transaction(counter: Counter, how: str) -> int:
    """What a transactional job must not do."""
    called.append(how)
    counter.add()
    getattr(transaction, how)()
    return counter.value


@zodbjobs.transactional
def spoil(counter: Counter) -> None:
    """Leave what can't be stored."""
    counter.add()
    counter.spoilt = threading.Lock()  # type: ignore[attr-defined]


class Exits(Persistent):
    """It can't be stored, and says so in a way that ends a thread."""

    def __getstate__(self) -> object:
        raise SystemExit("no")


@zodbjobs.transactional
def exit_when_stored(counter: Counter) -> None:
    """Leave that."""
    counter.add()
    counter.exits = Exits()  # type: ignore[attr-defined]


@zodbjobs.transactional
def delegate(counter: Counter) -> zodbjobs.Job:
    """Let another job do it."""
    return zodbjobs.Job(counter.add)


@zodbjobs.transactional
def cancel(counter: Counter, job: zodbjobs.Job) -> None:
    """Cancel another job."""
    counter.add()
    job.cancel()


def note(result: object) -> None:
    """What a callback does."""
    called.append(result)


@zodbjobs.transactional
def check(counter: Counter) -> int:
    """Make a checkpoint."""
    called.append("check")
    counter.add()
    local.checkpoint(1)
    return counter.value


@zodbjobs.transactional
def swallow(counter: Counter, how: str) -> int:
    """Do what a transactional job must not do, and let nobody know."""
    called.append(how)
    counter.add()
    with contextlib.suppress(BaseException):
        local.attach("a.txt", b"a") if how == "attach" else getattr(transaction, how)()
    return counter.value


@zodbjobs.transactional
def put_unique(counter: Counter, name: str) -> None:
    """Put a job unless there is one with that key that hasn't ended."""
    job = zodbjobs.Job(count, counter, "again")
    zodbjobs.get_queue(counter).put(job, unique=name, unique_until="ended")
    counter.add()


@zodbjobs.transactional
def put_after(counter: Counter, job: zodbjobs.Job) -> None:
    """Put a job behind another one."""
    zodbjobs.get_queue(counter).put(zodbjobs.Job(count, counter, "after"), after=[job])
    counter.add()


@zodbjobs.transactional
def grow(tree: Any, key: int, length: Any) -> None:
    """Add an object with a blob to a tree; fail with every other key of a hundred."""
    called.append(key)
    made = tree[key] = Counter()
    made.add()
    length.change(1)
    made.file = Blob()  # type: ignore[attr-defined]
    with made.file.open("w") as file:  # type: ignore[attr-defined]
        file.write(b"%d" % key)
    if key // 100 % 2 == 0:
        raise ValueError("refused")
