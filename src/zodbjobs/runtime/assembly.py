"""Assembly: the parts of a worker, put together in one place."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from zodbjobs import defaults
from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.runtime.group import Group
from zodbjobs.runtime.registration import Registration
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.storage import abilities
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.runtime.workload import Workload


class Options(NamedTuple):
    """What a Worker was told; see there."""

    queues: Sequence[str] | None = None
    threads: int = 1
    group_commit: float = defaults.GROUP_SECONDS
    history_seconds: float = defaults.HISTORY_SECONDS
    history_count: int = defaults.HISTORY_COUNT
    heartbeat_seconds: float = defaults.HEARTBEAT_SECONDS
    #: As many stuck threads end it; None for the default.
    stuck_threads: int | None = None
    #: Whether it claims from all shards, and leaves none to other workers.
    owns_all: bool = False


class Parts:
    """A registered worker's parts; what runs them is a thread pool, or a test.

    Registers when it is made, and raises what that raises. A claim's way: `dispatcher` ->
    `workload` -> a runner -> `dispatcher`.
    """

    def __init__(self, db: Any, options: Options, stopping: threading.Event) -> None:
        self._db = db
        self._stopping = stopping
        self.registration = registration = Registration(
            db, options.queues, options.threads, options.heartbeat_seconds
        )
        one_process = abilities.is_for_one_process(db)
        self._group_commit = options.group_commit
        self._group_jobs = defaults.GROUP_JOBS if one_process else defaults.SERVER_GROUP_JOBS
        self.slots = [self.make_slot() for _ in range(options.threads)]
        self.workload = Workload(options.threads)
        self.wakeup = Wakeup(registration.db)
        self.dispatcher = Dispatcher(
            registration.session,
            self.slots,
            self.workload,
            self.wakeup,
            stopping,
            options.heartbeat_seconds,
            options.owns_all,
        )

    def make_slot(self) -> Slot:
        """The slot of another thread."""
        return Slot(Group(self._group_commit, self._group_jobs))

    def make_runner(self, slot: Slot) -> Runner:
        """The runner of a slot, with a connection of its own for the calling thread only."""
        thread_session = ThreadSession(self._db, self.registration.session_in)
        return Runner(self._db, thread_session, slot, self.dispatcher.report, self._stopping)
