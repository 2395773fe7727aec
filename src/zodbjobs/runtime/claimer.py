"""Claimer: when a worker claims, how many jobs, and from which shards."""

from __future__ import annotations

from collections.abc import Sequence

from zodbjobs import clock, defaults
from zodbjobs.runtime.ownership import Ownership
from zodbjobs.runtime.pace import Pace
from zodbjobs.runtime.periodic import Interval
from zodbjobs.runtime.session import Session
from zodbjobs.runtime.wakeup import Look
from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.lifecycle.claim import Claim, Interrupted, claim, next_due
from zodbjobs.stored.lifecycle.refused import Filter
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.shard import Shard

_LOOK_MICROS = int(defaults.LEFT_LYING_SECONDS * 1_000_000)


class Claimer:
    """Claims from the worker's own shards, and from those of others that leave jobs lying.

    Used under the dispatcher's lock.
    """

    def __init__(
        self,
        session: Session,
        threads: int,
        view: Look,
        owns_all: bool = False,
        names: Sequence[str] | None = None,
    ) -> None:
        self._ownership = Ownership(session.record.id, owns_all)
        self._pace = Pace(threads)
        self._view = view
        self._names = names
        self._chooser: Filter | None = None
        self._can_choose = True
        self._claiming = True
        self._turn = 0
        self._steal_at: float | None = None  # monotonic
        self._stole = False
        self._next_due: int | None = None
        self._look = Interval(defaults.LEFT_LYING_SECONDS)
        self._looked: dict[str, int] = {}  # queue -> microseconds
        self._first_seen: dict[tuple[str, int], int | None] = {}  # shard -> key

    def stop(self) -> None:
        """Claim nothing more."""
        self._claiming = False

    def choose(self, chooser: Filter | None) -> None:
        """Claim only what that accepts."""
        self._chooser, self._can_choose = chooser, True
        self._view.looked(None, None)

    def choose_none(self) -> None:
        """Claim nothing until `choose`."""
        self._can_choose = False

    def resize(self, threads: int) -> None:
        """Claim for another number of threads."""
        self._pace.resize(threads)

    def room(self, outstanding: int, seconds_per_job: float) -> int:
        """How many jobs to claim now, while `outstanding` are claimed and not ended."""
        if not self._claiming or not self._can_choose:
            return 0
        room = self._pace.room(outstanding, seconds_per_job)
        if room and (self._view.is_worth_it() or self._may_steal()):
            return room
        return 0

    def _may_steal(self) -> bool:
        return self._steal_at is not None and clock.monotonic() >= self._steal_at

    def claim(
        self, session: Session, room: int, interrupted: Interrupted, with_quotas: int
    ) -> list[Claim]:
        """Move up to `room` jobs into the lease; joins the transaction of `session`.

        `interrupted`: what the worker holds that was interrupted before. `with_quotas`: how many
        of those that are claimed may have quotas.
        """
        queues = session.queues()
        if self._names is not None:
            queues = [queue for queue in queues if queue.name in self._names]
        record, chooser = session.record, self._chooser
        if chooser is not None:
            chooser.asked = 0
        claims: list[Claim] = []

        def take(queue: Queue, shards: list[Shard]) -> None:
            slots = with_quotas - sum(bool(claim.names) for claim in claims)
            most = room - len(claims)
            found = claim(queue, record, most, now, shards, interrupted, slots, chooser)
            claims.extend(found)

        self._turn += 1
        now = clock.now()
        self._stole = steal = self._may_steal()
        looks = self._look.is_due()
        for number in range(len(queues)):
            queue = queues[(self._turn + number) % len(queues)]
            own = self._ownership.own(session, queue)
            if looks and self._ownership.is_shared:
                own = own + self._left_lying(session, queue, now)
            if own:
                take(queue, own)
            if steal and not claims:
                for shard in self._ownership.others(session, queue):
                    take(queue, [shard])
                    if claims:
                        break
            if len(claims) >= room:
                break
        if looks:
            self._look.done()
        dues = [due for queue in queues if (due := next_due(queue)) is not None]
        self._next_due = min(dues, default=None)
        return claims

    def _left_lying(self, session: Session, queue: Queue, now: int) -> list[Shard]:
        """The shards of others whose first job was there at the last look already.

        Their workers are busy. Among this worker's own jobs these come in their turn, so that
        nothing urgent waits while something less urgent is run. Who looks seldom, for its jobs
        are long, goes by the time for which a job has been due.
        """
        looks_seldom = now - self._looked.get(queue.name, 0) >= 3 * _LOOK_MICROS
        self._looked[queue.name] = now
        left = []
        for shard in self._ownership.others(session, queue):
            first = shard.first_due(now)
            before = self._first_seen.get(shard.name)
            self._first_seen[shard.name] = first
            if first is None:
                continue
            is_old = looks_seldom and now - keys.micros_of(first) >= _LOOK_MICROS
            if is_old or before == first:
                left.append(shard)
        return left

    def claimed(self, number: int, room: int, seen: bytes) -> None:
        """Note that the claim was committed: `number` jobs where there was room for `room`."""
        self._pace.claimed(number)
        if number == room:
            return
        if self._stole:
            if not number:
                self._steal_at = None
        elif self._steal_at is None and self._ownership.is_shared:
            # There may be more that is others'. If it still lies there then, they have no time.
            self._steal_at = clock.monotonic() + defaults.STEAL_SECONDS
        self._view.looked(seen, self._next_due)
