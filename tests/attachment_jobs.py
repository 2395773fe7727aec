"""Jobs that attach files."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import sample
import transaction

import zodbjobs
from zodbjobs import clock, local
from zodbjobs.errors import BadArgument


class Endless(io.RawIOBase):
    """A binary file of `size` zeros, which is nowhere; `at_half` is called when half is read."""

    def __init__(self, size: int, at_half: Any = None) -> None:
        self.left = size
        self.half = size // 2
        self.at_half = at_half

    def read(self, size: int = -1) -> bytes:
        if self.at_half is not None and self.left <= self.half:
            self.at_half()
        chunk = bytes(min(self.left, size))
        self.left -= len(chunk)
        return chunk


def attach(name: str = "a.txt", data: Any = b"hello", **options: Any) -> None:
    local.attach(name, data, **options)


def attach_many(number: int) -> int:
    for each in range(number):
        local.attach(f"{each}.txt", str(each).encode())
    return len(local.get_job().attachments)


def attach_file(path: str, **options: Any) -> bool:
    """Attach a path, as told; whether the file is there still."""
    local.attach("file.bin", Path(path), **options)
    return os.path.exists(path)


def attach_rest(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)
        local.attach("rest.bin", file)


def attach_text_file(path: str) -> None:
    with open(path) as file:
        local.attach("x", file)  # type: ignore[arg-type]


def attach_twice() -> str:
    local.attach("a.txt", b"first")
    try:
        local.attach("a.txt", b"second")
    except BadArgument as error:
        return str(error)
    return "no error"


def attach_and_return() -> Any:
    return local.attach("a.txt", b"hello")


def attach_and_read() -> bytes:
    local.attach("a.txt", b"hello")
    with local.get_job().attachments["a.txt"].open() as file:
        return file.read()


def attach_and_fail() -> None:
    local.attach("a.txt", b"hello")
    raise ValueError("no")


def attach_and_return_a_failure() -> Any:
    local.attach("rows.csv", b"1,bad")
    return zodbjobs.Failure("BadRows", "1 row is bad", "")


def attach_on_the_second_attempt() -> None:
    """The first one leaves a file, and fails."""
    local.attach(f"{len(sample.noted)}.txt", b"x")
    sample.noted.append("ran")
    if len(sample.noted) == 1:
        raise ValueError("no")


def attach_and_snooze() -> None:
    if not sample.noted:
        sample.noted.append("ran")
        local.attach("first.txt", b"1")
        raise zodbjobs.Snooze(timedelta(0))
    local.attach("second.txt", b"2")


def attach_with_a_rival(account: sample.Account) -> None:
    """The first attempt conflicts."""
    balance = sample.deposit_with_a_rival(account, 1)
    local.attach(f"{balance}.txt", b"x")


def attach_and_abort() -> None:
    local.attach("dropped.txt", b"x")
    transaction.abort()


def attach_and_roll_back() -> None:
    local.attach("kept.txt", b"x")
    savepoint = transaction.savepoint()
    local.attach("dropped.txt", b"x")
    savepoint.rollback()
    local.attach("last.txt", b"x")


def attach_and_return_a_job(function: Any) -> zodbjobs.Job:
    local.attach("outer.txt", b"x")
    return zodbjobs.Job(function)


def attach_what_breaks() -> int:
    """A file that can't be read to its end; the job goes on without it."""

    def fail() -> None:
        raise OSError("the line is broken")

    with contextlib.suppress(OSError):
        local.attach("broken.bin", Endless(1_000_000, at_half=fail))
    return len(local.get_job().attachments)


def attach_while_cancelled() -> None:
    """Somebody cancels the job at the half of the file."""
    job = local.get_job()

    def cancel() -> None:
        manager = transaction.TransactionManager()
        connection = job._p_jar.db().open(manager)
        connection.get(job._p_oid).cancel()
        manager.commit()
        connection.close()
        file.at_half = None

    file = Endless(10_000_000, at_half=cancel)
    local.attach("big.bin", file)


def attach_while_overdue() -> None:
    """The job's time is over at the half of the file; notes how much of it wasn't read."""
    moved: Any = clock.current
    file = Endless(10_000_000, at_half=lambda: moved.advance(100))
    try:
        local.attach("big.bin", file)
    finally:
        sample.noted.append(file.left)


def attach_and_die(size: int, once: str) -> None:
    """The process is killed at the half of the file, the first time."""
    flag = Path(once)

    def die() -> None:
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    local.attach("big.bin", Endless(size, at_half=die))


def attach_large(size: int) -> None:
    local.attach("big.bin", Endless(size))


def attach_some_data() -> None:
    local.attach("a.txt", sample.some_data)  # type: ignore[attr-defined]


def attach_two() -> None:
    local.attach("a", b"1")
    local.attach("b", b"2")
