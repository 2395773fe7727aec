"""How a dispatcher learns that there is something to do, at as little cost as can be."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.runtime.storage import abilities
from zodbjobs.stored.lifecycle import delivery

# An idle dispatcher polls less often, and does all that may be due at each 20th poll only.
_IDLE_POLLS = 20
_IDLE_SECONDS = 2.5 * defaults.POLL_SECONDS


class Wakeup:
    """Waits for puts in this process, for commits of others, and for the next due time.

    An idle dispatcher looks while it waits, and a runner's thread may look at the same time.
    """

    def __init__(self, db: Any) -> None:
        self._commits = Polled(db) if abilities.must_be_polled(db) else Pushed(db)
        self._event = threading.Event()
        self._looks: list[Look] = []
        self._alarms: list[Alarm] = []

    def __enter__(self) -> Wakeup:
        delivery.after_put.add(self._after_put)
        return self

    def __exit__(self, *exc_info: object) -> None:
        delivery.after_put.discard(self._after_put)
        self._commits.close()

    def _after_put(self, connection: Any) -> None:
        self.set()

    def set(self) -> None:
        """Wake the dispatcher now."""
        self._commits.hurry()
        self._event.set()

    def wait(self, idle: bool = False) -> None:
        """Sleep until woken, POLL_SECONDS at most; if `idle`, longer while nothing is worth a
        look, for to look for that costs less than to do all that may be due.
        """
        if not idle:
            self._event.wait(defaults.POLL_SECONDS)
        else:
            for _ in range(_IDLE_POLLS):
                pause = max(_IDLE_SECONDS, self._commits.pause())
                if self._event.wait(pause) or self._is_called():
                    break
        self._event.clear()

    def _is_called(self) -> bool:
        try:
            return self.worth_a_look()
        except Exception:  # which the look will meet again
            return True

    def last_transaction(self) -> bytes:
        """What to give to `looked`: taken before the look, so that nothing is missed."""
        return self._commits.last()

    def look(self) -> Look:
        """What another one that claims goes by."""
        made = Look(self)
        self._looks.append(made)
        return made

    def alarm(self) -> Alarm:
        """What wakes the dispatcher at a moment that is known."""
        made = Alarm()
        self._alarms.append(made)
        return made

    def worth_a_look(self) -> bool:
        """Whether something may have changed for one of those that claim, or an alarm rings."""
        if any(alarm.is_ringing() for alarm in self._alarms):
            return True
        return any(look.is_worth_it() for look in self._looks)


class Look:
    """What one that claims has seen so far."""

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self._seen: bytes | None = None
        self._next_due: int | None = None

    def looked(self, seen: bytes | None, next_due: int | None) -> None:
        """There was nothing more to claim at `seen`; the next job is due at `next_due`."""
        self._seen = seen
        self._next_due = next_due

    def is_worth_it(self) -> bool:
        """Whether something may have changed since `looked`."""
        if self._next_due is not None and clock.now() >= self._next_due:
            return True
        return self._wakeup.last_transaction() != self._seen


class Alarm:
    """Rings from a moment on; from none until it is set."""

    def __init__(self) -> None:
        self._micros: int | None = None

    def set(self, micros: int | None) -> None:
        """Let it ring from a moment on, in microseconds, or not at all."""
        self._micros = micros

    def is_ringing(self) -> bool:
        """Whether the moment has come."""
        return self._micros is not None and clock.now() >= self._micros


class Pushed:
    """Of a storage that is told of each commit: FileStorage by itself, ZEO by its server."""

    def __init__(self, db: Any) -> None:
        self._db = db

    def last(self) -> bytes:
        """The last transaction; a read in memory."""
        tid: bytes = self._db.lastTransaction()
        return tid

    def pause(self) -> float:
        """Seconds for which there is no use in asking."""
        return 0.0

    def hurry(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to close."""


class Polled:
    """Of a storage that must be asked: RelStorage. Asks seldom while nothing happens."""

    def __init__(self, db: Any) -> None:
        # A session of its own: those of the connections belong to their threads.
        self._storage = db.storage.new_instance()
        self._lock = threading.Lock()  # a session is for one thread at a time
        self._tid = b""
        self._pause = defaults.POLL_SECONDS
        self._next = 0.0

    def last(self) -> bytes:
        """The last transaction, as of the last time that it was asked for."""
        with self._lock:
            now = time.monotonic()
            if now >= self._next:
                before, self._tid = self._tid, self._ask()
                moved = before != self._tid
                most = defaults.IDLE_POLL_SECONDS
                self._pause = defaults.POLL_SECONDS if moved else min(self._pause * 1.5, most)
                self._next = now + self._pause
            return self._tid

    def _ask(self) -> bytes:
        try:
            self._storage.poll_invalidations()
            tid: bytes = self._storage.lastTransaction()
            return tid
        finally:
            # Else the server would keep a transaction open until the next time.
            self._storage.afterCompletion()

    def pause(self) -> float:
        """Seconds until it is asked again."""
        return self._next - time.monotonic()

    def hurry(self) -> None:
        """Ask the next time."""
        self._next = 0.0

    def close(self) -> None:
        """Close the session."""
        with contextlib.suppress(Exception):  # it may be broken; nothing is lost with it
            self._storage.release()
