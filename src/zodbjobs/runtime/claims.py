"""What a worker claims: from its own shards, and from those of others that leave jobs lying."""

from __future__ import annotations

from zodbjobs import clock, defaults
from zodbjobs.runtime.desk import Desk
from zodbjobs.runtime.ownership import Ownership
from zodbjobs.runtime.pace import Pace
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.stored.queue import Ticket


class Claims:
    """Decides when, how many and from where. Used under the dispatcher's lock."""

    def __init__(self, desk: Desk, threads: int, wakeup: Wakeup) -> None:
        self._ownership = Ownership(desk.record.id)
        self._pace = Pace(threads)
        self._wakeup = wakeup
        self._claiming = True
        self._turn = 0
        self._steal_at: float | None = None  # monotonic
        self._stole = False
        self._next_due: int | None = None

    def stop(self) -> None:
        """Claim nothing more."""
        self._claiming = False

    def room(self, outstanding: int, seconds_per_job: float) -> int:
        """How many jobs to claim now, while `outstanding` are claimed and not ended."""
        if not self._claiming:
            return 0
        room = self._pace.room(outstanding, seconds_per_job)
        if room and (self._wakeup.worth_a_look() or self._may_steal()):
            return room
        return 0

    def _may_steal(self) -> bool:
        return self._steal_at is not None and clock.monotonic() >= self._steal_at

    def claim(self, desk: Desk, room: int) -> list[Ticket]:
        """Move up to `room` jobs into the lease; joins the transaction of `desk`."""
        queues = desk.queues()
        tickets: list[Ticket] = []
        self._turn += 1
        now = clock.now()
        self._stole = steal = self._may_steal()
        for number in range(len(queues)):
            queue = queues[(self._turn + number) % len(queues)]
            own = self._ownership.own(desk, queue)
            if own:
                tickets += queue.claim(desk.record, room - len(tickets), now, own)
            if steal and not tickets:
                for shard in self._ownership.others(desk, queue):
                    tickets += queue.claim(desk.record, room, now, [shard])
                    if tickets:
                        break
            if len(tickets) >= room:
                break
        dues = [due for queue in queues if (due := queue.next_due()) is not None]
        self._next_due = min(dues, default=None)
        return tickets

    def claimed(self, number: int, room: int, seen: bytes) -> None:
        """The claim was committed: `number` jobs where there was room for `room`."""
        self._pace.claimed(number)
        if number == room:
            return
        if self._stole:
            if not number:
                self._steal_at = None
        elif self._steal_at is None and self._ownership.is_shared:
            # There may be more that is others'. If it still lies there then, they have no time.
            self._steal_at = clock.monotonic() + defaults.STEAL_SECONDS
        self._wakeup.looked(seen, self._next_due)
