"""A model of a queue: what it does with its jobs, as a plain list of what is known of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

ENDED = ("succeeded", "failed", "cancelled", "skipped")
OVER = (*ENDED, "forgotten")


def later(number: int) -> timedelta:
    """After how long a job comes back that has snoozed, or failed with a policy that waits.

    Of two that do so at once it isn't promised who is first, so none do.
    """
    return timedelta(seconds=2.5, milliseconds=number)


#: From one job of the quota "slow" to the next: 10 s, and by how much each may be late.
APART = timedelta(seconds=10.2)
LATE = timedelta(seconds=0.2)


@dataclasses.dataclass(eq=False)
class Gate:
    """What an entry waits behind: the numbers of those that haven't ended."""

    entry: int
    missing: set[int]
    skips: bool = False
    has_failed: bool = False
    #: Whether the end of the one that is missing is also that of the entry.
    adopts: bool = False


@dataclasses.dataclass(eq=False)
class Entry:
    """What the model knows of a job."""

    number: int
    priority: int = 0
    due: datetime = datetime.min
    turn: int = 0
    #: One of ENDED, "pending", "blocked" (it waits for others), "held" (a pause has it),
    #: "returned" (it waits for what it has returned), "forgotten", "new"; not put yet are
    #: "callback", one whose job hasn't ended, and "part"; "gone" is a callback that was taken out.
    state: str = "pending"
    callbacks: list[int] = dataclasses.field(default_factory=list)
    #: Whether it is a callback, and whether its job isn't COMPLETED before it has ended.
    is_callback: bool = False
    counts: bool = False
    #: What it waits behind, and the gates of those that wait for it, in the order of adding.
    gate: Gate | None = None
    waiters: list[Gate] = dataclasses.field(default_factory=list)
    #: Whether it has a quota, of which there is one slot.
    limited: bool = False
    #: Whether it has a quota, of which one begins in 10 seconds.
    rated: bool = False
    #: Its unique key, whether it has that still, and whether that is until it has ended.
    unique: str | None = None
    has_key: bool = False
    until_ended: bool = False
    #: What it calls, and the glob of the pause that has it.
    calls: str = "sample:note"
    held_by: str | None = None
    #: The seconds that it takes, its own time limit and the one that the queue gave it.
    takes: int = 0
    own_limit: float | None = None
    given_limit: float | None = None
    #: Whether it fails, after how many snoozes, and what its policy allows.
    fails: bool = False
    snoozes: int = 0
    retries: int = 0
    waits: bool = False
    snoozed: int = 0
    tried: int = 0
    #: What a composition puts, one after the other or not, and what any job returns.
    parts: list[int] = dataclasses.field(default_factory=list)
    in_order: bool = False
    returns: int | None = None
    #: The result if it has succeeded.
    value: Any = None

    def order(self) -> Any:
        return (-self.priority, self.due, self.turn)

    def limit(self) -> float | None:
        return self.given_limit if self.own_limit is None else self.own_limit


class Model:
    """The queue as a list."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.history: list[int] = []
        #: How many were taken out of the queue.
        self.removed = 0
        self.turn = 0
        #: The globs of the pauses in the order of their begin; None for the queue's.
        self.pauses: list[str | None] = []
        self.limit: float | None = None
        #: When the last job began of which one begins in 10 seconds.
        self.begun: datetime | None = None

    def waiting(self, now: datetime) -> list[Entry]:
        pending = [e for e in self.entries if e.state == "pending"]
        due = sorted((e for e in pending if e.due <= now), key=Entry.order)
        later = [e for e in pending if e.due > now]
        return due + sorted(later, key=lambda e: (e.due, -e.priority, e.turn))

    def put(self, entry: Entry, priority: int, due: datetime) -> None:
        """Put a new one."""
        if self.limit is not None and entry.own_limit is None:
            entry.given_limit = self.limit
        self.enter(entry, priority, due)

    def put_again(self, entry: Entry, now: datetime) -> None:
        """Put one in again that has ended; what it was given is fixed."""
        entry.gate, entry.snoozed, entry.tried = None, 0, 0
        self.enter(entry, entry.priority, now)

    def enter(self, entry: Entry, priority: int, due: datetime) -> None:
        self.turn += 1
        entry.state, entry.priority, entry.due, entry.turn = "pending", priority, due, self.turn

    def put_after(self, entry: Entry, before: Iterable[Entry], skips: bool, now: datetime) -> None:
        """Let one that was just put wait for others."""
        before = list(before)
        missing = [e for e in before if e.state not in ENDED]
        entry.gate = gate = Gate(entry.number, {e.number for e in missing}, skips)
        gate.has_failed = any(e.state in ENDED and e.state != "succeeded" for e in before)
        entry.state = "blocked"
        for each in missing:
            each.waiters.append(gate)
        if not missing:
            self.count(self.open(gate, now), now)

    def holder(self, key: str | None) -> Entry | None:
        """What has a unique key."""
        found = (e for e in self.entries if e.has_key and e.unique == key)
        return next(found, None) if key is not None else None

    # Ends

    def end(self, entry: Entry, state: str, now: datetime) -> None:
        """An entry has ended; what follows it goes on."""
        self.count(self.write_end(entry, state, now), now)

    def write_end(self, entry: Entry, state: str, now: datetime) -> list[tuple[Gate, int, bool]]:
        """Put the callbacks of one that has ended; the gates that are to count it."""
        entry.state, entry.has_key = state, False
        self.history.append(entry.number)
        for number in entry.callbacks:
            callback = self.entries[number]
            if callback.state == "callback":
                self.put(callback, 0, now)
        return self.take_waiters(entry, state == "succeeded")

    def take_waiters(self, entry: Entry, succeeded: bool) -> list[tuple[Gate, int, bool]]:
        waiters, entry.waiters = entry.waiters, []
        return [(gate, entry.number, succeeded) for gate in waiters]

    def count(self, counting: list[tuple[Gate, int, bool]], now: datetime) -> None:
        """Let gates count ends; what is open by that goes on."""
        while counting:
            gate, number, succeeded = counting.pop()
            gate.missing.discard(number)
            gate.has_failed = gate.has_failed or not succeeded
            if not gate.missing:
                counting += self.open(gate, now)

    def open(self, gate: Gate, now: datetime) -> list[tuple[Gate, int, bool]]:
        entry = self.entries[gate.entry]
        if entry.gate is not gate or entry.state not in ("blocked", "returned"):
            return []
        if gate.adopts and entry.returns is not None:
            inner = self.entries[entry.returns]
            entry.value = inner.value
            return self.write_end(entry, inner.state if inner.state in ENDED else "failed", now)
        if gate.skips and gate.has_failed:
            return self.write_end(entry, "skipped", now)
        entry.state = "pending"
        return []

    def cancel(self, entry: Entry, now: datetime) -> None:
        """End it; what it has returned as well, with the parts that are before it."""
        waited = entry.state == "returned"
        self.end(entry, "cancelled", now)
        if waited and entry.returns is not None:
            for number in (entry.returns, *reversed(entry.parts)):
                if self.entries[number].state in ("pending", "blocked", "held"):
                    self.end(self.entries[number], "cancelled", now)

    def take_out(self, entry: Entry, now: datetime) -> None:
        entry.state, entry.counts = "gone" if entry.is_callback else "new", False
        entry.unique, entry.has_key, entry.given_limit = None, False, None
        entry.gate, entry.snoozed, entry.tried = None, 0, 0
        self.removed += 1
        self.count(self.take_waiters(entry, False), now)

    def is_live(self, entry: Entry) -> bool:
        """Whether its status is CALLBACKS, if it has ended."""
        found = [self.entries[number] for number in entry.callbacks]
        return any(e.counts and (e.state not in OVER or self.is_live(e)) for e in found)

    # Pauses

    def pause_of(self, entry: Entry) -> str | None:
        return next((glob for glob in self.pauses if glob == entry.calls), None)

    def resume(self, glob: str | None) -> None:
        self.pauses = [each for each in self.pauses if each != glob]
        for entry in self.entries:
            if entry.state == "held" and entry.held_by == glob:
                entry.state = "pending"

    # Running

    def batch(self, now: datetime) -> list[Entry]:
        """What is claimed at once: of what has a quota the first one only."""
        if None in self.pauses:
            return []
        due = [e for e in self.waiting(now) if e.due <= now]
        has_turn = self.begun is None or now >= self.begun + APART
        first = next(
            (e for e in due if (has_turn and e.rated) or (e.limited and not e.rated)), None
        )
        return [e for e in due if not (e.limited or e.rated) or e is first][:100]

    def run(self, now: datetime) -> tuple[list[int], int, datetime]:
        """Run all that is due: what was called, how many were claimed, and when it is then."""
        ran: list[int] = []
        claimed = 0
        while batch := self.batch(now):
            claimed += len(batch)
            at = now
            ended: list[tuple[Entry, str, datetime]] = []
            for entry in batch:
                if entry.rated:  # its turn was at the claim; if that was missed it is now
                    self.begun = now if now > at + LATE else at
                entry.held_by = self.pause_of(entry)
                if entry.held_by is not None:
                    entry.state = "held"
                    continue
                entry.has_key = entry.has_key and entry.until_ended
                if entry.calls:
                    ran.append(entry.number)
                now += timedelta(seconds=entry.takes)
                if entry.returns is not None:
                    self.begin(entry, now)
                else:
                    ended.append((entry, self.attempt(entry), now))
            self.book(ended, now)
        return ran, claimed, now

    def attempt(self, entry: Entry) -> str:
        """What becomes of an attempt: the state of the end, or "snoozed", "again" or "later"."""
        limit = entry.limit()
        if limit is None or entry.takes < limit:
            if entry.snoozed < entry.snoozes:
                entry.snoozed += 1
                return "snoozed"
            if not entry.fails:
                return "succeeded"
        entry.tried += 1
        if entry.tried > entry.retries:
            return "failed"
        return "later" if entry.waits else "again"

    def begin(self, entry: Entry, now: datetime) -> None:
        """Put the parts of a composition, and what is returned."""
        assert entry.returns is not None
        before: list[Entry] = []
        parts = [self.entries[number] for number in entry.parts]
        for part in parts:
            self.put(part, 0, now)
            if entry.in_order and before:
                self.put_after(part, before, False, now)
            before = [part]
        inner = self.entries[entry.returns]
        self.put(inner, 0, now)
        if parts:
            self.put_after(inner, parts, False, now)
        entry.state = "returned"
        entry.gate = Gate(entry.number, {inner.number}, adopts=True)
        inner.waiters.append(entry.gate)

    def book(self, ended: Iterable[tuple[Entry, str, datetime]], now: datetime) -> None:
        """Write what became of some attempts, then let go on what waited for their ends."""
        counting: list[tuple[Gate, int, bool]] = []
        put_off: list[tuple[Entry, datetime]] = []
        for entry, state, finished in ended:
            if state in ENDED:
                entry.value = entry.number
                counting += self.write_end(entry, state, now)
            elif state != "again":
                put_off.append((entry, finished))
        for entry, finished in put_off:
            self.enter(entry, entry.priority, finished + later(entry.number))
        self.count(counting, now)
