"""`zodbjobs zc-async`: what is left in the queues of zc.async, and how to put it again."""

from __future__ import annotations

import ast
import contextlib
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from python2_files import Made, Name, OldDatabase, Raw, record, span, stamp, utc
from storages import zeo_servers
from ZODB.Connection import TransactionMetaData
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.utils import p64

import zodbjobs
from zodbjobs.cli.zc_async.put_again import PREAMBLE
from zodbjobs.testing import moving_clock, run_jobs

Run = Callable[..., Any]

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def old() -> OldDatabase:
    return OldDatabase()


@pytest.fixture
def told(run: Run, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The jobs of all queues that the command lists, at noon."""

    def told(old: OldDatabase, *words: str, **how: Any) -> list[dict[str, Any]]:
        (tmp_path / "Old.fs").unlink(missing_ok=True)
        path = old.write(tmp_path / "Old.fs", **how)
        with moving_clock(NOW):
            ended = run("zc-async", path, "--json", *words)
        assert (ended.status, ended.err) == (0, "")
        return [job for queue in json.loads(ended.out)["queues"] for job in queue["jobs"]]

    return told


Told = Callable[..., list[dict[str, Any]]]


@contextlib.contextmanager
def new_database() -> Iterator[Any]:
    """A connection to a database of this package, in memory."""
    with contextlib.closing(DB(None)) as db:
        zodbjobs.install(db)
        connection = db.open(transaction.TransactionManager())
        yield connection
        connection.transaction_manager.abort()
        connection.close()


def execute(line: str, connection: Any) -> None:
    """Run a line as somebody would who has pasted it below the preamble."""
    names = {"connection": connection}
    exec("; ".join(PREAMBLE), names)
    exec(line, names)


def only(jobs: list[dict[str, Any]], *names: str) -> list[Any]:
    """The fields of the names of each job."""
    return [[job[name] for name in names] if len(names) > 1 else job[names[0]] for job in jobs]


# Where a job stands


def test_pending_and_scheduled(old: OldDatabase, told: Told) -> None:
    past = old.job("sample:add", 1, _begin_after=utc(NOW - AN_HOUR))
    due = old.job("sample:add", 2, _begin_after=utc(NOW))
    later = old.job(
        "sample:add", 3, _begin_after=utc(NOW + AN_HOUR), _begin_by=span(timedelta(seconds=90))
    )
    old.queue(jobs=[past], held=[(NOW, due), (NOW + AN_HOUR, later)])
    jobs = told(old)
    assert only(jobs, "id", "state") == [
        [past.id, "pending"],
        [due.id, "pending"],
        [later.id, "scheduled"],
    ]
    assert only(jobs, "begin_after") == [
        "2026-05-04T11:00:00+00:00",
        "2026-05-04T12:00:00+00:00",
        "2026-05-04T13:00:00+00:00",
    ]
    assert [job["line"].rpartition("sample.add, ")[2] for job in jobs] == [
        "1))",
        "2))",
        "3), begin_after=datetime.datetime(2026, 5, 4, 13, 0, tzinfo=datetime.timezone.utc), "
        "begin_by=datetime.timedelta(seconds=90))",
    ]


def test_expired(old: OldDatabase, told: Told) -> None:
    terms = {"_begin_after": utc(NOW - AN_HOUR), "_begin_by": span(timedelta(minutes=1))}
    old.queue(jobs=[old.job("sample:add", 1, **terms)])
    (job,) = told(old)
    assert (job["state"], job["begin_by"]) == ("expired", 60)
    assert job["line"].endswith(".put(zodbjobs.Job(sample.add, 1))")
    assert "wasn't begun in time" in job["needs"][0]


def test_taken_by_an_agent(old: OldDatabase, told: Told) -> None:
    callback = old.job("sample:nothing")
    taken = [
        old.job("sample:add", number, _status_id=number, callbacks=[callback])
        for number in range(3)
    ]
    old.queue(agent=old.agent(taken))
    jobs = told(old)
    assert only(jobs, "state") == ["assigned", "active", "callbacks"]
    assert set(only(jobs, "agent")) == {"main of 00000000-0000-0000-0000-00000000000a"}
    assert only(jobs, "needs") == [
        [],
        ["it was running, and nobody ends it; what it had not committed is lost"],
        ["its own work is done, not that of its callbacks: sample.nothing"],
    ]
    assert [job["line"] is None for job in jobs] == [False, False, True]


def test_the_word_for_a_status_of_old_releases(old: OldDatabase, told: Told) -> None:
    words = ("active-status", b"zc.async", "Active", None)
    job = old.job("sample:add", _status=Made(Name("zope.i18nmessageid.message:Message"), words))
    del job.state[b"_status_id"]
    old.queue(agent=old.agent([job]))
    assert only(told(old), "state") == ["active"]


def test_the_history_is_counted_and_listed_if_wanted(
    old: OldDatabase, told: Told, run: Run, tmp_path: Path
) -> None:
    reason = Made(Name("zc.twist:Failure"), (), {b"type": Name("exceptions:KeyError")})
    ended = [
        old.job("sample:add", number, _status_id=3, _result=reason if number == 1 else 5)
        for number in range(5)
    ]
    old.queue(jobs=[old.job("sample:nothing")], agent=old.agent(completed=ended))
    assert only(told(old), "state") == ["pending"]
    path = tmp_path / "Old.fs"
    assert run("zc-async", path).out.endswith("\n1 left; --all lists 5 that have ended\n")
    (queue,) = json.loads(run("zc-async", path, "--json").out)["queues"]
    assert queue["ended"] == 5
    (queue,) = json.loads(run("zc-async", path, "--json", "--all").out)["queues"]
    jobs = queue["jobs"][1:]
    assert only(jobs, "id") == [job.id for job in ended]
    assert only(jobs, "state") == ["succeeded", "failed", *["succeeded"] * 3]
    assert jobs[1]["failure"] == "builtins.KeyError"
    assert {(job["line"], *job["needs"]) for job in jobs} == {(None, "it has ended")}


@pytest.mark.parametrize(
    ("method", "state"),
    [("handleInterrupt", "interrupted"), ("resumeCallbacks", "callbacks"), ("fail", "expired")],
)
def test_a_job_that_another_one_recovers(
    old: OldDatabase, told: Told, method: str, state: str
) -> None:
    lost = old.job("sample:add", 1, _status_id=1)
    old.queue(jobs=[old.job((lost, method.encode()))])
    (job,) = told(old)
    assert (job["id"], job["state"], job["callable"]) == (lost.id, state, "sample.add")


def test_a_method_of_that_name_of_something_else(old: OldDatabase, told: Told) -> None:
    account = old.store("sample:Account", {})
    old.queue(jobs=[old.job((account, b"fail"))])
    assert only(told(old), "callable", "state") == [
        [f"<sample.Account {account.id}>.fail", "pending"]
    ]


def test_many_in_several_queues(old: OldDatabase, run: Run, tmp_path: Path) -> None:
    back = [old.job("sample:add", -1)]
    old.queue(jobs=[old.job("sample:add", n) for n in range(5)], back=back, quotas={b"db": 2})
    held = [
        (NOW + n * AN_HOUR, old.job("sample:add", n, _begin_after=utc(NOW + n * AN_HOUR)))
        for n in range(1, 12)
    ]
    old.queue(b"mail", held=held)
    with moving_clock(NOW):
        found = json.loads(run("zc-async", old.write(tmp_path / "Old.fs"), "--json").out)["queues"]
    assert only(found, "name") == ["", "mail"]
    assert [only(queue["jobs"], "arguments") for queue in found] == [
        [[str(n)] for n in range(-1, 5)],
        [[str(n)] for n in range(1, 12)],
    ]
    assert only(found, "lines") == [
        ["zodbjobs.get_queue(connection).quotas.create('db', size=2)"],
        ["zodbjobs.get_queues(connection).create('mail')"],
    ]
    assert "(connection, 'mail').put(" in found[1]["jobs"][0]["line"]
    assert {tuple(queue["problems"]) for queue in found} == {()}


def test_nothing_is_left(old: OldDatabase, run: Run, tmp_path: Path) -> None:
    old.queue()
    path = old.write(tmp_path / "Old.fs")
    assert run("zc-async", path).out == "queue (default)\n0 left\n"


# What a job says


def test_the_strings_and_values_of_python_2(old: OldDatabase, told: Told) -> None:
    values = {
        b"largest": 10**20,
        b"made": utc(NOW),
        b"names": [b"Gr\xc3\xb6\xc3\x9fe", "schön", b"\xff\xfe"],
        b"none": (None, True, 2.5, (), float("inf")),
        b"some": Made(Name("__builtin__:set"), ([2, 1],)),
        b"table": {b"a": (1,)},
    }
    old.queue(jobs=[old.job("sample:identity", b"text", kwargs=values)])
    (job,) = told(old)
    assert job["arguments"] == [
        "'text'",
        "largest=100000000000000000000",
        "made=datetime.datetime(2026, 5, 4, 12, 0, tzinfo=datetime.timezone.utc)",
        r"names=['Größe', 'schön', b'\xff\xfe']",
        "none=(None, True, 2.5, (), float('inf'))",
        "some=set([1, 2])",
        "table={'a': (1,)}",
    ]
    with new_database() as connection:
        execute(job["line"], connection)
        (put,) = zodbjobs.get_queue(connection)
        assert put.args == ["text"]
        assert put.kwargs == {
            "largest": 10**20,
            "made": NOW,
            "names": ["Größe", "schön", b"\xff\xfe"],
            "none": (None, True, 2.5, (), float("inf")),
            "some": {1, 2},
            "table": {"a": (1,)},
        }


def test_what_lies_within_a_job(old: OldDatabase, told: Told) -> None:
    point = Made(Name("shop.geometry:Point"), (), {b"x": 1})
    old.queue(jobs=[old.job("sample:add", 1, [point])])
    (job,) = told(old)
    assert job["arguments"] == ["1", "[<shop.geometry.Point>]"]
    assert job["line"] is None
    assert job["needs"] == [
        "argument 2 can't be written: an object of the class shop.geometry.Point lies within "
        "it; make it anew"
    ]


def test_a_list_that_holds_itself(old: OldDatabase, told: Told) -> None:
    circle: list[Any] = []
    circle.append(circle)
    old.queue(jobs=[old.job("sample:add", circle)])
    (job,) = told(old)
    assert job["line"] is None
    assert "it holds itself" in job["needs"][0]


def test_a_method_of_a_stored_object(old: OldDatabase, told: Told) -> None:
    account = old.store("sample:Account", {})
    old.queue(jobs=[old.job((account, b"deposit"), 5)])
    (job,) = told(old)
    assert job["callable"] == f"<sample.Account {account.id}>.deposit"
    assert job["needs"] == []
    with new_database() as connection:
        there = connection.root()["account"] = sample.Account()
        connection.transaction_manager.commit()
        new_id = zodbjobs.get_job_id(there)
        execute(job["line"].replace(f"p64({account.id})", f"p64({new_id})"), connection)
        connection.transaction_manager.commit()
        assert run_jobs(connection.db()) == 1
        connection.sync()
        assert there.balance == 5


def test_arguments_that_are_stored(old: OldDatabase, told: Told) -> None:
    here, gone = old.store("sample:Account", {}), old.store("shop.till:Till", {})
    other = Raw([b"m", (b"main", p64(77), Name("sample:Account"))])
    bare = Raw(p64(78))
    old.queue(jobs=[old.job("sample:add", here, [gone], other, bare)])
    (job,) = told(old)
    assert job["arguments"] == [
        f"<sample.Account {here.id}>",
        f"[<shop.till.Till {gone.id}>]",
        "<sample.Account 77 of database main>",
        "<object 78>",
    ]
    assert job["needs"] == [
        "the module shop.till isn't here; install it, or take the one that replaces it"
    ]
    assert job["line"] == (
        "import sample; zodbjobs.get_queue(connection).put(zodbjobs.Job(sample.add, "
        f"connection.get(p64({here.id})), [connection.get(p64({gone.id}))], "
        "connection.get_connection('main').get(p64(77)), connection.get(p64(78))))"
    )


def test_a_weak_reference(old: OldDatabase, told: Told) -> None:
    weak = [Raw([b"w", (p64(7),)]), Raw([b"w", (p64(7), b"main")]), Raw([p64(7)])]
    old.queue(jobs=[old.job("sample:add", item) for item in weak])
    jobs = told(old)
    assert only(jobs, "arguments") == [
        ["<weak reference to object 7>"],
        ["<weak reference to object 7 of database main>"],
        ["<weak reference to object 7>"],
    ]
    assert {job["line"] for job in jobs} == {None}


def test_a_quota(old: OldDatabase, told: Told) -> None:
    old.queue(jobs=[old.job("sample:nothing", _quota_names=(b"db",))], quotas={b"db": 2})
    (job,) = told(old)
    assert job["quota_names"] == ["db"]
    assert job["line"] == (
        "import sample; zodbjobs.get_queue(connection).put(zodbjobs.Job(sample.nothing), "
        "quota_names=('db',))"
    )


def test_callbacks(old: OldDatabase, told: Told) -> None:
    chained = old.job("sample:add", 2, callbacks=[old.job("sample:add", 3)])
    after_both = old.job("sample:add", 6)
    callbacks = [
        old.job("sample:add", 1, callbacks=[chained]),
        old.pair(old.job("sample:add", 4), old.job("sample:add", 5), [after_both]),
        old.pair(None, old.job("sample:add", 7)),
    ]
    old.queue(jobs=[old.job("sample:nothing", callbacks=callbacks)])
    (job,) = told(old)
    assert only(job["callbacks"], "after", "when", "arguments") == [
        ["", "always", ["1"]],
        ["sample.add", "always", ["2"]],
        ["sample.add", "always", ["3"]],
        ["", "success", ["4"]],
        ["", "failure", ["5"]],
        ["sample.add or sample.add", "always", ["6"]],
        ["", "failure", ["7"]],
    ]
    assert job["needs"] == []
    assert job["line"].split("; ")[1:] == [
        "job = zodbjobs.get_queue(connection).put(zodbjobs.Job(sample.nothing))",
        "callback_1 = job.add_callback(zodbjobs.Job(sample.add, 1))",
        "callback_2 = callback_1.add_callback(zodbjobs.Job(sample.add, 2))",
        "callback_2.add_callback(zodbjobs.Job(sample.add, 3))",
        "callback_4 = job.add_callbacks(success=zodbjobs.Job(sample.add, 4), "
        "failure=zodbjobs.Job(sample.add, 5))",
        "callback_4.add_callback(zodbjobs.Job(sample.add, 6))",
        "job.add_callbacks(failure=zodbjobs.Job(sample.add, 7))",
    ]


def test_a_callback_with_a_condition_of_its_own(old: OldDatabase, told: Told) -> None:
    pair = old.pair(None, None)
    pair.state[b"conditionals"] = old.sequence([(Name("shop:is_odd"), old.job("sample:add"))])
    old.queue(jobs=[old.job("sample:nothing", callbacks=[pair])])
    (job,) = told(old)
    assert job["line"] is None
    assert job["needs"] == [
        "its callback sample.add has the condition shop.is_odd; ask that in the callback"
    ]


@pytest.mark.parametrize("kind", ["serial", "parallel"])
def test_a_composition(old: OldDatabase, told: Told, kind: str) -> None:
    last = old.job("sample:add")
    parts = [old.job("sample:add", number) for number in range(3)]
    whole = old.job(f"zc.async.job:_schedule_{kind}", *parts, kwargs={b"postprocess": last})
    plain = old.job("zc.async.job:_transparent")
    empty = old.job(f"zc.async.job:_schedule_{kind}", kwargs={b"postprocess": plain})
    old.queue(jobs=[whole, empty])
    jobs = told(old)
    assert jobs[0]["line"].endswith(
        f".put(zodbjobs.{kind}(zodbjobs.Job(sample.add, 0), zodbjobs.Job(sample.add, 1), "
        "zodbjobs.Job(sample.add, 2), postprocess=zodbjobs.Job(sample.add)))"
    )
    assert jobs[1]["line"].endswith(f".put(zodbjobs.{kind}())")


def test_a_composition_that_is_under_way(old: OldDatabase, told: Told) -> None:
    parts = [old.job("sample:add", number) for number in range(3)]
    last = old.job("zc.async.job:_transparent")
    whole = old.job(
        "zc.async.job:_schedule_serial", *parts, _status_id=1, kwargs={b"postprocess": last}
    )
    parts[0].state[b"_status_id"] = 3
    parts[1].state[b"callbacks"] = old.bucket([old.job("zc.async.job:_queue_next", whole, 2)])
    old.queue(jobs=[parts[1]], agent=old.agent([whole]))
    waiting, running = told(old)
    assert (waiting["line"], waiting["needs"]) == (
        None,
        [f"it is a part of job {whole.id}, which is put again as a whole"],
    )
    assert (
        "zodbjobs.serial(zodbjobs.Job(sample.add, 1), zodbjobs.Job(sample.add, 2))"
        in (running["line"])
    )
    assert running["needs"] == [
        "it was running, and nobody ends it; what it had not committed is lost",
        "some of its parts have ended; the last step doesn't get those",
    ]


def test_the_last_step_of_a_composition_that_is_under_way(old: OldDatabase, told: Told) -> None:
    last = old.job("sample:add", 1)
    whole = old.job(
        *("zc.async.job:_schedule_serial", old.job("sample:add", _status_id=3)),
        _status_id=1,
        _result=last,
        kwargs={b"postprocess": last},
    )
    last.state[b"callbacks"] = old.bucket([old.job((whole, b"_callback"))])
    old.queue(jobs=[last], agent=old.agent([whole]))
    waiting, outer = told(old)
    assert (waiting["line"], waiting["needs"]) == (
        None,
        [f"it is a part of job {whole.id}, which is put again as a whole"],
    )
    assert outer["state"] == "waiting"
    assert outer["line"].endswith("zodbjobs.serial(postprocess=zodbjobs.Job(sample.add, 1)))")
    assert outer["needs"] == ["some of its parts have ended; the last step doesn't get those"]


def test_a_job_that_another_one_has_returned(old: OldDatabase, told: Told) -> None:
    inner = old.job("sample:add", 1)
    outer = old.job("sample:later", _status_id=1, _result=inner)
    inner.state[b"callbacks"] = old.bucket([old.job((outer, b"_callback"))])
    old.queue(jobs=[inner], agent=old.agent([outer]))
    assert only(told(old), "state", "callbacks", "needs") == [
        ["pending", [], [f"its result is that of job {outer.id} too, which has returned it"]],
        [
            "waiting",
            [],
            [f"its own work is done; it waits for job {inner.id}, which it has returned"],
        ],
    ]


def test_jobs_among_the_arguments(old: OldDatabase, told: Told) -> None:
    bound, other = old.job("sample:add"), old.job("sample:add")
    bound.state[b"args"] = old.sequence([bound, 5])
    old.queue(jobs=[bound, old.job("sample:add", [other])])
    first, second = told(old)
    assert first["line"].endswith(".put(zodbjobs.Job.bind(sample.add, 5))")
    assert first["needs"] == []
    assert second["line"] is None
    assert second["needs"] == [
        f"argument 1 can't be written: it has job {other.id} of the old queue in it"
    ]


def test_what_the_line_does_not_say(old: OldDatabase, told: Told) -> None:
    site = old.store("sample:Account", {})
    jobs = [
        old.job("sample:add", retry_policy_factory=Name("zc.async.job:RetryCommonForever")),
        old.job("sample:add", retry_policy_factory=b"mine"),
        old.job("sample:add", kind="zc.async.z3:Job", site=site, participants=(b"ada",)),
        old.job("sample:add", kind="shop.jobs:ShopJob"),
        old.job("sample:add", kind="waeup.kofa.async:ProgressableJob"),
    ]
    old.queue(jobs=jobs)
    found = told(old)
    assert only(found, "needs") == [
        ["set job.retry_policy to zodbjobs.RetryForever; it was zc.async.job.RetryCommonForever"],
        ["set job.retry_policy to one of yours; it was mine"],
        [f"put it in the site <sample.Account {site.id}> as ada, for it was put there"],
        [
            "it is of the class shop.jobs.ShopJob; make that a subclass of zodbjobs.Job, and put "
            "one of it"
        ],
        [],
    ]
    assert "zodbjobs.ProgressableJob(sample.add)" in found[-1]["line"]


def test_what_plone_has_wrapped(old: OldDatabase, told: Told) -> None:
    wrapped = old.job(
        *("plone.app.async.service:_executeAsUser", (b"", b"plone", b"news")),
        *((b"", b"plone"), (b"", b"plone", b"acl_users"), b"ada", Name("sample:add"), 5),
    )
    plain = old.job("zc.async.job:_transparent")
    whole = old.job("zc.async.job:_schedule_serial", wrapped, kwargs={b"postprocess": plain})
    events = [
        old.job(f"plone.app.async.service:job_{name}_callback") for name in ("success", "failure")
    ]
    wrapped.state[b"callbacks"] = old.bucket([old.pair(*events)])
    old.queue(jobs=[wrapped, whole])
    job, composed = told(old)
    assert composed["line"].endswith(
        "zodbjobs.serial(zodbjobs.Job(sample.add, '/plone/news', 5)))"
    )
    assert job["line"].endswith(".put(zodbjobs.Job(sample.add, '/plone/news', 5))")
    assert job["needs"] == [
        "sample.add was given the object, not its path; let it look that up in the site",
        "put it in the site ('', 'plone') as ada, for it was put there",
    ]


def test_names_that_python_3_has_no_more(old: OldDatabase, told: Told) -> None:
    old.queue(
        jobs=[
            old.job("waeup.kofa.async:compute", 23),
            old.job("shop.async:sell"),
            old.job("__builtin__:max", 1, 2),
            old.job("sample:identity", kwargs={b"async": 1}),
        ]
    )
    jobs = told(old)
    assert [job["line"] and job["line"].partition("zodbjobs.Job")[2] for job in jobs] == [
        "(zodbjobs.compute, 23))",
        None,
        "(builtins.max, 1, 2))",
        "(sample.identity, **{'async': 1}))",
    ]
    assert jobs[1]["needs"] == [
        "no module shop.async can be imported, as async is a keyword; rename it",
        "what it calls can't be written: shop.async.sell can't be written in Python 3; rename it",
    ]
    for job in jobs:
        compile(job["line"] or "", "", "exec")


# Nothing is imported or called


def test_nothing_is_imported(old: OldDatabase, told: Told, tmp_path: Path) -> None:
    for name in ("loud_one", "loud_package/__init__", "loud_package/inner"):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("raise SystemExit('imported')\n")
    (tmp_path / "spread" / "inner").mkdir(parents=True)
    (tmp_path / "spread" / "inner" / "leaf.py").touch()
    calls = ("loud_one", "loud_package.inner", "spread.inner.leaf", "loud_package.no", "spread")
    old.queue(jobs=[old.job(f"{name}:run") for name in calls])
    assert [bool(needs) for needs in only(told(old), "needs")] == [False] * 3 + [True] * 2
    assert not {name for name in sys.modules if name.startswith(("loud_", "spread"))}


def test_nothing_is_called(old: OldDatabase, told: Told, tmp_path: Path) -> None:
    harm = Made(Name("os:mkdir"), (str(tmp_path / "harm").encode(),))
    old.queue(jobs=[old.job("sample:add", harm, _result=harm)])
    assert only(told(old), "arguments") == [["<os.mkdir>"]]
    assert not (tmp_path / "harm").exists()


@pytest.mark.process
def test_in_a_process_of_its_own(old: OldDatabase, run_process: Run, tmp_path: Path) -> None:
    old.queue(jobs=[old.job("portal.exports:export", b"csv")])
    ended = run_process("zc-async", old.write(tmp_path / "Old.fs"))
    assert (ended.status, ended.err) == (0, "")
    assert "portal.exports.export('csv')" in ended.out
    assert "needs  the module portal.exports isn't here" in ended.out
    assert ended.out.endswith("\n1 left\n")


# What can't be read


def test_a_job_that_is_lost(old: OldDatabase, told: Told) -> None:
    jobs = [old.job("sample:add", number) for number in range(3)]
    old.queue(jobs=jobs)
    first, lost, last = told(old, without=[jobs[1]])
    assert (first["line"] is None, last["line"] is None) == (False, False)
    assert (lost["id"], lost["callable"], lost["line"]) == (jobs[1].id, "?", None)
    assert lost["needs"] == [f"object {jobs[1].id} isn't in the database"]


def test_a_record_that_is_broken(old: OldDatabase, told: Told) -> None:
    jobs = [old.job("sample:add", number) for number in range(3)]
    bad = record(jobs[1].name, jobs[1].state)
    old.queue(jobs=jobs)
    told_of = told(old, change=lambda data: data[:-9] if data == bad else data)
    assert only(told_of, "id") == [job.id for job in jobs]
    assert f"the record of object {jobs[1].id} can't be read (" in told_of[1]["needs"][0]
    assert [job["line"] is None for job in told_of] == [False, True, False]


def test_arguments_that_are_lost(old: OldDatabase, told: Told) -> None:
    job = old.job("sample:add", 1)
    old.queue(jobs=[job])
    (found,) = told(old, without=[job.state[b"args"]])
    assert (found["callable"], found["line"]) == ("sample.add", None)
    assert found["needs"] == [f"object {job.state[b'args'].id} isn't in the database"]


def test_a_part_of_a_queue_that_is_lost(old: OldDatabase, run: Run, tmp_path: Path) -> None:
    held = [(NOW + n * AN_HOUR, old.job("sample:add", n)) for n in range(9)]
    queue = old.queue(jobs=[old.job("sample:add", n) for n in range(9, 13)], held=held)
    parts = [
        queue.state[b"_held"].state[0][2],
        queue.state[b"_queue"].state[b"_data"][0],
    ]
    path = old.write(tmp_path / "Old.fs", without=parts)
    (found,) = json.loads(run("zc-async", path, "--json").out)["queues"]
    left = [int(job["arguments"][0]) for job in found["jobs"]]
    assert left == [11, 12, 0, 1, 2, 6, 7, 8]
    assert set(found["problems"]) == {f"object {part.id} isn't in the database" for part in parts}
    assert f"can't be read: object {parts[0].id} isn't" in run("zc-async", path).out


def test_a_container_of_another_shape(old: OldDatabase, run: Run, tmp_path: Path) -> None:
    queue = old.queue(jobs=[old.job("sample:add", 1)])
    queue.state[b"quotas"].state = 5
    path = old.write(tmp_path / "Old.fs")
    (found,) = json.loads(run("zc-async", path, "--json").out)["queues"]
    assert "a zc.async.queue:Quotas, isn't as it should be (TypeError" in found["problems"][0]
    assert len(found["jobs"]) == 1


def test_a_job_of_another_database(old: OldDatabase, told: Told) -> None:
    old.queue(jobs=[Raw([b"n", (b"main", p64(5))]), b"no job"])
    assert only(told(old), "id", "needs") == [
        ["5", ["object 5 is in the database 'main', another one"]],
        ["?", ["b'no job' is where an object should be"]],
    ]


@pytest.mark.parametrize(
    "change",
    [
        {b"_quota_names": 5},
        {b"_result": Made(Name("zc.twist:Failure"), (), {b"type": Made(Name("x:X"))}), b"args": 5},
        {b"callbacks": 5},
        {b"participants": 5},
        {b"_begin_after": utc(datetime.max.replace(tzinfo=UTC)), b"_begin_by": span(AN_HOUR)},
        {b"_begin_after": utc(NOW), b"_begin_by": span(timedelta.max)},
        {b"_callable_name": 5},
    ],
)
def test_a_job_with_something_odd_in_it(
    old: OldDatabase, told: Told, change: dict[bytes, Any]
) -> None:
    odd = old.job("sample:add", 1)
    odd.state.update(change)
    old.queue(jobs=[odd, old.job("sample:add", 2)])
    assert only(told(old), "id")[0] == odd.id
    assert only(told(old), "arguments")[1] == ["2"]


def test_nothing_in_a_line_but_what_is_meant(old: OldDatabase, run: Run, tmp_path: Path) -> None:
    """Somebody may run the lines without having read each."""
    account = old.store("sample:Account", {})
    other = "x; import antigravity"
    jobs = [
        old.job((account, other.encode())),
        old.job(f"{other}:f"),
        old.job(f"sample:{other}"),
        old.job("sample:add", Name(f"{other}:f")),
        old.job("sample:add", kwargs={other: 1}),
        old.job("sample:add", _quota_names=(other,)),
        old.job("sample:add", Raw([b"m", (other, p64(1), Name("sample:Account"))])),
    ]
    queue = old.queue(other.encode(), jobs=jobs, quotas={other.encode(): 1})
    _, quota = queue.state[b"quotas"].state[b"_data"].state[0][0][0]
    quota.state[b"size"] = other
    path = old.write(tmp_path / "Old.fs")
    (found,) = json.loads(run("zc-async", path, "--json").out)["queues"]
    lines = found["lines"] + [job["line"] for job in found["jobs"] if job["line"]]
    assert len(lines) == 5
    trees = [ast.parse(line) for line in lines]
    imports = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Import)]
    assert {name.name for node in imports for name in node.names} == {"sample"}


def test_pairs_that_do_not_match(old: OldDatabase, run: Run, tmp_path: Path) -> None:
    held = [(NOW + n * AN_HOUR, old.job("sample:add", n)) for n in range(6)]
    queue = old.queue(held=held)
    bucket = queue.state[b"_held"].state[0][2]
    bucket.state = (bucket.state[0][:-1],)
    path = old.write(tmp_path / "Old.fs")
    (found,) = json.loads(run("zc-async", path, "--json").out)["queues"]
    assert only(found["jobs"], "arguments") == [["0"], ["1"], ["2"]]
    assert f"object {bucket.id}, a BTrees.OOBTree:OOBucket, isn't as" in found["problems"][0]


def test_containers_that_hold_themselves(old: OldDatabase, told: Told) -> None:
    held = [(NOW + n * AN_HOUR, old.job("sample:add", n)) for n in range(4)]
    queue = old.queue(jobs=[old.job("sample:add", 4)], held=held)
    tree, composite = queue.state[b"_held"], queue.state[b"_queue"]
    children, first = tree.state
    tree.state = ((*children, b"x", tree), first)
    composite.state[b"_data"] += (composite,)
    assert only(told(old), "arguments") == [["4"], ["0"], ["1"], ["2"], ["3"]]


def test_a_number_that_python_3_does_not_write(old: OldDatabase, told: Told) -> None:
    old.queue(jobs=[old.job("sample:add", 10**5000)])
    (job,) = told(old, protocol=2)
    assert (job["arguments"], job["line"]) == (["..."], None)


def test_an_unknown_reference(old: OldDatabase, told: Told) -> None:
    job = old.job("sample:add", Raw([b"z", 1]))
    old.queue(jobs=[job])
    (found,) = told(old)
    assert "an unknown kind of reference" in found["needs"][0]


# Files and databases


def listed(run: Run, database: object) -> list[str]:
    queues = json.loads(run("zc-async", database, "--json").out)["queues"]
    return [argument for queue in queues for job in queue["jobs"] for argument in job["arguments"]]


@pytest.fixture
def one(old: OldDatabase) -> OldDatabase:
    old.queue(jobs=[old.job("sample:add", 1)])
    return old


@pytest.mark.parametrize("magic", [b"FS21", b"FS30"])
@pytest.mark.parametrize("protocol", [1, 2])
def test_the_file_stays_as_it_is(
    one: OldDatabase, run: Run, tmp_path: Path, magic: bytes, protocol: int
) -> None:
    path = one.write(tmp_path / "Old.fs", magic=magic, protocol=protocol)
    before = path.read_bytes()
    path.chmod(0o444)
    assert listed(run, path) == listed(run, f"file://{path}") == ["1"]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_the_application_has_open(one: OldDatabase, run: Run, tmp_path: Path) -> None:
    path = one.write(tmp_path / "Old.fs", magic=b"FS30")
    job = next(thing for thing in one.stored if thing.name == "zc.async.job:Job")
    with contextlib.closing(FileStorage(str(path))) as storage:
        _, serial = storage.load(job.oid)
        change = TransactionMetaData()
        storage.tpc_begin(change)
        storage.store(job.oid, serial, record("x:X", None), "", change)
        storage.tpc_vote(change)  # the transaction is in the file, but not committed
        assert listed(run, path) == ["1"]
        storage.tpc_abort(change)


def test_a_file_that_was_cut_off(one: OldDatabase, run: Run, tmp_path: Path) -> None:
    path = one.write(tmp_path / "Old.fs")
    before = path.stat().st_size
    with contextlib.closing(FileStorage(str(tmp_path / "New.fs"))) as storage:
        change = TransactionMetaData()
        storage.tpc_begin(change)
        storage.store(p64(999), p64(0), record("x:X", None), "", change)
        storage.tpc_vote(change)
        storage.tpc_finish(change)
    tail = (tmp_path / "New.fs").read_bytes()[4:]
    for length in (10, 60, len(tail) - 1):
        with path.open("r+b") as file:
            file.truncate(before)
            file.seek(0, 2)
            file.write(tail[:length])
        assert listed(run, path) == ["1"]


def test_what_was_undone(one: OldDatabase, run: Run, tmp_path: Path) -> None:
    """The record of the undo has no data, but says where they are."""
    path = one.write(tmp_path / "Old.fs", magic=b"FS30")
    job = next(thing for thing in one.stored if thing.name == "zc.async.job:Job")
    with contextlib.closing(FileStorage(str(path))) as storage:
        _, serial = storage.load(job.oid)
        change = TransactionMetaData()
        storage.tpc_begin(change)
        storage.store(job.oid, serial, record("x:X", None), "", change)
        storage.tpc_vote(change)
        storage.tpc_finish(change)
        (last, *_) = storage.undoInfo()
        undo = TransactionMetaData()
        storage.tpc_begin(undo)
        storage.undo(last["id"], undo)
        storage.tpc_vote(undo)
        storage.tpc_finish(undo)
    stamp(path, b"FS21")
    assert listed(run, path) == ["1"]


def test_records_that_are_compressed(one: OldDatabase, run: Run, tmp_path: Path) -> None:
    path = one.write(tmp_path / "Old.fs", change=lambda data: b".z" + zlib.compress(data))
    assert listed(run, path) == ["1"]


@pytest.mark.process
def test_a_server(one: OldDatabase, run: Run, tmp_path: Path) -> None:
    path = one.write(tmp_path / "Old.fs", magic=b"FS30")
    with zeo_servers.in_a_thread(path) as (host, port):
        assert listed(run, f"zeo://{host}:{port}") == ["1"]


def test_the_class_in_its_old_forms(one: OldDatabase, run: Run, tmp_path: Path) -> None:
    job = next(thing for thing in one.stored if thing.name == "zc.async.job:Job")
    plain = record(job.name, job.state)
    for form in ((Name(job.name), None), ((b"zc.async.job", b"Job"), None)):
        other = record(form, job.state)
        path = one.write(tmp_path / "Old.fs", change=lambda d, o=other: o if d == plain else d)
        (found,) = json.loads(run("zc-async", path, "--json").out)["queues"]
        assert only(found["jobs"], "kind", "arguments") == [["zc.async.job:Job", ["1"]]]
        path.unlink()


@pytest.mark.parametrize("content", [b"", b"# notes\n", b"\x00" * 100])
def test_no_file_storage(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert f"{path} isn't a FileStorage; give the path" in run("zc-async", path).problem


def test_no_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "missing.fs"
    assert f"there is no file {path}; check the path" in run("zc-async", path).problem
    assert f"{tmp_path} is a directory" in run("zc-async", tmp_path).problem
    assert not path.exists()


def test_a_damaged_file(old: OldDatabase, run: Run, tmp_path: Path) -> None:
    path = old.write(tmp_path / "Old.fs")
    data = bytearray(path.read_bytes())
    length = data.index(p64(len(record(old.root.name, old.root.state))), 4 + 23)
    for more in (1, -1, 2**40):
        data[length : length + 8] = p64(len(record(old.root.name, old.root.state)) + more)
        path.write_bytes(data)
        assert f"{path} is damaged at byte " in run("zc-async", path).problem


def test_a_database_without_queues(old: OldDatabase, run: Run, tmp_path: Path) -> None:
    path = old.write(tmp_path / "Old.fs")
    assert f"{path} has no queues of zc.async" in run("zc-async", path).problem


def test_queues_in_another_database(old: OldDatabase, run: Run, tmp_path: Path) -> None:
    queues = Raw([b"m", (b"async", p64(1), Name("zc.async.queue:Queues"))])
    old.root.state[b"data"][b"zc.async"] = queues
    problem = run("zc-async", old.write(tmp_path / "Old.fs")).problem
    assert "Old.fs are in the database 'async'; give its file" in problem


def test_a_root_that_is_broken(one: OldDatabase, run: Run, tmp_path: Path) -> None:
    path = one.write(tmp_path / "Old.fs", without=[one.root])
    assert "can't read the root of" in run("zc-async", path).problem
