"""Sweeps: each item is done once, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import csv
import errno
import functools
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import large_jobs
import patience
import pytest
import sample
import transaction
from bench import bench, die, make_doomed
from BTrees.LLBTree import LLTreeSet
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from meanwhile import committed
from persistent.list import PersistentList
from storages import WITH_BLOBS
from ZODB.blob import Blob
from ZODB.Connection import resetCaches
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import defaults, references
from zodbjobs.errors import BadArgument, ObjectGone
from zodbjobs.insights import job_details
from zodbjobs.interfaces import IProgressable, ISweep
from zodbjobs.runtime import thread_session
from zodbjobs.runtime.committer import Committer
from zodbjobs.stored.lifecycle import calls
from zodbjobs.stored.lifecycle.again import made_again
from zodbjobs.testing import moving_clock, run_jobs

NUMBER = 100

# Seconds that an item takes: four are a batch.
STEP = 0.125


@pytest.fixture
def tree(connection: Any) -> Any:
    """What is swept."""
    stored = connection.root()["tree"] = LOBTree({n: large_jobs.Item(n) for n in range(NUMBER)})
    transaction.commit()
    return stored


@pytest.fixture(autouse=True)
def _nothing_happens() -> Iterator[None]:
    yield
    large_jobs.before = large_jobs.nothing
    large_jobs.met.clear()
    large_jobs.bad.clear()


@pytest.fixture
def clock() -> Iterator[Any]:
    """A clock that each item moves."""
    with moving_clock() as clock:
        large_jobs.before = lambda number: clock.advance(STEP)
        yield clock


def put(
    queue: Any, source: Any, function: Any = large_jobs.touch, *args: Any, **options: Any
) -> Any:
    job = queue.put(zodbjobs.Sweep(source, function, *args, **options))
    transaction.commit()
    return job


def counts(tree: Any) -> list[int]:
    transaction.begin()
    return [item.count for item in tree.values()]


def at(number: int, do: Callable[[], object], clock: Any = None) -> None:
    """Do something, once, when an item is done."""
    todo = [do]

    def before(found: int) -> None:
        if clock is not None:
            clock.advance(STEP)
        if found == number and todo:
            todo.pop()()

    large_jobs.before = before


@pytest.mark.usefixtures("clock")
def test_each_item_is_done_once(any_db: Any, queue: Any, tree: Any) -> None:
    queue.put(zodbjobs.Sweep(tree, large_jobs.touch))
    transaction.commit()
    assert run_jobs(any_db) == 1
    assert counts(tree) == [1] * NUMBER
    (job,) = queue.finished()
    assert (job.outcome, job.result) == ("succeeded", (NUMBER, ()))
    assert job.progress == (100.0, "100 done")
    assert (job.attempts, job.cursor) == (1, NUMBER - 1)


def test_batches_are_committed_with_cursor_and_progress(
    any_db: Any, queue: Any, tree: Any, clock: Any
) -> None:
    job = put(queue, tree)
    seen: list[Any] = []

    def look() -> None:
        with any_db.transaction() as connection:
            found = connection.get(job._p_oid)
            seen.append((found.cursor, found.done, found.progress.message))
            seen.append(sum(item.count for item in connection.root()["tree"].values()))

    at(57, look, clock)
    run_jobs(any_db)
    assert seen == [(55, 56, "56 done"), 56]


def test_a_conflict_costs_one_batch(any_db: Any, queue: Any, tree: Any, clock: Any) -> None:
    job = put(queue, tree)
    done: list[int] = []

    def before(number: int) -> None:
        done.append(number)
        clock.advance(STEP)
        if number == 53 and done.count(53) < 3:
            with any_db.transaction() as connection:
                connection.root()["tree"][54].number += 0

    large_jobs.before = before
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert (job.outcome, job.conflicts) == ("succeeded", 0)
    again = [number for number in set(done) if done.count(number) > 1]
    assert set(again) <= {52, 53, 54, 55}


def test_what_conflicts_for_ever_is_set_aside(
    any_db: Any, queue: Any, tree: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zodbjobs.runtime.transactions.pause", lambda conflicts: None)
    job = put(queue, tree)

    def before(number: int) -> None:
        clock.advance(STEP)
        if number == 52:
            raise ConflictError("again")

    large_jobs.before = before
    run_jobs(any_db)
    assert counts(tree) == [int(n != 52) for n in range(NUMBER)]
    (aside,) = job.result.set_aside
    assert (aside.item.number, aside.failure.type) == (52, "ZODB.POSException.ConflictError")


@pytest.mark.parametrize("bad", [{0}, {52}, {50, 51, 52}, {99}, {3, 33, 66}, set(range(100))])
@pytest.mark.usefixtures("clock")
def test_what_raises_is_set_aside(any_db: Any, queue: Any, tree: Any, bad: set[int]) -> None:
    large_jobs.bad |= bad
    job = put(queue, tree)
    run_jobs(any_db)
    assert counts(tree) == [int(n not in bad) for n in range(NUMBER)]
    assert (job.outcome, job.result.done) == ("succeeded", NUMBER - len(bad))
    asides = list(job.result.set_aside)
    assert [aside.item.number for aside in asides] == sorted(bad)
    assert {aside.failure.type for aside in asides} == {"ValueError"}
    assert "in touch" in asides[0].failure.traceback
    assert asides[0].failure.message == f"item {min(bad)} is bad"
    told = f"{NUMBER - len(bad)} done, {len(bad)} set aside"
    assert job.progress.message == told
    assert job_details(job).result == told


@pytest.mark.usefixtures("clock")
def test_what_was_set_aside_can_be_swept_again(any_db: Any, queue: Any, tree: Any) -> None:
    large_jobs.bad |= {3, 33, 66}
    job = put(queue, tree)
    run_jobs(any_db)
    transaction.begin()
    large_jobs.bad.clear()
    large_jobs.bad.add(66)
    del tree[33]
    again = put(queue, job.result.set_aside)
    run_jobs(any_db)
    assert counts(tree) == [int(n != 66) for n in range(NUMBER) if n != 33]
    assert again.result.done == 1
    assert [aside.item.number for aside in again.result.set_aside] == [66]
    large_jobs.bad.clear()
    last = put(queue, again.result.set_aside)
    run_jobs(any_db)
    assert counts(tree) == [1] * (NUMBER - 1)
    assert last.result == (1, ())


@pytest.mark.usefixtures("clock")
def test_an_error_may_end_it(any_db: Any, queue: Any, tree: Any) -> None:
    large_jobs.bad.add(52)
    job = put(queue, tree, on_error="fail")
    run_jobs(any_db)
    assert counts(tree) == [int(n < 52) for n in range(NUMBER)]
    assert (job.outcome, job.failure.message) == ("failed", "item 52 is bad")
    assert job.done == 52
    large_jobs.bad.clear()
    queue.retry(job)
    transaction.commit()
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert job.result == (NUMBER, ())


@pytest.mark.usefixtures("clock")
def test_it_fails_after_so_many(any_db: Any, queue: Any, tree: Any) -> None:
    large_jobs.bad |= {10, 20, 21, 90}
    job = put(queue, tree, most=2)
    run_jobs(any_db)
    assert counts(tree) == [int(n < 21 and n not in large_jobs.bad) for n in range(NUMBER)]
    assert (job.outcome, job.failure.type) == ("failed", "zodbjobs.errors.SweepFailed")
    assert [aside.item.number for aside in job.set_aside] == [10, 20]
    assert job.failure.cause.message == "item 21 is bad"
    assert job.failure.message == (
        f"job {job.id} (large_jobs:touch) of the default queue has set aside as many items as it "
        "may (2); see its set_aside, mend what fails, and retry it, or make one that may have "
        "more (most=)"
    )
    large_jobs.bad.clear()
    queue.retry(job)
    transaction.commit()
    run_jobs(any_db)
    assert counts(tree) == [int(n not in {10, 20}) for n in range(NUMBER)]
    assert [aside.item.number for aside in job.result.set_aside] == [10, 20]


def test_a_kill_costs_one_batch(any_db: Any, queue: Any, tree: Any, clock: Any) -> None:
    job = put(queue, tree)

    def end() -> None:
        raise KeyboardInterrupt

    for number in (3, 23, 24, 67, 99):
        worker = make_doomed(any_db)
        mine, transaction.manager.manager = transaction.manager.manager, worker.manager
        at(number, end, clock)
        (claim,) = worker.claim()
        with pytest.raises(KeyboardInterrupt):
            worker.runner.run(claim)
        transaction.manager.manager = mine
        die(worker)
        done = sum(counts(tree))
        assert counts(tree) == [int(n < done) for n in range(NUMBER)]
        assert number - 4 < done <= number  # or fewer than a batch: one by one at first
    large_jobs.before = large_jobs.nothing
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert (job.result.done, job.attempts) == (NUMBER, 1)


@pytest.mark.parametrize("on_error", ["set aside", "fail"])
def test_an_item_that_ends_its_process_does_not_stop_the_others(
    any_db: Any, queue: Any, tree: Any, clock: Any, on_error: str
) -> None:
    job = put(queue, tree, on_error=on_error)

    def before(number: int) -> None:
        clock.advance(STEP)
        if number == 54:
            raise KeyboardInterrupt

    large_jobs.before = before
    for _ in range(30):
        worker = make_doomed(any_db)
        mine, transaction.manager.manager = transaction.manager.manager, worker.manager
        claims = worker.claim()
        with contextlib.suppress(KeyboardInterrupt):
            for claim in claims:
                worker.runner.run(claim)
        transaction.manager.manager = mine
        if not claims:
            worker.close()
            break
        die(worker)
    transaction.begin()
    if on_error == "fail":
        assert (job.outcome, job.cursor) == ("aborted", 53)
        assert counts(tree) == [int(n < 54) for n in range(NUMBER)]
        return
    assert counts(tree) == [int(n != 54) for n in range(NUMBER)]
    (aside,) = job.set_aside
    assert aside.item.number == 54
    assert "has died 9 times" in aside.failure.message
    assert job.result.done == NUMBER - 1


def test_an_item_is_set_aside_for_deaths_also_if_that_conflicts(
    any_db: Any, queue: Any, tree: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be called again, and the tenth death aborts the sweep."""
    monkeypatch.setattr("zodbjobs.runtime.transactions.pause", lambda conflicts: None)
    job = put(queue, tree, on_error="set aside")
    called: list[int] = []

    def before(number: int) -> None:
        clock.advance(STEP)
        called.append(number)

    large_jobs.before = before
    for _ in range(defaults.INTERRUPTIONS):
        doomed = make_doomed(any_db)
        assert len(doomed.claim()) == 1
        die(doomed)
    commit, left = Committer.checkpoint, [ConflictError()]

    def conflict_once(self: Any, job: Any, write: Any) -> bool:
        if left:
            self._thread_session.manager.abort()
            raise left.pop()
        return commit(self, job, write)

    monkeypatch.setattr(Committer, "checkpoint", conflict_once)
    run_jobs(any_db)
    transaction.begin()
    assert (left, 0 in called) == ([], False)
    assert [each.item.number for each in job.set_aside] == [0]
    assert counts(tree) == [int(n != 0) for n in range(NUMBER)]


def test_a_stop_waits_for_one_batch(any_db: Any, queue: Any, tree: Any, clock: Any) -> None:
    job = put(queue, tree)
    with bench(any_db) as worker:
        at(22, worker.stopping.set, clock)
        worker.run()
        worker.dispatcher.step()
    assert counts(tree) == [int(n < 24) for n in range(NUMBER)]
    assert (job.status, job.attempts, job.interruptions) == ("pending", 0, 0)
    large_jobs.before = large_jobs.nothing
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert (job.outcome, job.attempts) == ("succeeded", 1)


@pytest.mark.parametrize("what", ["cancel", "pause"])
def test_it_looks_after_each_batch(
    any_db: Any, queue: Any, tree: Any, clock: Any, what: str
) -> None:
    job = put(queue, tree)

    def do() -> None:
        with committed(any_db) as elsewhere:
            if what == "cancel":
                elsewhere._p_jar.get(job._p_oid).cancel()
            else:
                elsewhere.pause("for a while")

    at(22, do, clock)
    run_jobs(any_db)
    assert counts(tree) == [int(n < (20 if what == "cancel" else 24)) for n in range(NUMBER)]
    if what == "cancel":
        assert job.outcome == "cancelled"
        return
    queue.resume()
    transaction.commit()
    large_jobs.before = large_jobs.nothing
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER


@pytest.mark.usefixtures("clock")
def test_its_time_may_be_over(any_db: Any, queue: Any, tree: Any) -> None:
    job = queue.put(zodbjobs.Sweep(tree, large_jobs.touch), timeout=2.2)
    transaction.commit()
    run_jobs(any_db)
    assert sum(counts(tree)) == 16
    assert (job.outcome, job.failure.type) == ("failed", "zodbjobs.errors.TimedOut")


def test_what_is_added_and_removed_meanwhile(
    any_db: Any, queue: Any, tree: Any, clock: Any
) -> None:
    """Behind the cursor it counts, before it it doesn't; also what the call does itself."""
    put(queue, tree)

    def change() -> None:
        with any_db.transaction() as connection:
            there = connection.root()["tree"]
            there[-1] = large_jobs.Item(-1)
            del there[0], there[70]
            there[200] = large_jobs.Item(200)

    at(22, change, clock)
    run_jobs(any_db)
    transaction.begin()
    found = {item.number: item.count for item in tree.values()}
    assert found == {-1: 0, 200: 1, **{n: 1 for n in range(1, NUMBER) if n != 70}}


def test_what_it_takes_out_itself(any_db: Any, queue: Any, tree: Any) -> None:
    job = put(queue, zodbjobs.sweep.items(tree), large_jobs.take_out, tree)
    run_jobs(any_db)
    assert counts(tree) == []
    assert job.result.done == NUMBER


def test_by_hand(tree: Any) -> None:
    assert zodbjobs.Sweep(tree, large_jobs.touch, 2)() == (NUMBER, ())
    assert [item.count for item in tree.values()] == [2] * NUMBER


@pytest.mark.parametrize(
    "options",
    [
        {"on_error": "ignore"},
        {"most": 0},
        {"seconds": 0},
        {"throttle": 2},
        {"parallel": 0},
        {"parallel": True},
    ],
)
def test_what_is_refused(tree: Any, options: Any) -> None:
    with pytest.raises(BadArgument, match=next(iter(options))):
        zodbjobs.Sweep(tree, large_jobs.touch, **options)
    for source in (5, "text", {"a": 1}, iter([])):
        with pytest.raises(BadArgument, match="a Sweep"):
            zodbjobs.Sweep(source, large_jobs.touch)
    with pytest.raises(TypeError):
        zodbjobs.Sweep(tree, None)  # type: ignore[arg-type]


# What there is to go through


@pytest.mark.parametrize("kind", ["keys", "set", "list", "persistent list", "chain"])
@pytest.mark.usefixtures("clock")
def test_what_it_can_go_through(
    any_db: Any, connection: Any, queue: Any, tree: Any, kind: str
) -> None:
    items = list(tree.values())
    numbers = LLTreeSet(range(NUMBER))
    connection.root()["numbers"] = numbers
    stored = connection.root()["list"] = PersistentList(items)
    transaction.commit()
    sources: dict[str, Any] = {
        "keys": zodbjobs.sweep.keys(tree),
        "set": numbers,
        "list": items,
        "persistent list": stored,
        "chain": zodbjobs.sweep.chain(items[:30], tree, items[30:31]),
    }
    is_plain = kind in ("keys", "set")
    job = put(queue, sources[kind], large_jobs.note if is_plain else large_jobs.touch)
    run_jobs(any_db)
    if is_plain:
        assert large_jobs.met == list(range(NUMBER))
    elif kind == "chain":
        assert counts(tree) == [2] * 31 + [1] * (NUMBER - 31)
    else:
        assert counts(tree) == [1] * NUMBER
    transaction.begin()
    assert (job.outcome, job.progress.percent) == ("succeeded", 100.0)


on_storages_with_blobs = pytest.mark.parametrize("any_db", WITH_BLOBS, indirect=True)


def csv_blob(connection: Any, data: bytes) -> Blob:
    blob = connection.root()["blob"] = Blob(data)
    transaction.commit()
    return blob


@on_storages_with_blobs
@pytest.mark.usefixtures("clock")
def test_the_rows_of_a_csv_file(any_db: Any, connection: Any, queue: Any) -> None:
    lines = ["\ufeffname,text\r\n", *(f'n{n},"two\r\nlines, é{n}"\r\n' for n in range(20))]
    blob = csv_blob(connection, "".join([*lines, "\r\n", "last\r\n"]).encode())
    job = put(queue, blob, large_jobs.note)
    run_jobs(any_db)
    transaction.begin()
    rows = [{"name": f"n{n}", "text": f"two\r\nlines, é{n}"} for n in range(20)]
    assert large_jobs.met == [*rows, {"name": "last", "text": None}]
    assert job.result == (21, ())
    assert job.progress.percent == 100.0


@on_storages_with_blobs
def test_other_csv_files(any_db: Any, connection: Any, queue: Any) -> None:
    blob = csv_blob(connection, "a;é;c\n1;2;3\n".encode("latin-1"))
    source = zodbjobs.sweep.Csv(blob, "latin-1", header=False, delimiter=";")
    put(queue, source, large_jobs.note)
    run_jobs(any_db)
    assert large_jobs.met == [["a", "é", "c"], ["1", "2", "3"]]
    with pytest.raises(BadArgument, match="utf-16"):
        zodbjobs.sweep.Csv(blob, "utf-16")
    with pytest.raises(BadArgument, match="Csv reads a"):
        zodbjobs.sweep.Csv("a,b")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        zodbjobs.sweep.Csv(blob, nonsense=1)
    with pytest.raises(BadArgument, match="unknown dialect; name a dialect of"):
        zodbjobs.sweep.Csv(Blob(b"a,b"), dialect="exzel")


@on_storages_with_blobs
@pytest.mark.usefixtures("clock")
def test_a_row_that_raises_is_found_again(any_db: Any, connection: Any, queue: Any) -> None:
    blob = csv_blob(connection, b"n\n" + b"".join(b"%d\n" % n for n in range(30)))
    job = put(queue, blob, large_jobs.refuse_seven)
    run_jobs(any_db)
    transaction.begin()
    assert [aside.item for aside in job.result.set_aside] == [{"n": "7"}]
    assert job.result.set_aside[0].shown == "{'n': '7'}"
    assert job.result.done == 29


@pytest.mark.usefixtures("clock")
def test_an_enumerator_of_ones_own(any_db: Any, queue: Any, tree: Any) -> None:
    large_jobs.bad.add(50)
    job = put(queue, large_jobs.Downwards(tree))
    run_jobs(any_db)
    assert counts(tree) == [int(n != 50) for n in range(NUMBER)]
    assert (job.cursor, job.progress.percent) == (0, None)
    assert [aside.item.number for aside in job.result.set_aside] == [50]


def test_an_enumerator_that_is_missing_parks_it(
    any_db: Any, queue: Any, tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = put(queue, large_jobs.Downwards(tree))
    with monkeypatch.context() as patch:
        patch.delattr(large_jobs, "Downwards")
        resetCaches()  # a class that a connection has loaded it keeps
        assert run_jobs(any_db) == 1
    transaction.begin()
    assert "Downwards" in (job.parked or "")


def test_an_error_of_the_enumerator_ends_it(any_db: Any, queue: Any, tree: Any) -> None:
    job = put(queue, large_jobs.Broken(tree))
    run_jobs(any_db)
    transaction.begin()
    assert (job.outcome, job.failure.type) == ("failed", "ZeroDivisionError")


# In parallel


@pytest.mark.usefixtures("clock")
def test_in_parallel(any_db: Any, queue: Any, tree: Any) -> None:
    large_jobs.bad |= {3, 77}
    job = put(queue, tree, parallel=4)
    assert run_jobs(any_db) > 4
    assert counts(tree) == [int(n not in {3, 77}) for n in range(NUMBER)]
    assert (job.outcome, job.result.done) == ("succeeded", NUMBER - 2)
    assert sorted(aside.item.number for aside in job.result.set_aside) == [3, 77]
    assert job.progress.percent == 100.0
    assert (job.done, len(job.set_aside)) == (NUMBER - 2, 2)
    large_jobs.bad.clear()
    put(queue, job.result.set_aside)
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER


def test_parallel_parts_have_one_progress_and_can_be_cancelled(
    any_db: Any, queue: Any, tree: Any, clock: Any
) -> None:
    job = put(queue, tree, parallel=2)
    seen: list[Any] = []

    def cancel() -> None:
        with committed(any_db) as elsewhere:
            found = elsewhere._p_jar.get(job._p_oid)
            seen.append((found.status, found.done, 0 < found.progress.percent < 50))
            found.cancel()

    at(22, cancel, clock)
    run_jobs(any_db)
    assert seen == [("active", 20, True)]
    assert sum(counts(tree)) == 20
    assert (job.outcome, len(queue)) == ("cancelled", 0)


@pytest.mark.usefixtures("clock")
def test_a_retry_of_the_whole_goes_on(any_db: Any, queue: Any, tree: Any) -> None:
    large_jobs.bad.add(77)
    job = put(queue, tree, parallel=3, on_error="fail")
    run_jobs(any_db)
    transaction.begin()
    assert job.outcome == "failed"
    why = job.failure.message
    assert " (large_jobs:touch) of the default queue, a part of a sweep, is failed" in why
    assert "retry the sweep" in why
    large_jobs.bad.clear()
    queue.retry(job)
    transaction.commit()
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert (job.outcome, job.result) == ("succeeded", (NUMBER, ()))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_little_in_parallel(any_db: Any, connection: Any, queue: Any, number: int) -> None:
    items = connection.root()["few"] = [large_jobs.Item(n) for n in range(number)]
    job = put(queue, items, parallel=4)
    run_jobs(any_db)
    transaction.begin()
    assert [item.count for item in items] == [1] * number
    assert job.result == (number, ())


def test_it_rests(any_db: Any, queue: Any, tree: Any) -> None:
    job = put(queue, tree, large_jobs.touch, throttle=large_jobs.seconds_to_rest, seconds=1e-9)
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert len(large_jobs.met) == NUMBER
    assert job.result == (NUMBER, ())


# What is called


def test_it_has_arguments(any_db: Any, queue: Any, tree: Any) -> None:
    put(queue, tree, functools.partial(large_jobs.touch, amount=3))
    put(queue, tree, large_jobs.touch, 2)
    put(queue, tree, large_jobs.touch_later)
    run_jobs(any_db)
    assert counts(tree) == [6] * NUMBER
    with pytest.raises(BadArgument, match="the item comes before"):
        zodbjobs.Sweep(tree, functools.partial(large_jobs.touch, 1))


@pytest.mark.usefixtures("clock")
def test_arguments_are_rolled_back_too(any_db: Any, queue: Any, tree: Any) -> None:
    """What was made of them before a rollback is gone."""
    large_jobs.bad.add(2)
    put(queue, tree, large_jobs.collect, [])
    run_jobs(any_db)
    assert large_jobs.met == [1, 2, 3, 1, 2, 3, 3]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("deed", "message"), [("spoil", "not to be pickled"), ("exit_when_stored", "SystemExit")]
)
def test_what_can_not_be_committed_is_found_by_halving(
    any_db: Any, queue: Any, tree: Any, deed: str, message: str
) -> None:
    job = put(queue, tree, getattr(large_jobs, deed))
    run_jobs(any_db)
    assert counts(tree) == [int(n != 53) for n in range(NUMBER)]
    (aside,) = job.result.set_aside
    assert aside.item.number == 53
    assert message in aside.failure.message


@pytest.mark.usefixtures("clock")
def test_a_snooze_is_the_jobs(any_db: Any, queue: Any, tree: Any, clock: Any) -> None:
    job = put(queue, tree, large_jobs.snooze_once)
    run_jobs(any_db)
    assert counts(tree) == [int(n < 48) for n in range(NUMBER)]
    assert (job.status, job.cursor) == ("pending", 47)
    clock.advance(60)
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER


def test_it_makes_its_own_checkpoints(any_db: Any, queue: Any, tree: Any) -> None:
    job = put(queue, tree, large_jobs.checkpoint, most=NUMBER)
    run_jobs(any_db)
    transaction.begin()
    failures = {aside.failure.type for aside in job.result.set_aside}
    assert (len(job.result.set_aside), failures) == (NUMBER, {"zodbjobs.errors.BadStatus"})


def test_it_may_cancel_itself(any_db: Any, queue: Any, tree: Any, clock: Any) -> None:
    job = put(queue, tree)
    at(22, lambda: zodbjobs.local.get_job().cancel(), clock)
    run_jobs(any_db)
    assert counts(tree) == [int(n < 20) for n in range(NUMBER)]
    assert job.outcome == "cancelled"


def test_what_waits_in_its_thread_is_committed_with_the_first_batch(
    any_db: Any, queue: Any, tree: Any, clock: Any
) -> None:
    first = queue.put(sample.nothing)
    put(queue, tree)
    seen: list[Any] = []

    def look() -> None:
        with any_db.transaction() as connection:
            seen.append(connection.get(first._p_oid).outcome)

    at(10, look, clock)
    with bench(any_db) as worker:
        worker.run()
    assert seen == ["succeeded"]


def test_its_run_context_stays(any_db: Any, queue: Any, tree: Any, clock: Any) -> None:
    """It is entered once, whatever is rolled back, and left after the last commit."""
    large_jobs.bad.add(50)
    token = large_jobs.where.set("here")
    zodbjobs.context.register(
        "tests.where", large_jobs.where.get, large_jobs.in_a_place, required=True
    )
    try:
        put(queue, tree, large_jobs.note_where)
    finally:
        large_jobs.where.reset(token)
    try:
        run_jobs(any_db)
    finally:
        zodbjobs.context.unregister("tests.where")
    assert large_jobs.met[0] == "entered"
    assert large_jobs.met[-1] == "left"
    assert set(large_jobs.met[1:-1]) == {"here"}


def test_memory_is_bounded_in_a_batch(any_db: Any, queue: Any, tree: Any) -> None:
    """What is only read is forgotten before the batch is committed."""
    number = 3 * defaults.SWEEP_ROOM
    tree.update({n: large_jobs.Item(n) for n in range(NUMBER, number)})
    transaction.commit()
    put(queue, tree, large_jobs.look_at_cache, seconds=3600)
    run_jobs(any_db)
    assert len(large_jobs.met) == number
    assert max(large_jobs.met) < defaults.SWEEP_ROOM + 600  # of 400 that it is to have


def test_put_again_it_is_the_same_sweep(any_db: Any, queue: Any, tree: Any) -> None:
    job = put(queue, tree, large_jobs.touch, 2, most=7)
    run_jobs(any_db)
    transaction.begin()
    queue.put(made_again(job, {}, {}, None))
    transaction.commit()
    run_jobs(any_db)
    assert counts(tree) == [4] * NUMBER


@pytest.mark.usefixtures("clock")
def test_a_storage_that_is_away_is_waited_for(
    any_db: Any, queue: Any, tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "BACKOFF_SECONDS", 0)
    job = put(queue, tree)
    large_jobs.bad.clear()
    with bench(any_db) as worker:
        commit, count = worker.manager.commit, 0

        def fail_at_times() -> None:
            nonlocal count
            count += 1
            if count % 3 == 0:
                raise OSError(errno.ENOSPC, "the disk is full")
            commit()

        worker.manager.commit = fail_at_times
        worker.run()
        worker.manager.commit = commit
        worker.runner.flush()
    assert counts(tree) == [1] * NUMBER
    assert (job.outcome, job.result, job.attempts) == ("succeeded", (NUMBER, ()), 1)


def test_two_connections_of_one_database_are_refused(
    any_db: Any, queue: Any, tree: Any, clock: Any
) -> None:
    """Each would wait for the other one's commit; it is an item's fault, and is set aside."""
    job = put(queue, tree, large_jobs.change_beside)
    run_jobs(any_db)
    assert counts(tree) == [int(n != 53) for n in range(NUMBER)]
    (aside,) = job.result.set_aside
    assert (aside.item.number, aside.failure.type) == (53, "zodbjobs.errors.BadStatus")


@pytest.mark.usefixtures("clock")
def test_it_shows_how_far_it_is(any_db: Any, queue: Any, tree: Any) -> None:
    job = put(queue, tree)
    assert IProgressable.providedBy(job)
    assert ISweep.providedBy(job)
    assert (job.percent, job.done, job.set_aside) == (None, 0, ())
    run_jobs(any_db)
    transaction.begin()
    assert (job.percent, job.done) == (100.0, NUMBER)


# Whose fault it is


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zodbjobs.runtime.transactions.pause", lambda conflicts: None)


@pytest.mark.usefixtures("_at_once")
def test_who_comes_next_is_not_to_blame(any_db: Any, queue: Any, tree: Any, clock: Any) -> None:
    """What conflicted for the last time was taken out by whoever it conflicted with."""
    job = put(queue, tree)
    count = 0

    def before(number: int) -> None:
        nonlocal count
        clock.advance(STEP)
        if number == 0:
            count += 1
            if count == defaults.CONFLICT_ATTEMPTS:
                with any_db.transaction() as connection:
                    del connection.root()["tree"][0]
            raise ConflictError("again")

    large_jobs.before = before
    run_jobs(any_db)
    assert counts(tree) == [1] * (NUMBER - 1)
    assert job.result == (NUMBER - 1, ())


@pytest.mark.usefixtures("clock", "_at_once")
@pytest.mark.parametrize("kind", ["Unsteady", "Nameless"])
def test_a_fault_of_the_enumerator_is_the_jobs(
    any_db: Any, queue: Any, tree: Any, kind: str
) -> None:
    """No item is to blame, so it ends."""
    job = put(queue, getattr(large_jobs, kind)(tree))
    run_jobs(any_db)
    assert counts(tree) == [int(kind == "Unsteady" and n >= 50) for n in range(NUMBER)]
    assert (job.outcome, job.set_aside) == ("failed", ())
    wrong = "again" if kind == "Unsteady" else "pickle"
    assert wrong in job.failure.message


@pytest.mark.usefixtures("clock")
def test_what_no_commit_lets_pass_is_set_aside(any_db: Any, queue: Any, tree: Any) -> None:
    job = put(queue, tree, large_jobs.refuse)
    run_jobs(any_db)
    assert counts(tree) == [0] * NUMBER
    assert (job.result.done, len(job.result.set_aside)) == (0, NUMBER)


@pytest.mark.usefixtures("_at_once")
def test_one_that_conflicts_often_waits_for_others_only(
    any_db: Any, queue: Any, tree: Any
) -> None:
    """It runs alone for its attempts already, as its batches come to want it."""
    large_jobs.met += range(2 * defaults.CONFLICTS_TOGETHER)
    job = queue.put(large_jobs.ConflictsAtFirst(tree, large_jobs.conflict))
    transaction.commit()
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert job.result == (NUMBER, ())


@pytest.mark.usefixtures("clock")
def test_one_that_aborts_takes_no_other_along(any_db: Any, queue: Any, tree: Any) -> None:
    job = put(queue, tree, large_jobs.abort_at_fifty)
    run_jobs(any_db)
    assert counts(tree) == [int(n != 50) for n in range(NUMBER)]
    (aside,) = job.result.set_aside
    assert aside.failure.type == "zodbjobs.errors.BadStatus"
    assert "use a savepoint" in aside.failure.message


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("kind", [SystemExit, MemoryError, RecursionError, GeneratorExit])
def test_whatever_it_raises_is_set_aside(
    any_db: Any, queue: Any, tree: Any, clock: Any, kind: type[BaseException]
) -> None:
    job = put(queue, tree)

    def before(number: int) -> None:
        clock.advance(STEP)
        if number == 50:
            raise kind("no more")

    large_jobs.before = before
    run_jobs(any_db)
    assert counts(tree) == [int(n != 50) for n in range(NUMBER)]
    assert [aside.failure.type.rpartition(".")[2] for aside in job.result.set_aside] == [
        kind.__name__
    ]


# What there is to go through, once more


def test_none_as_a_key_is_refused(any_db: Any, connection: Any, queue: Any) -> None:
    """As a cursor it is the begin."""
    few = connection.root()["few"] = OOBTree({None: large_jobs.Item(0), "a": large_jobs.Item(1)})
    for make in (zodbjobs.sweep.keys, zodbjobs.sweep.items, lambda source: source):
        with pytest.raises(BadArgument, match="it has the key None"):
            zodbjobs.Sweep(make(few), large_jobs.touch)
    late = connection.root()["late"] = OOBTree({"a": large_jobs.Item(1)})
    job = put(queue, late)
    late[None] = large_jobs.Item(2)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert (job.outcome, job.failure.type) == ("failed", "zodbjobs.errors.BadArgument")


@pytest.mark.usefixtures("clock")
def test_a_sequence_without_slices(any_db: Any, queue: Any, tree: Any) -> None:
    job = put(queue, large_jobs.OneByOne(list(tree.values())))
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert job.result == (NUMBER, ())


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("parallel", [1, 3])
def test_a_list_of_what_is_referred_to(any_db: Any, queue: Any, tree: Any, parallel: int) -> None:
    """As content of a site is; what is gone is set aside, the others are done."""
    gone: set[int] = set()

    def load(item: Any, place: int) -> large_jobs.Wrapped:
        if place in gone:
            raise ObjectGone(f"nothing is at {place}")
        return large_jobs.Wrapped(item)

    zodbjobs.references.register(
        "placed",
        lambda value: isinstance(value, large_jobs.Wrapped),
        lambda value: (value.item, value.item.number),
        load,
    )
    try:
        placed = [large_jobs.Wrapped(item) for item in tree.values()]
        job = put(queue, placed, large_jobs.touch_wrapped, parallel=parallel)
        gone.add(33)
        large_jobs.bad.add(34)
        run_jobs(any_db)
        assert counts(tree) == [int(n not in {33, 34}) for n in range(NUMBER)]
        first, second = job.result.set_aside
        assert (first.failure.type, second.shown) == (
            "zodbjobs.errors.ObjectGone",
            "<wrapped 34>",
        )
        gone.clear()
        large_jobs.bad.clear()
        assert first.item.item.number == 33
        put(queue, job.result.set_aside, large_jobs.touch_wrapped)
        run_jobs(any_db)
        assert counts(tree) == [1] * NUMBER
    finally:
        zodbjobs.references.unregister("placed")


def test_a_kind_of_reference_that_is_missing_parks_it(
    any_db: Any, queue: Any, tree: Any, clock: Any
) -> None:
    """That is the fault of no item; what was done before stays, and a retry goes on there."""

    def know() -> None:
        references.register(
            "there", large_jobs.is_placed, lambda one: (one.item, "here"), large_jobs.Placed
        )

    def forget() -> None:
        references.unregister("there")

    know()
    try:
        placed = [large_jobs.Placed(item, "") for item in tree.values()]
        job = put(queue, placed, large_jobs.touch_it)
        at(21, forget, clock)
        run_jobs(any_db)
        assert counts(tree) == [int(n < 20) for n in range(NUMBER)]
        assert (job.status, job.done, job.set_aside) == ("pending", 20, ())
        assert "refers to objects in a way (there)" in job.parked
        know()
        queue.retry(job)
        transaction.commit()
        run_jobs(any_db)
    finally:
        forget()
    assert counts(tree) == [1] * NUMBER
    assert job.result == (NUMBER, ())


def test_what_is_rolled_back_as_it_is_parked_is_not_stored_in_its_arguments(
    any_db: Any, queue: Any, tree: Any, clock: Any
) -> None:
    def know() -> None:
        references.register(
            "there", large_jobs.is_placed, lambda one: (one.item, "here"), large_jobs.Placed
        )

    def forget() -> None:
        references.unregister("there")

    know()
    try:
        placed = [large_jobs.Placed(item, "") for item in tree.values()]
        job = put(queue, placed, large_jobs.collect_it, [])
        at(1, forget, clock)
        run_jobs(any_db)
        transaction.begin()
        assert (job.status, job.done, job.args) == ("pending", 0, ([],))
        know()
        queue.retry(job)
        transaction.commit()
        large_jobs.met.clear()
        run_jobs(any_db)
        assert large_jobs.met == list(range(1, NUMBER + 1))
    finally:
        forget()


@pytest.mark.parametrize("parallel", [1, 3])
def test_nothing_at_all(any_db: Any, queue: Any, parallel: int) -> None:
    job = put(queue, zodbjobs.sweep.chain(), parallel=parallel)
    run_jobs(any_db)
    transaction.begin()
    assert job.result == (0, ())


@on_storages_with_blobs
@pytest.mark.usefixtures("clock")
def test_a_file_in_another_encoding(any_db: Any, connection: Any, queue: Any) -> None:
    blob = csv_blob(connection, b"n\n" + b"1\n" * 4 + "é\n".encode("latin-1"))
    job = put(queue, blob, large_jobs.note)
    run_jobs(any_db)
    transaction.begin()
    assert (job.outcome, job.done) == ("failed", 4)
    assert "isn't in 'utf-8'" in job.failure.message
    assert "give Csv its encoding" in job.failure.message


@on_storages_with_blobs
def test_a_mark_of_the_byte_order(any_db: Any, connection: Any, queue: Any) -> None:
    """Whichever way one says that it is there."""
    blob = csv_blob(connection, "\ufeffn\né\n".encode())
    for encoding in ("utf-8", "utf-8-sig", "UTF_8_SIG"):
        put(queue, zodbjobs.sweep.Csv(blob, encoding), large_jobs.note)
    run_jobs(any_db)
    assert large_jobs.met == [{"n": "é"}] * 3


@on_storages_with_blobs
def test_a_dialect_of_csv(any_db: Any, connection: Any, queue: Any) -> None:
    """A Sniffer makes a class of no module, and the name of another is known to a process."""
    text = "a;'b;c'\n1;'2;3'\n"
    blob = csv_blob(connection, text.encode())
    csv.register_dialect("house", delimiter=";", quotechar="'")
    for dialect in (csv.Sniffer().sniff(text), "house"):
        put(queue, zodbjobs.sweep.Csv(blob, dialect=dialect), large_jobs.note)
    csv.unregister_dialect("house")
    run_jobs(any_db)
    assert large_jobs.met == [{"a": "1", "b;c": "2;3"}] * 2


@on_storages_with_blobs
@pytest.mark.usefixtures("clock")
def test_a_row_that_csv_refuses(any_db: Any, connection: Any, queue: Any) -> None:
    blob = csv_blob(connection, b"n\n" + b"1\n" * 4 + b"x" * 200_000 + b"\n")
    job = put(queue, blob, large_jobs.note)
    run_jobs(any_db)
    transaction.begin()
    assert (job.outcome, job.done) == ("failed", 4)
    assert "the row after byte 10 of the CSV file can't be read (field" in job.failure.message
    assert "csv.field_size_limit()" in job.failure.message


def test_a_throttle_that_is_missing_parks_it(
    any_db: Any, queue: Any, tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = put(queue, tree, throttle=large_jobs.seconds_to_rest)
    with monkeypatch.context() as patch:
        patch.delattr(large_jobs, "seconds_to_rest")
        calls._found.pop("large_jobs:seconds_to_rest", None)
        run_jobs(any_db)
    transaction.begin()
    assert "seconds_to_rest" in (job.parked or "")
    assert counts(tree) == [0] * NUMBER


# What else belongs to it


def test_begun_in_time_it_may_end_late(any_db: Any, queue: Any, tree: Any, clock: Any) -> None:
    job = queue.put(zodbjobs.Sweep(tree, large_jobs.touch), begin_by=timedelta(seconds=60))
    transaction.commit()
    with bench(any_db) as worker:
        at(22, worker.stopping.set, clock)
        worker.run()
        worker.dispatcher.step()
    clock.advance(600)
    large_jobs.before = large_jobs.nothing
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert job.outcome == "succeeded"


@pytest.mark.usefixtures("clock")
def test_parts_have_the_quotas_of_the_whole(any_db: Any, queue: Any, tree: Any) -> None:
    """Which waits for them, and holds none meanwhile."""
    queue.quotas.create("few", size=1)
    job = zodbjobs.Sweep(tree, large_jobs.touch, parallel=3)
    job.quota_names = ("few",)
    queue.put(job, owner="ann")
    transaction.commit()
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert job.outcome == "succeeded"
    assert {part.owner for part in job._whole._args} == {"ann"}


def test_what_was_cancelled_in_parallel_goes_on_where_it_was(
    any_db: Any, queue: Any, tree: Any, clock: Any
) -> None:
    job = put(queue, tree, parallel=3)

    def cancel() -> None:
        with committed(any_db) as elsewhere:
            elsewhere._p_jar.get(job._p_oid).cancel()

    at(22, cancel, clock)
    run_jobs(any_db)
    transaction.begin()
    assert job.outcome == "cancelled"
    large_jobs.before = large_jobs.nothing
    queue.retry(job)
    transaction.commit()
    run_jobs(any_db)
    assert counts(tree) == [1] * NUMBER
    assert job.result == (NUMBER, ())


def test_a_list_of_what_is_stored_as_references(
    any_db: Any, connection: Any, queue: Any, tree: Any
) -> None:
    references.register(
        "there", large_jobs.is_placed, lambda one: (one.item, "here"), large_jobs.Placed
    )
    try:
        put(queue, [large_jobs.Placed(item, "") for item in tree.values()], large_jobs.touch_it)
        run_jobs(any_db)
    finally:
        references.unregister("there")
    assert counts(tree) == [1] * NUMBER
    assert set(large_jobs.met) == {"here"}


def test_a_long_list_is_loaded_once(any_db: Any, connection: Any, queue: Any) -> None:
    number = 3 * defaults.SWEEP_ROOM
    items = connection.root()["many"] = [large_jobs.Item(n) for n in range(number)]
    transaction.commit()
    job = put(queue, items, large_jobs.look_at_source, seconds=3600)
    run_jobs(any_db)
    transaction.begin()
    assert job.result.done == number
    assert len(set(map(id, large_jobs.met))) == 1


@pytest.mark.parametrize("limit", [None, 100])
def test_parts_have_what_was_said_of_the_whole(
    any_db: Any, queue: Any, tree: Any, limit: float | None
) -> None:
    queue.timeout = 50
    policy = zodbjobs.Retry(3)
    job = zodbjobs.Sweep(tree, large_jobs.note_options, parallel=3)
    job.retry_policy = policy
    queue.put(job, priority=5, timeout=limit, owner="bob", realm="/shop")
    transaction.commit()
    run_jobs(any_db)
    expected = (5, None if limit is None else timedelta(seconds=limit), 3, "bob", "/shop")
    assert set(large_jobs.met) == {expected}


def test_what_its_thread_did_before_is_not_taken_for_its_own(
    any_db: Any, queue: Any, tree: Any
) -> None:
    """The thread claims in the same session, after it has begun the transaction of the next job:
    that one was over then, and an item was set aside for having ended it.
    """
    job = put(queue, tree)
    with bench(any_db) as worker:
        (claim,) = worker.claim()
        assert worker.runner.load_ahead([claim]) == 1
        with worker.runner.thread_session.session.manager:
            pass
        worker.runner.run(claim)
    transaction.begin()
    assert (job.outcome, job.set_aside) == ("succeeded", ())
    assert counts(tree) == [1] * NUMBER


def test_a_worker_that_stops_leaves_it_to_the_next_one(any_db: Any, queue: Any, tree: Any) -> None:
    """In threads, while a batch is under way."""
    job = put(queue, tree, seconds=1e-9)
    stopping = threading.Event()

    def wait(number: int) -> None:
        if number == 30:
            reached.set()
            assert stopping.wait(patience.PATIENCE)

    reached = threading.Event()
    large_jobs.before = wait
    with zodbjobs.Worker(any_db) as worker:
        assert reached.wait(patience.PATIENCE)
        stop = threading.Thread(target=worker.stop)
        stop.start()
        patience.until(worker._stopping.is_set)
        stopping.set()
        stop.join()
    transaction.begin()
    assert counts(tree) == [int(n < 31) for n in range(NUMBER)]
    assert (job.status, job.attempts, job.interruptions) == ("pending", 0, 0)
    with zodbjobs.Worker(any_db):
        patience.wait_for(job)
    assert counts(tree) == [1] * NUMBER
    assert (job.outcome, job.attempts) == ("succeeded", 1)


def test_no_item_pays_for_results_that_were_committed_just_before(
    any_db: Any, queue: Any, tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same thread, after a job that left the transaction as it was to the next one."""
    monkeypatch.setattr(thread_session, "_SNAPSHOT_SECONDS", 3600.0)
    short = queue.put(zodbjobs.Job(sample.identity, 1))
    sweep = put(queue, tree)
    with bench(any_db) as worker:
        claims = {claim.oid: claim for claim in worker.claim()}
        worker.runner.run(claims[short._p_oid])
        worker.runner.flush()
        worker.runner.run(claims[sweep._p_oid])
    assert counts(tree) == [1] * NUMBER
