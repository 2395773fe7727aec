"""Two workers, stepped by hand, and two clients over one database, in one thread.

Each action is what one of them would do by itself. Those of another one may come in the middle of
it: before its commit, or while a job runs.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import sample
import transaction
from bench import Bench, die, make_doomed
from BTrees.LOBTree import LOBTree
from invariants import CALLBACK, OWN, PART, REMOVED, Book, Snapshot
from transaction.interfaces import TransientError

import zodbjobs
from zodbjobs import clock, local
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.interfaces import ACTIVE, ASSIGNED, COMPLETED, NEW, PENDING, SUCCEEDED
from zodbjobs.runtime import failure_detector
from zodbjobs.runtime.dispatcher import Fenced
from zodbjobs.stored.lifecycle.claim import next_due
from zodbjobs.testing import run_jobs

Action = tuple[Any, ...]

QUOTAS = {"one": 1, "two": 2}

#: How many jobs of the quota "rate" begin in so many seconds.
RATE, PER = 2, 10
TIMEOUT = 30

#: Whose jobs are that do something; the others are nobody's.
OWNERS = {"deposit": "bob", "look": "ann"}


class Client:
    """A connection of the application's; a slow one commits when it is told to, the other one
    at once.
    """

    def __init__(self, db: Any, is_slow: bool) -> None:
        self.manager = transaction.TransactionManager()
        self.connection = db.open(self.manager)
        self.is_slow = is_slow
        #: The jobs that puts of this transaction have got, as they have the unique key.
        self.relied: list[zodbjobs.Job] = []

    @property
    def queue(self) -> Any:
        return zodbjobs.get_queue(self.connection, "jobs")

    @property
    def books(self) -> Any:
        return self.connection.root()["books"]

    def commit(self) -> None:
        """Commit; what was relied on hasn't begun then, or not ended if it has its key so long."""
        try:
            self.manager.commit()
        except BaseException:
            self.abort()
            raise
        for job in self.relied:
            begun: tuple[str, ...] = (ASSIGNED, ACTIVE)
            if job._unique is not None and job._unique.until_ended:
                begun = ()
            assert job.status not in begun, "a put was lost"
            assert job.outcome != SUCCEEDED, "a put was lost"
        self.relied = []

    def abort(self) -> None:
        self.manager.abort()
        self.relied = []

    def note(self, job: zodbjobs.Job, account: Any, kind: str = OWN, of: int | None = None) -> int:
        """Enter a job that is put in this transaction; its number."""
        number = self.books.maxKey() + 1 if self.books else 0
        self.books[number] = tuple(Book(job, account, kind, of))
        return int(number)

    def pick(self, number: int, *statuses: str) -> tuple[int, Book]:
        """A job in one of these statuses, by default in any; `number` may be too large."""
        books = {n: Book(*book) for n, book in self.books.items()}
        found = [n for n in books if not statuses or books[n].job.status in statuses]
        if not found:
            raise BadStatus("there is none")
        number = found[number % len(found)]
        return number, books[number]


class World:
    """The database, the workers, the clients, and all that they can do."""

    def __init__(self, db: Any, clock: Any) -> None:
        self.db, self.clock = db, clock
        self.reader = Client(db, is_slow=False)
        with self.reader.manager:
            queue = zodbjobs.get_queues(self.reader.connection).create("jobs", shards=2)
            queue.timeout = TIMEOUT
            for name, size in QUOTAS.items():
                queue.quotas.create(name, size)
            queue.quotas.create("rate", rate=RATE, per=timedelta(seconds=PER), burst=RATE)
            self.reader.connection.root()["books"] = LOBTree()
        self.clients = [Client(db, is_slow=False), Client(db, is_slow=True)]
        self.workers = [self._worker(), self._worker()]
        self._busy: set[Any] = set()
        self._inner: tuple[str, Action] | None = None
        #: What was wrong in the middle of something.
        self._faults: list[AssertionError] = []
        #: How many jobs may have a slot: after a change of the size as many as had one.
        self._most = dict(QUOTAS)
        #: When jobs of "rate" began, in microseconds.
        self._begun: list[int] = []
        sample.meanwhile = self._in_call

    def _worker(self) -> Bench:
        agents = [zodbjobs.Agent("jobs", size=3)]
        return make_doomed(self.db, 3600.0, agents=agents, owns_all=True)

    def close(self) -> None:
        sample.meanwhile = None
        for worker in self.workers:
            die(worker)
        for client in (*self.clients, self.reader):
            client.manager.abort()
            client.connection.close()

    # One action in the middle of another

    def do(self, action: Action) -> None:
        name, *args = action
        getattr(self, name)(*args)

    def do_meanwhile(self, outer: Action, inner: Action, where: str) -> None:
        """Do `outer`, and `inner` in the middle of it, if there is a middle."""
        self._inner = (where, inner)
        try:
            self.do(outer)
        finally:
            self._inner = None

    def _in_call(self) -> None:
        if "rate" in local.get_job().quota_names:
            self._begun.append(clock.now())
        self._interrupt("call")

    def _interrupt(self, where: str) -> None:
        if self._inner is not None and self._inner[0] == where:
            action, self._inner = self._inner[1], None
            try:
                contextvars.Context().run(self.do, action)
                self.check()
            except AssertionError as error:
                self._faults.append(error)  # in a job it would be that job's failure

    @contextlib.contextmanager
    def _acting(self, who: Any, manager: Any) -> Iterator[bool]:
        """Whether `who` isn't in the middle of something; its next commit may be interrupted."""
        if who in self._busy:
            yield False
            return
        mine, transaction.manager.manager = transaction.manager.manager, manager
        commit = manager.commit

        def late_commit() -> None:
            manager.commit = commit
            self._interrupt("commit")
            transaction.manager.manager = manager
            commit()

        if self._inner is not None and self._inner[0] == "commit":
            manager.commit = late_commit
        self._busy.add(who)
        try:
            yield True
        finally:
            self._busy.discard(who)
            manager.commit = commit
            transaction.manager.manager = mine

    # Workers

    def _step(self, which: int, work: Callable[[Bench], object]) -> None:
        """Something that the dispatcher of a worker does; who is taken for dead begins anew."""
        worker = self.workers[which]
        with self._acting((which, "dispatcher"), worker.registration.manager) as is_free:
            if not is_free:
                return
            try:
                work(worker)
            except TransientError:
                return  # the next step does it again
            except Fenced:
                pass
            else:
                return
        self.kill(which)

    def claim(self, which: int, room: int) -> None:
        self._step(which, lambda worker: worker.dispatcher.step(room))

    def tick(self, which: int) -> None:
        def work(worker: Bench) -> None:
            worker.dispatcher.tick()
            attempt = worker.slot.attempt
            if attempt is not None and attempt.is_overdue():
                with worker.registration.manager:
                    lease = worker.registration.session.record.lease
                    assert attempt.key not in lease, "it is past its timeout, and is held"

        self._step(which, work)

    def give_back(self, which: int) -> None:
        def work(worker: Bench) -> None:
            claims = worker.parts.workload.take_all()
            try:
                worker.dispatcher.give_back(claims)
            except BaseException:
                worker.parts.workload.hand_out(claims)
                raise

        self._step(which, work)

    def rescue(self, which: int) -> None:
        self._step(which, lambda worker: worker.registration.rescue_dead())

    def _run(self, which: int, work: Callable[[Bench], object]) -> None:
        """Something that the thread of a worker does."""
        worker = self.workers[which]
        with self._acting((which, "runner"), worker.manager) as is_free:
            if is_free:
                work(worker)

    def run(self, which: int, jobs: int) -> None:
        def work(worker: Bench) -> None:
            for _ in range(jobs):
                claim = worker.parts.workload.next()
                if claim is None:
                    break
                number = len(sample.noted)
                worker.runner.run(claim)
                assert not any(sample.noted[number : number + 1]), "it was paused, and begun"

        self._run(which, work)

    def flush(self, which: int) -> None:
        self._run(which, lambda worker: worker.runner.flush())

    def turn(self, which: int) -> None:
        """All that a worker does in its turn."""
        self.claim(which, 10)
        self.run(which, 10)
        self.flush(which)
        self.claim(which, 0)

    def kill(self, which: int) -> None:
        """Let a worker be gone from one moment to the next; another one is started."""
        if not {(which, "dispatcher"), (which, "runner")} & self._busy:
            die(self.workers[which])
            self.workers[which] = self._worker()

    def stop(self, which: int) -> None:
        """Stop a worker in order, and start another one."""
        if {(which, "dispatcher"), (which, "runner")} & self._busy:
            return
        self.give_back(which)
        self.flush(which)
        self.claim(which, 0)
        self._step(which, lambda worker: worker.registration.drop())
        self.kill(which)

    def fence(self, which: int) -> None:
        """Let the other worker think that this one is dead. It isn't."""
        failure_detector.alive.discard(self.workers[which].registration.id)
        self.rescue(1 - which)

    def overrun(self, which: int) -> None:
        """Let what runs be past its timeout, and the dispatcher see that."""
        self.pass_time(2 * TIMEOUT)
        self.tick(which)

    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)

    # Clients

    def _client(self, which: int, change: Callable[[Client], object]) -> None:
        client = self.clients[which]
        with self._acting(("client", which), client.manager) as is_free:
            if not is_free:
                return
            if not client.is_slow:
                client.manager.begin()
            try:
                change(client)
                if not client.is_slow:
                    client.commit()
            except (BadStatus, BadArgument, TransientError):
                client.abort()

    def commit(self) -> None:
        """Let the slow client commit what it did, and see what there is."""
        client = self.clients[1]
        with self._acting(("client", 1), client.manager) as is_free:
            if is_free:
                with contextlib.suppress(TransientError):
                    client.commit()

    def put(self, which: int, how: str, options: dict[str, Any]) -> None:
        self._client(which, lambda client: self._put(client, how, dict(options)))

    def _put(self, client: Client, how: str, options: dict[str, Any]) -> None:
        job, account = make(how, options.pop("is_chore"))
        if options.pop("retries"):
            job.retry_policy = zodbjobs.Retry(1, delay=5, jitter=0)
        after = [client.pick(n)[1].job for n in options.pop("after") if client.books]
        if "unique" not in options:
            options.pop("unique_until", None)
        options["after"] = [job for job in after if job.status != NEW]
        found = client.queue.put(job, owner=OWNERS.get(how), **options)
        if found is job:
            client.note(job, account)
        else:
            client.relied.append(found)

    def put_many(self, which: int, count: int) -> None:
        def change(client: Client) -> None:
            jobs = [make("look")[0] for _ in range(count)]
            for job in client.queue.put_many(jobs, owner="ann"):
                client.note(job, None)

        self._client(which, change)

    def add_callback(self, which: int, number: int, how: str) -> None:
        def change(client: Client) -> None:
            of, book = client.pick(number)
            callback, account = make(how)
            book.job.add_callback(callback)
            client.note(callback, account, CALLBACK, of)

        self._client(which, change)

    def compose(self, which: int, is_serial: bool, hows: list[str], quotas: list[str]) -> None:
        def change(client: Client) -> None:
            parts = [make(how) for how in hows]
            last = make("deposit")
            compose = zodbjobs.serial if is_serial else zodbjobs.parallel
            whole = compose(*(job for job, _ in parts), postprocess=last[0])
            client.queue.put(whole, quota_names=quotas, owner="bob")
            number = client.note(whole, None)
            for job, account in (*parts, last):
                client.note(job, account, PART, number)

        self._client(which, change)

    def put_returning(self, which: int, how: str, quotas: list[str]) -> None:
        """A job that returns another one. What it does itself stays if that fails."""

        def change(client: Client) -> None:
            inner, account = make(how)
            outer = zodbjobs.Job(sample.work, sample.Account(), inner)
            client.queue.put(outer, quota_names=quotas)
            client.note(inner, account, PART, client.note(outer, None))

        self._client(which, change)

    def cancel(self, which: int, number: int) -> None:
        statuses = (PENDING, ASSIGNED, ACTIVE)
        self._client(which, lambda client: client.pick(number, *statuses)[1].job.cancel())

    def cancel_running(self, which: int) -> None:
        """Cancel what a worker has claimed."""

        def change(client: Client) -> None:
            for job in self._held(which, client):
                if job.outcome is None:
                    job.cancel()

        self._client(0, change)

    def disturb(self, which: int) -> None:
        """Change what the jobs that a worker has claimed are about to change."""

        def change(client: Client) -> None:
            for job in self._held(which, client):
                for account in job.args[:1]:
                    if isinstance(account, sample.Account):
                        account.transfers += 1

        self._client(0, change)

    def _held(self, which: int, client: Client) -> list[zodbjobs.Job]:
        record = client.queue.parent.workers.get(self.workers[which].registration.id)
        return [] if record is None else [job for _, job in record.leased()]

    def fail(self, which: int, number: int) -> None:
        def change(client: Client) -> None:
            client.pick(number, PENDING, ASSIGNED)[1].job.fail()

        self._client(which, change)

    def remove(self, which: int, number: int) -> None:
        def change(client: Client) -> None:
            found, book = client.pick(number, PENDING)
            client.queue.remove(book.job)
            client.books[found] = tuple(book._replace(kind=REMOVED))

        self._client(which, change)

    def retry(self, which: int, number: int) -> None:
        def change(client: Client) -> None:
            client.queue.retry(client.pick(number, COMPLETED)[1].job)

        self._client(which, change)

    def forget(self, which: int, number: int) -> None:
        def change(client: Client) -> None:
            found, book = client.pick(number, COMPLETED)
            if book.kind == PART:
                return  # a retry of the whole would put it again
            client.queue.forget(book.job)
            del client.books[found]

        self._client(which, change)

    def set_quotas(self, which: int, number: int, quotas: list[str]) -> None:
        def change(client: Client) -> None:
            client.pick(number, PENDING)[1].job.quota_names = quotas

        self._client(which, change)

    def resize(self, which: int, name: str, size: int) -> None:
        self._client(which, lambda client: setattr(client.queue.quotas[name], "size", size))

    def pause(self, which: int, match: str | None) -> None:
        self._client(which, lambda client: client.queue.pause("a reason", match=match))

    def resume(self, which: int, match: str | None) -> None:
        self._client(which, lambda client: client.queue.resume(match))

    # What must hold

    def check(self) -> None:
        for fault in self._faults:
            raise fault
        self.reader.manager.begin()
        snapshot = Snapshot(self.reader.connection)
        snapshot.check()
        for name, most in self._most.items():
            slots, size = snapshot.queue.quotas.slots(name), snapshot.queue.quotas[name].size
            held = 0 if slots is None else len(slots.held)
            assert held <= max(most, size), f"{held} have a slot of {name}"
            self._most[name] = max(size, held)
        last = self._begun[-RATE - 1 :]
        assert len(last) <= RATE or last[-1] - last[0] >= PER * 1_000_000, "too many began"
        self.reader.manager.abort()

    def run_dry(self) -> None:
        """Lift what holds jobs up, and let them end."""
        self.clients[1].manager.abort()
        self.stop(0)
        for worker in self.workers:
            die(worker)
        with self.reader.manager:
            for pause in self.reader.queue.pauses:
                self.reader.queue.resume(pause.match)
        while run_jobs(self.db) or self._is_due():
            self.pass_time(3600)
        self.check()
        self.reader.manager.begin()
        Snapshot(self.reader.connection).check_all_over()
        self.workers = [self._worker(), self._worker()]

    def _is_due(self) -> bool:
        self.reader.manager.begin()
        queue = self.reader.queue
        return next_due(queue) is not None or any(shard.scheduled for shard in queue.shards)


def make(how: str, is_chore: bool = False) -> tuple[zodbjobs.Job, Any]:
    """A job, and the account that it changes."""
    account = sample.Account()
    job = zodbjobs.Job(sample.chore if is_chore else sample.work, account, how)
    return job, None if how == "look" else account
