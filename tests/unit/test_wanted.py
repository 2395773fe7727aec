"""Lists of jobs by owner, object, realm and text, and how one is gone on with."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sample
import transaction
from ZODB.utils import u64

import zodbjobs
from zodbjobs import insights
from zodbjobs.errors import BadArgument
from zodbjobs.insights.wanted import Cursor
from zodbjobs.testing import moving_clock, run_jobs

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def put(queue: Any, function: Any = sample.nothing, *args: Any, **options: Any) -> zodbjobs.Job:
    """A job that is put in a transaction of its own."""
    job: zodbjobs.Job = queue.put(zodbjobs.Job(function, *args), **options)
    transaction.commit()
    return job


def ids(jobs: Any) -> list[str]:
    return [job.id for job in jobs]


def test_a_row_tells_them(queue: Any, account: Any) -> None:
    job = put(queue, owner="bob", about=account, title="A deposit", realm="/one")
    row = insights.job_info(job)
    number = u64(account._p_oid)
    assert (row.owner, row.title, row.realm) == ("bob", "A deposit", "/one")
    assert (row.about, row.about_id) == (f"Account {number}", f"unnamed/{number}")
    assert insights.job_details(job).as_json()["about_id"] == row.about_id
    plain = insights.job_info(put(queue))
    assert (plain.owner, plain.title, plain.realm, plain.about) == (None,) * 4


def test_a_page_does_not_fail_for_what_a_job_is_about(
    queue: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = put(queue, about=account)

    def refuse(self: Any, state: Any) -> None:
        raise ValueError("not today")

    monkeypatch.setattr(sample.Account, "__setstate__", refuse)
    account._p_invalidate()
    row = insights.job_info(job)
    why = ("StateLoadError", "ValueError")  # as the ZODB of the day, or of Plone 6.0, raises it
    about = [f"something that can't be loaded ({name}), {u64(account._p_oid)}" for name in why]
    assert row.about in about


def test_filters_by_label(db: Any, queue: Any, account: Any) -> None:
    bobs = put(queue, owner="bob", about=account, realm="/one")
    anns = put(queue, sample.fail, owner="ann", about=account, realm="/two")
    put(queue)
    run_jobs(db)
    transaction.begin()
    find = insights.list_jobs
    assert ids(find(queue, owner="bob")) == ids(find(queue, realm="/one")) == [bobs.id]
    assert ids(find(queue, about=account)) == [anns.id, bobs.id]
    assert ids(find(queue, about=account, owner="ann")) == [anns.id]
    assert ids(find(queue, about=account, outcome="failed")) == [anns.id]
    assert ids(find(queue, owner="ann", realm="/one")) == []
    assert ids(find(queue, about=f"unnamed/{u64(account._p_oid)}", realm="/two")) == [anns.id]
    assert ids(find(queue, about=str(u64(account._p_oid)), realm="/two")) == [anns.id]
    assert ids(find(queue, owner="bob", status="pending")) == []
    assert ids(find(queue, owner="bob", callable="*:fail")) == []


def test_filters_by_queue_too(queue: Any) -> None:
    second = queue.parent.create("second")
    jobs = [put(each, owner="bob") for each in (queue, second)]
    assert ids(insights.list_jobs(queue, owner="bob")) == ids(jobs[::-1])
    for each, job in zip((queue, second), jobs, strict=True):
        assert ids(insights.list_jobs(queue, owner="bob", queue=each.name)) == [job.id]


def test_the_time_is_that_of_the_put(db: Any, queue: Any) -> None:
    with moving_clock(START) as clock:
        jobs = []
        for _ in range(4):
            jobs.append(put(queue, owner="bob"))
            clock.advance(10)
        run_jobs(db)
        transaction.begin()
        found = insights.list_jobs(
            queue,
            owner="bob",
            since=START + timedelta(seconds=10),
            until=START + timedelta(seconds=30),
        )
    assert ids(found) == ids(jobs[1:3][::-1])


@pytest.mark.parametrize("number", [1, 60])
def test_text_is_looked_for_in_title_and_arguments(db: Any, queue: Any, number: int) -> None:
    titled = put(queue, title="The Export of March")
    listed = queue.put(zodbjobs.Job(sample.add, more="april"))
    jobs = queue.put_many([zodbjobs.Job(sample.note, f"n{n}") for n in range(number)])
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    find = insights.list_jobs
    assert ids(find(queue, text="export OF")) == [titled.id]
    assert ids(find(queue, text="more='APRIL")) == [listed.id]
    assert ids(find(queue, text=f"n{number - 1}")) == [jobs[-1].id]
    assert ids(find(queue, text="nowhere")) == []
    assert ids(find(queue, text="sample")) == []  # what is called has a filter of its own


BAD: list[dict[str, Any]] = [
    {"owner": ""},
    {"owner": 7},
    {"realm": "x" * 501},
    {"text": ""},
    {"text": 7},
    {"about": "somewhere"},
    {"about": "main/-1"},
    {"about": f"main/{1 << 63}"},
    {"about": 7},
    {"about": sample.Account()},
    {"before": "yesterday"},
    {"before": "1-2-3"},
    {"before": 7},
]


@pytest.mark.parametrize("filters", BAD)
def test_bad_filters(queue: Any, filters: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        insights.list_jobs(queue, **filters)


def test_an_unknown_database_has_nothing(queue: Any) -> None:
    assert insights.list_jobs(queue, about="elsewhere/1") == []


# Going on


@pytest.mark.parametrize("filters", [{}, {"owner": "bob"}, {"text": "An export"}], ids=str)
def test_pages_follow_each_other(db: Any, queue: Any, filters: dict[str, Any]) -> None:
    with moving_clock(START) as clock:
        for number in range(40):
            put(queue, owner="bob", title="An export")
            if number % 7 == 0:
                clock.advance(1)  # the others are of one microsecond
        run_jobs(db)
        transaction.begin()
        whole = ids(insights.list_jobs(queue, limit=100, **filters))
        assert len(whole) == 40
        pages, before = [], None
        while True:
            page = insights.list_jobs(queue, limit=7, before=before, **filters)
            pages += ids(page)
            before = page.cursor
            if before is None:
                break
    assert pages == whole


def test_a_search_that_runs_out_of_time_is_gone_on_with(queue: Any) -> None:
    wanted = put(queue, title="An export", owner="bob")
    for _ in range(5):
        put(queue, title="A report", owner="bob")
    steps, before = 0, None
    while True:
        page = insights.list_jobs(queue, owner="bob", text="export", before=before, seconds=0)
        if page or page.cursor is None:
            break
        assert page.looked_back_to is not None
        before, steps = page.cursor, steps + 1
    assert (ids(page), steps) == ([wanted.id], 5)


def test_the_job_of_a_cursor_may_be_gone(queue: Any) -> None:
    with moving_clock(START) as clock:
        jobs = []
        for _ in range(3):
            jobs.append(put(queue, owner="bob"))
            clock.advance(1)
        page = insights.list_jobs(queue, owner="bob", limit=1)
        queue.remove(jobs[1])
        transaction.commit()
        rest = insights.list_jobs(queue, owner="bob", before=page.cursor)
    assert ids(rest) == [jobs[0].id]


def test_a_cursor_within_a_microsecond() -> None:
    class Stored:
        def __init__(self, number: int) -> None:
            self._p_oid = number.to_bytes(8, "big")

    placed = [(5, Stored(n)) for n in (1, 2, 3)] + [(4, Stored(4))]
    assert list(Cursor(5, 2).go_on(iter(placed))) == placed[1:]
    assert list(Cursor(5, 9).go_on(iter(placed))) == placed
    assert list(Cursor(5, 9).go_on(iter(placed[:3]))) == placed[:3]
    assert list(Cursor(6, 9).go_on(iter(placed))) == placed
    assert list(Cursor(4, 4).go_on(iter(placed[3:]))) == placed[3:]


# The storage's undo log


@pytest.mark.parametrize(
    ("labels", "user", "note"),
    [
        ({"owner": "bob", "title": "A deposit"}, "bob", "A deposit"),
        ({"owner": "bob"}, "bob", "Account.deposit"),
        ({"title": "A deposit"}, "", "A deposit"),
        ({}, "", "Account.deposit"),
    ],
)
def test_the_undo_log_tells_whose_job_wrote(
    db: Any, queue: Any, account: Any, labels: dict[str, Any], user: str, note: str
) -> None:
    job = put(queue, account.deposit, 1, **labels)
    run_jobs(db)
    transaction.begin()
    job._p_activate()
    ended = next(each for each in db.undoLog() if each["id"].rstrip() == _id_of(job))
    found = (ended["user_name"].strip(), ended["description"])
    assert found == (user, note)


def test_what_a_job_notes_itself_stays(db: Any, queue: Any) -> None:
    job = put(queue, sample.note_in_transaction, queue.parent, owner="bob", title="A deposit")
    run_jobs(db)
    transaction.begin()
    job._p_activate()
    ended = next(each for each in db.undoLog() if each["id"].rstrip() == _id_of(job))
    assert (ended["user_name"].strip(), ended["description"]) == ("ann", "by hand")


def _id_of(job: Any) -> bytes:
    """The id of the last transaction that wrote a job, in the undo log."""
    return base64.encodebytes(job._p_serial).rstrip()
