"""What the jobs of the tests call: a module that any process can import."""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import transaction
from persistent import Persistent
from ZODB.blob import Blob
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import local

log = logging.getLogger("sample")

#: Jobs that `wait` wait for it; a test sets it.
gate = threading.Event()

#: What `note` was called with, in the order of the calls.
noted: list[Any] = []


#: Whether a Brittle can't be unpickled, as after a change of its code.
brittle = False


def make_brittle() -> Brittle:
    """What a stored Brittle is made by."""
    if brittle:
        raise ValueError("there is no Brittle")
    return Brittle()


class Brittle:
    """An argument."""

    def __reduce__(self) -> Any:
        return make_brittle, ()


class SpecialJob(zodbjobs.Job):
    """A kind of job of the application's."""


class Account(Persistent):
    """Something of the application's."""

    def __init__(self, balance: int = 0) -> None:
        self.balance = balance
        self.transfers = 0

    def deposit(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    def overdraw(self) -> None:
        self.balance = -1
        raise ValueError("no credit")

    def vanishing(self) -> int:
        return self.balance

    def __call__(self, amount: int) -> int:
        return self.deposit(amount)


class Selfish(zodbjobs.Job):
    """A job that calls a method of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(self.double, number)

    def double(self, number: int) -> int:
        return 2 * number


class Unpicklable:
    """Refuses to be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


class Refused(Exception):
    """An error that can't be pickled."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__("refused")
        self.lock = threading.Lock()


class BadRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class BadPolicy:
    """A retry policy with a fault."""

    def delay(self, failure: object, attempts: int) -> float:
        raise RuntimeError("the policy is broken")


def nothing() -> None:
    pass


def add(*numbers: int, more: int = 0) -> int:
    return sum(numbers) + more


def note(value: Any) -> Any:
    noted.append(value)
    return value


def identity(value: Any) -> Any:
    return value


def fail(message: str = "it went wrong") -> None:
    try:
        raise KeyError("the cause")
    except KeyError as error:
        raise ValueError(message) from error


def fail_for_good() -> None:
    raise Refused(1, 2)


def wait() -> str:
    assert gate.wait(60)
    return "waited"


def deposit_and_wait(account: Account, amount: int) -> int:
    balance = account.deposit(amount)
    assert gate.wait(60)
    return balance


def leave(how: type[BaseException]) -> None:
    raise how("a job tries to end its worker")


def unpicklable() -> Any:
    return Unpicklable()


def store_unpicklable(account: Account) -> None:
    account.extra = Unpicklable()  # type: ignore[attr-defined]


async def later(value: Any) -> Any:
    return value


def conflicts(times: int) -> int:
    """Raise a ConflictError `times` times, then return how often it ran."""
    noted.append("ran")
    if len(noted) <= times:
        raise ConflictError("of the job's own making")
    return len(noted)


def chain(account: Account, times: int) -> None:
    """Put a job that does the same, `times` times."""
    account.deposit(1)
    if times > 1:
        local.get_queue().put(zodbjobs.Job(chain, account, times - 1))


def report(*percents: float) -> Any:
    for percent in percents:
        local.set_progress(percent, f"at {percent}")
    return local.get_job().annotations.get("percent")


def report_and_wait(percent: float) -> None:
    local.set_progress(percent, "half way")
    local.set_live_annotation("phase", "middle")
    log.warning("a line of the log")
    assert gate.wait(60)


def wait_for_cancel() -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if local.cancel_requested():
            noted.append("cancelled")
            return "cancelled"
        gate.wait(0.01)
    return "not cancelled"


def log_lines(number: int) -> None:
    for n in range(number):
        log.warning("line %s", n)


def touch(path: str) -> None:
    Path(path).touch()


def count_in_root(account: Account) -> int:
    account.deposit(1)
    return os.getpid()


def commit_by_itself(account: Account) -> None:
    account.deposit(1)
    transaction.commit()


def vanishing(value: Any) -> Any:
    """A test takes it away."""
    return value


def new_account(balance: int) -> Account:
    return Account(balance)


def new_account_for(accounts: list[Account]) -> Account:
    for account in accounts:
        account.deposit(0)
    return Account(len(accounts))


def give_up(account: Account) -> zodbjobs.Failure:
    account.deposit(1)
    return zodbjobs.Failure("sample.GaveUp", "no more", "")


def fail_until(attempt: int) -> int:
    noted.append("tried")
    if len(noted) < attempt:
        raise ValueError("not yet")
    return len(noted)


def deposit_with_a_rival(account: Account, amount: int) -> int:
    """The first time, somebody else deposits 10 meanwhile."""
    balance = account.deposit(amount)
    if not noted:
        noted.append("rival")
        manager = transaction.TransactionManager()
        connection = account._p_jar.db().open(manager)
        connection.get(account._p_oid).deposit(10)
        manager.commit()
        connection.close()
    return balance


def track_to(number: int) -> list[Any]:
    seen = []
    for _ in local.track(iter(range(number)), total=number):
        seen.append(local.get_live_annotation("percent"))
    return seen


def annotate() -> None:
    local.set_live_annotation("phase", (1, "two"))
    local.set_live_annotation("none", None)
    assert local.get_live_annotation("phase") == (1, "two")
    assert local.get_live_annotation("none", 5) is None
    assert local.get_live_annotation("other", 5) == 5
    assert local.get_job().status == "active"
    for bad in ([], {}, ([],), object()):
        try:
            local.set_live_annotation("bad", bad)
        except ValueError:
            continue
        raise AssertionError(bad)


def note_and_fail(value: Any) -> None:
    noted.append(value)
    raise ValueError(value)


def kill() -> None:
    """End the process as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def kill_once(marker: str) -> None:
    if not Path(marker).exists():
        Path(marker).touch()
        kill()


def transfer(one: Account, other: Account, amount: int) -> None:
    one.balance -= amount
    other.balance += amount
    one.transfers += 1


def copy_blob(blob: Blob) -> Blob:
    with blob.open() as file:
        return Blob(file.read() + b", and from there")


def make_blob(size: int, seed: int) -> Blob:
    """A file of `size` bytes."""
    return Blob(random.Random(seed).randbytes(size))


def reverse_blob(blob: Blob) -> str:
    """Turn its bytes round; returns the digest of what it is now."""
    with blob.open() as file:
        data = file.read()[::-1]
    with blob.open("w") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def store_blob_and_fail(account: Account, size: int) -> None:
    account.file = make_blob(size, 3)  # type: ignore[attr-defined]
    raise ValueError("no statement")


def statement_with_a_rival(account: Account, size: int) -> Blob:
    """A file that belongs to the balance, which somebody else changes the first time."""
    return make_blob(size, deposit_with_a_rival(account, 2))


class OddZone(datetime.tzinfo):
    """A timezone that can't be pickled."""

    def utcoffset(self, moment: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(hours=1)

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


def odd_moment() -> datetime.datetime:
    return datetime.datetime(2030, 1, 1, tzinfo=OddZone())


def follow(references: Any) -> int:
    """The balance of an account that is referred to weakly."""
    while not callable(references):
        references = next(iter(getattr(references, "values", lambda r=references: r)()))
    return int(references().balance)


def fail_with(value: Any) -> None:
    raise LookupError(value)


def deposit_and_raise(account: Account, error: type[BaseException]) -> None:
    account.deposit(1)
    raise error


def report_and_fail(percent: float) -> None:
    report(percent)
    raise ValueError(percent)


def set_own_percent() -> None:
    job: Any = local.get_job()
    job.percent = 50
