"""How a dispatcher learns that there is something to do, without asking the storage."""

from __future__ import annotations

import threading
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.stored import inbox


class Wakeup:
    """Waits for puts in this process, for commits of others, and for the next due time."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self._event = threading.Event()
        self._seen: bytes | None = None
        self._next_due: int | None = None

    def __enter__(self) -> Wakeup:
        inbox.after_put.add(self.set)
        return self

    def __exit__(self, *exc_info: object) -> None:
        inbox.after_put.discard(self.set)

    def set(self) -> None:
        """Wake the dispatcher now."""
        self._event.set()

    def wait(self, seconds: float = defaults.POLL_SECONDS) -> None:
        """Sleep until woken, `seconds` at most."""
        self._event.wait(seconds)
        self._event.clear()

    def last_transaction(self) -> bytes:
        """What to give to `looked`: taken before the look, so that nothing is missed."""
        tid: bytes = self._db.lastTransaction()
        return tid

    def looked(self, seen: bytes, next_due: int | None) -> None:
        """There was nothing more to claim at `seen`; the next job is due at `next_due`."""
        self._seen = seen
        self._next_due = next_due

    def worth_a_look(self) -> bool:
        """Whether something may have changed since `looked`."""
        if self._next_due is not None and clock.now() >= self._next_due:
            return True
        return self.last_transaction() != self._seen
