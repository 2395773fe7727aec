"""What the jobs of the tests call: a module that any process can import."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import logging
import os
import random
import signal
import threading
import time
from fnmatch import fnmatchcase
from pathlib import Path
from types import FunctionType
from typing import Any

import transaction
from persistent import Persistent
from ZODB.blob import Blob
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite

import zodbjobs
from zodbjobs import clock, local
from zodbjobs.errors import BadStatus

log = logging.getLogger("sample")

#: Jobs that `wait` wait for it; a test sets it.
gate = threading.Event()

#: What `note` was called with, in the order of the calls.
noted: list[Any] = []


#: What is raised when a Brittle is unpickled, as after a change of its code; or None.
brittle: type[BaseException] | None = None

#: Whether a Brittle that is loaded can't be pickled again.
unstorable = False


def make_brittle() -> Brittle:
    """What a stored Brittle is made by."""
    if brittle is not None:
        raise brittle("there is no Brittle")
    return Brittle()


class Brittle:
    """An argument."""

    def __reduce__(self) -> Any:
        if unstorable:
            raise TypeError("a Brittle can't be pickled")
        return make_brittle, ()


class Titled(zodbjobs.Job):
    """Jobs of a kind have a title."""

    title = "An export"


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

    def job_error(self, failure: object, data: object) -> Any:
        raise RuntimeError("the policy is broken")

    commit_error = job_error

    def interrupted(self, data: object) -> Any:
        raise RuntimeError("the policy is broken")


def nothing() -> None:
    pass


def add(*numbers: int, more: int = 0) -> int:
    return sum(numbers) + more


def note_in_transaction(stored: Any) -> None:
    """Write, and note something of the job's own in its transaction."""
    stored._p_changed = True
    txn = transaction.get()
    txn.user = "ann"
    txn.note("by hand")


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


def wait_with(value: object) -> None:
    assert gate.wait(60)


def deposit_and_wait(account: Account, amount: int) -> int:
    balance = account.deposit(amount)
    assert gate.wait(60)
    return balance


def leave(how: type[BaseException]) -> None:
    raise how("a job tries to end its worker")


def unpicklable() -> Any:
    return Unpicklable()


def store_unpicklable(account: Account) -> None:
    noted.append("storing")
    account.extra = Unpicklable()  # type: ignore[attr-defined]


async def later(value: Any) -> Any:
    return value


def conflicts(times: int, outcome: Any = None) -> int:
    """Raise a ConflictError `times` times, then return how often it ran; also as a callback."""
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


def new_partner(account: Account, says_where: bool) -> Account:
    """A new account, which `account` refers to."""
    partner = account.partner = Account(1)
    if says_where:
        account._p_jar.add(partner)
    return partner


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


def note_and_deposit(account: Account) -> int:
    noted.append("ran")
    return account.deposit(1)


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


# What only the promises need


class OwnPolicy:
    """A retry policy that gives the same answer each time, and tells of it and of its data."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def _answer(self, question: str, data: dict[str, Any]) -> Any:
        data[question] = data.get(question, 0) + 1
        noted.append(f"{question} {data[question]}")
        return self.answer

    def job_error(self, failure: object, data: dict[str, Any]) -> Any:
        return self._answer("job_error", data)

    def commit_error(self, failure: object, data: dict[str, Any]) -> Any:
        return self._answer("commit_error", data)

    def interrupted(self, data: dict[str, Any]) -> Any:
        return self._answer("interrupted", data)


def fail_then_store_unpicklable(account: Account) -> None:
    """By turns."""
    noted.append("stores" if len(noted) % 2 else "fails")
    if noted[-1] == "fails":
        raise ValueError("not yet")
    account.extra = Unpicklable()  # type: ignore[attr-defined]


def snooze_once(when: Any) -> int:
    """Snooze the first time, then return how often it ran."""
    noted.append("ran")
    if len(noted) == 1:
        raise zodbjobs.Snooze(when)
    return len(noted)


def call_itself(job: zodbjobs.Job | None = None) -> str:
    """Call `job`, or the one that a worker runs, which is this one; what it says to that."""
    try:
        (job or local.get_job())()
    except BadStatus as error:
        return str(error)
    raise AssertionError("it was called")


def tell_status(job: zodbjobs.Job) -> tuple[str, Any]:
    return job.status, job.queue


def fail_with_a_secret() -> None:
    secret = "".join(["sword", "fish"])
    handle = Unpicklable()
    raise ValueError(f"{len(secret)} letters, {type(handle).__name__}")


def take(seconds: float) -> None:
    """Take so long by the clock that a test moves."""
    clock.current.advance(seconds)  # type: ignore[attr-defined]


def conflict_past(seconds: float, account: Account) -> int:
    """Conflict the first time, after `seconds` by the clock that a test moves."""
    noted.append("ran")
    account.deposit(1)
    if len(noted) == 1:
        take(seconds)
        raise ConflictError("of the job's own making")
    return len(noted)


def fail_past(seconds: float) -> None:
    """Fail, after `seconds` by the clock that a test moves."""
    take(seconds)
    note_and_fail("so late")


def conflict_then_fail(conflicts: int, failures: int) -> int:
    """Conflict, then fail, so often, then return how often it ran."""
    noted.append("ran")
    if len(noted) <= conflicts:
        raise ConflictError("of the job's own making")
    if len(noted) <= conflicts + failures:
        raise ValueError("not yet")
    return len(noted)


def _lose() -> None:
    from ZEO.Exceptions import ClientDisconnected

    raise ClientDisconnected("the server is away")


#: Raises what a client of ZEO raises whose server is away, and as if in a module of ZEO's.
lose_connection = FunctionType(
    _lose.__code__, {"__name__": "ZEO.there", "__builtins__": __builtins__}
)


def lose_connection_in_a_job(times: int) -> int:
    """Lose the connection `times` times, then return how often it ran."""
    noted.append("ran")
    if len(noted) <= times:
        lose_connection()
    return len(noted)


def leave_traces(account: Account | None = None, fails: bool = False) -> None:
    """Leave in the transaction all that a careless job can."""
    txn = transaction.get()
    txn.note("a trace")
    txn.setUser("somebody")
    txn.addBeforeCommitHook(nothing)
    txn.addAfterCommitHook(bool)
    txn.savepoint(optimistic=True)
    if account is not None:
        account.deposit(1_000)
    if fails:
        raise ValueError("with traces")


def doom() -> None:
    """Leave a transaction that can't be committed."""
    transaction.doom()
    raise ValueError("doomed")


def look_for_traces(account: Account) -> tuple[Any, ...]:
    """What is in the transaction of a job that did nothing, and the balance."""
    txn = transaction.get()
    hooks = [*txn.getBeforeCommitHooks(), *txn.getAfterCommitHooks()]
    return txn.description, txn.user, hooks, txn.isDoomed(), account.balance


def count_those_that_run() -> None:
    """Note how many of these run at once, and wait."""
    with _counting:
        noted.append(1 + (noted[-1] if noted else 0))
    assert gate.wait(60)


_counting = threading.Lock()


def deposit_slowly_at_first(account: Account, amount: int) -> int:
    """The first of the attempts waits, others don't."""
    balance = account.deposit(amount)
    noted.append("ran")
    if len(noted) == 1:
        assert gate.wait(60)
    return balance


def find_site() -> Any:
    return getSite()


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


# What only one bad job needs


def write_through_another_connection(account: Account) -> None:
    """Change the database through two connections in the job's own transaction."""
    account.deposit(1)
    other = account._p_jar.db().open()
    other.root()["account"].deposit(1)


def close_connection(account: Account) -> None:
    account._p_jar.close()


def cancel_itself(account: Account) -> None:
    account.deposit(1)
    local.get_job().cancel()


def cancel_and_retry_itself() -> None:
    job, queue = local.get_job(), local.get_queue()
    job.cancel()
    queue.retry(job)


def cancel(job: zodbjobs.Job) -> None:
    job.cancel()


def short_work() -> None:
    """Something that takes a moment of the processor's."""
    sum(range(20_000))


# What only callbacks and composition need


def plain(value: Any) -> Any:
    """A result as it can be compared."""
    return value.message if isinstance(value, zodbjobs.Failure) else value


def note_all(*values: Any) -> Any:
    """Note what it was called with; the first of it."""
    noted.append(tuple(map(plain, values)))
    return values[0]


def identity_of_last(value: Any, last: Any) -> Any:
    return value


def identity_of_current(value: Any) -> str:
    return str(local.get_job().id)


def call_job(job: zodbjobs.Job, value: Any) -> None:
    job()


def fail_until_passed(value: int) -> int:
    noted.append("tried")
    if len(noted) < value:
        raise ValueError("not yet")
    return value


def deposit_with_a_rival_that_adds(account: Account | None) -> str:
    """Somebody else adds a callback meanwhile."""
    noted.append("ran")
    if account is not None:
        account.deposit(1)
    job = local.get_job()
    manager = transaction.TransactionManager()
    connection = job._p_jar.db().open(manager)
    connection.get(job._p_oid).add_callback(zodbjobs.Job(note_all, "late"))
    manager.commit()
    connection.close()
    noted.append("added")
    return "deposited"


def add_callback_to_itself(what: str) -> str:
    local.get_job().add_callback(zodbjobs.Job(note_all, what))
    return "added"


def deposit_and_return(account: Account, job: zodbjobs.Job) -> zodbjobs.Job:
    account.deposit(1)
    return job


def return_itself() -> zodbjobs.Job:
    return local.get_job()


def return_what_waits_for_it() -> zodbjobs.Job:
    return local.get_queue().put(zodbjobs.Job(nothing), after=[local.get_job()])


def outcomes(*jobs: Any) -> list[Any]:
    return [getattr(job, "outcome", job) for job in jobs]


def extend_whole(whole: Any) -> None:
    whole.args.append(zodbjobs.Job(note, "more"))


def note_number(number: int, *results: Any) -> int:
    noted.append(number)
    return number


def attempt(
    number: int, fails: bool, seconds: float, snoozes: int, when: datetime.timedelta, *results: Any
) -> int:
    """Note the call, take so long by the clock that a test moves, and snooze the first times."""
    noted.append(number)
    if seconds:
        take(seconds)
    past = local.get_job().past_attempts
    if sum(each.outcome == "snoozed" for each in past) < snoozes:
        raise zodbjobs.Snooze(when)
    if fails:
        raise ValueError(number)
    return number


def note_and_return(number: int, job: zodbjobs.Job) -> zodbjobs.Job:
    noted.append(number)
    return job


# What two workers do


def work(account: Account, how: Any, *results: Any) -> Any:
    """Deposit 1, let the test do something, and do what `how` says; a job is returned. Notes
    whether it was to wait for a pause.
    """
    job = local.get_job()
    globs = [pause.match for pause in local.get_queue().pauses]
    noted.append(any(glob is None or fnmatchcase(job.description, glob) for glob in globs))
    if how != "look":
        account.deposit(1)
    meanwhile()
    if how == "fail":
        raise ValueError("it went wrong")
    if how == "snooze" and not job.past_attempts:
        raise zodbjobs.Snooze(datetime.timedelta(seconds=5))
    return how if isinstance(how, zodbjobs.Job) else 1


def chore(account: Account, how: Any, *results: Any) -> Any:
    """As `work`, by another name."""
    return work(account, how, *results)


# Time limits


def check_past(seconds: float) -> None:
    """Ask whether to go on, after `seconds` by the clock that a test moves."""
    local.check()
    take(seconds)
    noted.append(local.cancel_requested())
    local.check()
    noted.append("went on")


def deposit_past(account: Account, seconds: float) -> int:
    """Deposit 1, and return after `seconds` by the clock that a test moves."""
    balance = account.deposit(1)
    take(seconds)
    return balance


#: What `call_meanwhile` calls; a test sets it.
meanwhile: Any = None


def call_meanwhile(account: Account | None = None) -> int:
    """Let the test do something, the first time; return how often it ran."""
    noted.append("ran")
    if account is not None:
        account.deposit(1)
    if len(noted) == 1:
        meanwhile()
    return len(noted)


async def wait_for_ever() -> None:
    """Note that the wait was cancelled."""
    import asyncio

    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        noted.append("cancelled")
        raise


def returning(value: Any) -> zodbjobs.Job:
    """Return a new job."""
    return zodbjobs.Job(note, value)


# Filters of agents


def is_odd(job: zodbjobs.Job) -> bool:
    """Whether its first argument is; notes for which it was asked."""
    noted.append(f"odd {job.args[0]}?")
    return bool(job.args[0] % 2)


def is_large(job: zodbjobs.Job) -> bool:
    noted.append(f"large {job.args[0]}?")
    return bool(job.args[0] > 2)


def is_broken(job: zodbjobs.Job) -> bool:
    raise RuntimeError("the filter is broken")


def is_interrupting(job: zodbjobs.Job) -> bool:
    raise KeyboardInterrupt


def deposit_and(account: Account, function: Any) -> Any:
    account.deposit(1)
    return function()


def return_special() -> zodbjobs.Job:
    return SpecialJob(identity, 3)


def is_in_conflict(job: zodbjobs.Job) -> bool:
    raise ConflictError("by the filter itself")


def tell_agent() -> tuple[Any, int, Any]:
    agent = local.get_agent()
    return agent.queues, agent.size, agent.filter


# Hooks, bound jobs, live annotations of others


class Prepared(zodbjobs.Job):
    """A job with hooks, which tells what is called."""

    fails_at = ""

    def set_up(self) -> str:
        noted.append("set up")
        if self.fails_at == "set_up":
            raise ValueError("it can't be set up")
        assert local_job() in (self, None)
        return f"of {self.description}"

    def tear_down(self, value: str) -> None:
        noted.append(f"torn down {value}")
        if self.fails_at == "tear_down":
            self.description_of_the_end = "not stored"
            raise ValueError("it can't be torn down")
        if self.fails_at == "exit":
            raise SystemExit
        if self.fails_at == "cancel":
            raise asyncio.CancelledError


class Looking(zodbjobs.Job):
    """A job that tells, when it is torn down, how others see its end."""

    def tear_down(self, value: None) -> None:
        manager = transaction.TransactionManager()
        connection = self._p_jar.db().open(manager)
        noted.append(connection.get(self._p_oid).outcome)
        manager.abort()
        connection.close()


def local_job() -> Any:
    try:
        return local.get_job()
    except ValueError:
        return None


def note_commit(account: Account) -> int:
    """Note the call, and the commit or abort."""
    noted.append("called")
    transaction.get().addBeforeCommitHook(noted.append, ("commit",))
    transaction.get().addAfterAbortHook(noted.append, ("abort",))
    return account.deposit(1)


def note_abort(account: Account) -> int:
    note_commit(account)
    raise ValueError("it went wrong")


def conflict_once(account: Account) -> int:
    note_commit(account)
    if noted.count("called") == 1:
        raise ConflictError("of the job's own making")
    return account.balance


def describe_bound(job: zodbjobs.Job, *words: str) -> str:
    return " ".join((str(job.id), *words))


def tell_other(other: zodbjobs.Job, name: str, value: Any) -> None:
    local.set_live_annotation(name, value, job=other)


def ask_other(other: zodbjobs.Job, name: str, timeout: float | None = None) -> Any:
    return local.get_live_annotation(name, "nothing", timeout=timeout, job=other)


def wait_for_annotation(account: Account, name: str, timeout: float) -> Any:
    noted.append("waits")
    account.deposit(1)
    return local.get_live_annotation(name, "nothing", timeout=timeout)


def tell_worker() -> str:
    return local.get_worker()


def tell_one_not_committed() -> str:
    other = local.get_queue().put(nothing)
    try:
        local.set_live_annotation("phase", 1, job=other)
    except LookupError as error:
        return str(error)
    raise AssertionError("it was told")


def only_for_rich(account, value):
    """Note `value`, or fail as there is no money."""
    if not account.balance:
        raise ValueError("there is no money")
    noted.append(value)
    return value


def all_or_nothing(*jobs):
    """The results of jobs, if all have succeeded."""
    if any(job.outcome != "succeeded" for job in jobs):
        raise ValueError("not all have succeeded")
    return [job.result for job in jobs]


def note_meanwhile(value: Any) -> Any:
    """Let the test note something each time."""
    meanwhile()
    return value
