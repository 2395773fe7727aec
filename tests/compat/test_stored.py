"""What is in people's databases: class paths and attribute names, in stored.json.

A change of that file is a change of the format. It needs code that reads the old one, a
database of the last release here that is opened by a test, and a line in the change log.
"""

from __future__ import annotations

import functools
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import attachment_jobs
import large_jobs
import patience
import pytest
import sample
import transaction
from bench import bench, run_in_groups
from BTrees.LOBTree import LOBTree
from ZODB._compat import PersistentUnpickler
from ZODB.blob import Blob
from zope.security.management import endInteraction, newInteraction

import zodbjobs
from zodbjobs import defaults, operations, references
from zodbjobs.operations import deeds
from zodbjobs.stored.conflicts import Conflicts
from zodbjobs.stored.lifecycle import firing
from zodbjobs.stored.reference import Reference, Referring
from zodbjobs.testing import moving_clock, run_jobs

KNOWN = Path(__file__).with_name("stored.json")


class _Placed:
    """An account in its place."""

    def __init__(self, account: Any) -> None:
        self.account = account


def _is_one(value: Any) -> bool:
    return isinstance(value, _Placed)


def _load(account: Any, place: Any) -> Any:
    return account


def use_everything(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring about each attribute that can get into a database."""
    connection = db.open()
    queue = zodbjobs.get_queue(connection)
    account = connection.root()["account"] = sample.Account()
    retried = zodbjobs.Job(sample.fail, "again")
    retried.retry_policy = zodbjobs.Retry(1, 5, backoff=3, most=60, jitter=0, on=ValueError)
    patient = queue.parent.create("patient")
    patient.retry_policy = zodbjobs.RetryForever
    once = zodbjobs.Job(sample.nothing)
    once.retry_policy = zodbjobs.NeverRetry
    container = connection.root()["zodbjobs.jobs"]
    with moving_clock() as clock:
        queue.put(zodbjobs.Job(sample.add, 1, more=1), begin_by=timedelta(hours=1), priority=1)
        container["1000000"] = queue.put(zodbjobs.ProgressableJob(sample.report, 50))
        queue.put(retried)
        queue.put(zodbjobs.Job(sample.log_lines, 1))
        queue.put(zodbjobs.Job(account.vanishing))
        queue.put(sample.fail_for_good)
        queue.put(once)
        patient.put(zodbjobs.Job(sample.snooze_once, timedelta(seconds=5)))
        queue.put(zodbjobs.Job(functools.partial(sample.add, 1)))
        queue.put_many([sample.nothing] * 30, begin_after=timedelta(hours=1))
        _use_what_follows(queue)
        queue.parent.conflicts = Conflicts()
        patient.timeout = 60
        patient.put(sample.nothing)
        queue.put(sample.nothing, timeout=60)
        queue.put(sample.nothing, transactional=True)
        queue.put(zodbjobs.Job(sample.identity, _refer_to(account)))
        queue.put(sample.nothing, owner="bob", about=account, title="A deposit", realm="/bank")
        references.register("there", _is_one, lambda one: (one.account, "a bank"), _load)
        queue.put(sample.nothing, about=_Placed(account))
        references.unregister("there")
        _use_schedules(queue, clock)
        queue.quotas.create("customer:*")
        queue.quotas.take(["customer:2"], ("somebody", 1))
        for number in (1, 2):
            queue.put(zodbjobs.Job(sample.note, number), quota_names=[f"customer:{number}"])
        queue.quotas.create("slow", rate=1, per=timedelta(hours=1))
        for number in (1, 2):
            queue.put(zodbjobs.Job(sample.note, number), quota_names=["slow"])
        queue.put(attachment_jobs.attach)
        queue.put(zodbjobs.Job(sample.note, zodbjobs.Secret("word")))
        queue.put(zodbjobs.Job(sample.note, 1), unique="key")
        queue.put(zodbjobs.Job(sample.note, 1), unique="ended", unique_until="ended")
        transaction.commit()
        _use_sweeps(connection, queue)
        with monkeypatch.context() as patch:
            patch.delattr(sample.Account, "vanishing")
            run_jobs(db)
        queue.pause("meanwhile", match="sample:add")
        queue.put(zodbjobs.Job(sample.add, 1))
        patient.drain("soon")
        transaction.commit()
        run_jobs(db)
        _use_a_filter(db, queue)
        deeds.perform(queue, "retry", [j.id for j in queue.finished() if j.failure], by="me")
        queue.resume(match="sample:add")
        patient.resume()
        transaction.commit()
        clock.advance(5)
        run_jobs(db)
    transaction.begin()
    with zodbjobs.Worker(db, queues=[""]) as worker:
        operations.add_agent(db, worker.id, "patient")
        transaction.begin()
        queue.parent.workers[worker.id].conflicts = Conflicts()
        job = queue.put(zodbjobs.ProgressableJob(sample.report_and_wait, 50))
        transaction.commit()
        while not job.log_lines:
            transaction.begin()
        worker.stop(seconds=0)
    _use_a_stuck_thread(db, queue, monkeypatch)
    sample.gate.set()
    patience.no_runner_is_left()
    transaction.begin()
    run_jobs(db)
    queue.put_many([sample.nothing] * 60)
    transaction.commit()
    run_in_groups(db)
    transaction.abort()
    connection.close()


def _use_schedules(queue: Any, clock: Any) -> None:
    schedules = queue.parent.schedules
    options: dict[str, Any] = {"catch_up": "all", "overlap": "allow", "jitter": timedelta(0)}
    failing = schedules.create(
        "failing", sample.fail, every=timedelta(days=1), pause_after_failures=1, **options
    )
    schedules.create("there", "@daily", sample.nothing, zone="Asia/Kathmandu", queue="patient")
    for _ in range(2):
        failing.run()
    stuck = schedules.create("stuck", sample.nothing, every=timedelta(days=2))
    firing.fire(stuck, clock.now() + 5 * 86_400_000_000, 1)
    firing.fire(stuck, clock.now() + 10 * 86_400_000_000, 1)
    failing.pause("why", "me")
    transaction.commit()
    declared = zodbjobs.Schedule("declared", "@daily", sample.nothing)
    with zodbjobs.Worker(queue._p_jar.db(), schedules=[declared]):
        transaction.begin()
        schedules["declared"].edit(zone="Asia/Kathmandu")
        transaction.commit()


def _use_sweeps(connection: Any, queue: Any) -> None:
    """Sweeps of all kinds, one of which sets something aside."""
    tree = connection.root()["tree"] = LOBTree({n: large_jobs.Item(n) for n in range(5)})
    large_jobs.bad.add(2)
    made = zodbjobs.Sweep(
        tree, large_jobs.touch, on_error="fail", most=2, seconds=1, throttle=0.9, parallel=2
    )
    queue.put(made)
    queue.put(zodbjobs.Sweep(zodbjobs.sweep.keys(tree), sample.note))
    queue.put(zodbjobs.Sweep(zodbjobs.sweep.items(tree), sample.note))
    queue.put(zodbjobs.Sweep(zodbjobs.sweep.chain(tree, [tree[0]]), sample.note))
    blob = connection.root()["csv"] = Blob(b"a,b\n1,2\n")
    queue.put(zodbjobs.Sweep(zodbjobs.sweep.Csv(blob, delimiter=","), sample.note))
    job = queue.put(zodbjobs.Sweep(tree, large_jobs.touch))
    transaction.commit()
    run_jobs(connection.db())
    transaction.begin()
    queue.put(zodbjobs.Sweep(job.result.set_aside, sample.note))
    transaction.commit()
    large_jobs.bad.clear()


def _use_a_stuck_thread(db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "STUCK_SECONDS", 0)
    transaction.begin()
    with zodbjobs.Worker(db, queues=["patient"], threads=1) as worker:
        queue.parent["patient"].put(sample.wait, timeout=0.01)
        transaction.commit()
        patience.until(lambda: worker.given_up)


def _use_a_filter(db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.identity, 2))
    transaction.commit()
    with bench(db, agents=[zodbjobs.Agent("", filter=sample.is_odd)]) as worker:
        worker.claim()
    transaction.begin()
    assert job._shard.refused is not None


def _refer_to(account: Any) -> Any:
    """What an argument is stored as that is more than the account; see `zodbjobs.references`."""
    return Referring(("place",), Reference("place", account, "a bank"))


def _use_what_follows(queue: Any) -> None:
    """Callbacks, what is put after others, compositions."""
    job = queue.put(zodbjobs.Job(sample.identity, 1))
    job.add_callback(sample.note, failure_log_level=10).add_callbacks(success=sample.note)
    elsewhere = zodbjobs.Job(sample.note)
    elsewhere.queue, elsewhere.begin_after = queue, timedelta(0)
    job.add_callback(elsewhere)
    last = queue.put(sample.nothing, after=[job], begin_by=timedelta(hours=1))
    queue.put(zodbjobs.Job(sample.identity, zodbjobs.result_of(last)), on_failure="skip")
    job = zodbjobs.Job(sample.nothing)
    job.context = {"interaction": ()}
    queue.put(job)
    newInteraction()
    queue.put(sample.nothing)
    endInteraction()
    parts = [sample.nothing, sample.nothing]
    queue.put(zodbjobs.serial(*parts, postprocess=sample.outcomes, lists_parts=False))
    many = queue.put_many([sample.nothing] * 30)
    transaction.commit()
    many[25].add_callback(sample.note)


def stored_classes(db: Any) -> dict[str, list[str]]:
    """The classes of this package in all records, with the names in their states."""
    found: dict[str, set[str]] = {}

    def note(kind: Any, state: Any) -> None:
        path = f"{kind.__module__}.{kind.__qualname__}"
        if path.startswith("zodbjobs."):
            found.setdefault(path, set()).update(state if isinstance(state, dict) else ())

    for record in (r for txn in db.storage.iterator() for r in txn):
        unpickler = PersistentUnpickler(find_class, lambda ref: None, io.BytesIO(record.data))
        kind = unpickler.load()
        state = unpickler.load()
        note(kind[0] if isinstance(kind, tuple) else kind, state)
        for value in parts(state):
            if not isinstance(value, type):
                note(type(value), state_of(value))
    return {path: sorted(names) for path, names in sorted(found.items())}


def state_of(value: Any) -> dict[str, Any]:
    """The attributes of an object that is in a record."""
    names = getattr(type(value), "__slots__", ())
    return {**getattr(value, "__dict__", {}), **{name: getattr(value, name) for name in names}}


def parts(state: Any) -> list[Any]:
    """What a record has, and what is in a dict or a tuple of it."""
    found: list[Any] = []
    for value in state.values() if isinstance(state, dict) else ():
        found += value.values() if isinstance(value, dict) else ()
        found += value if isinstance(value, tuple) else ()
        found.append(value)
    return [*found, *(value.value for value in found if type(value) is Referring)]


def find_class(module: str, name: str) -> Any:
    found: Any = __import__(module, fromlist=[name])
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_nothing_new_is_stored(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use_everything(db, monkeypatch)
    assert stored_classes(db) == json.loads(KNOWN.read_text())
