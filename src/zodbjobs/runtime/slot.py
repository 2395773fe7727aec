"""One thread of a worker, as the others see it."""

from __future__ import annotations

from zodbjobs.runtime.conflicts import Noted
from zodbjobs.runtime.context import Attempt
from zodbjobs.runtime.group import Group
from zodbjobs.runtime.measures import Measures


class Slot:
    """What one thread does: the attempt that runs, its times, and the results that wait.

    The thread writes it, the dispatcher and the pool read it. It outlives the thread: another
    one that takes the place of a thread which ended goes on with it; one that takes the place of a
    stuck thread has a new one.
    """

    def __init__(
        self,
        group: Group,
        agent: bytes,
        measures: Measures | None = None,
        conflicts: Noted | None = None,
    ) -> None:
        self.group = group
        #: Where the thread counts its commits and conflicts; the worker's.
        self.measures = measures or Measures()
        #: Where it notes what its jobs fight over; the worker's.
        self.conflicts = conflicts or Noted()
        #: The object id of the thread's agent, which the worker's record has.
        self.agent = agent
        self.attempt: Attempt | None = None
        #: When the job that runs was called, by the machine's monotonic clock; None between jobs.
        self.called: float | None = None
        #: Seconds that the last job took, with a commit of its own.
        self.seconds = 0.0
        #: Those of them in which another thread could have worked.
        self.shareable = 0.0
