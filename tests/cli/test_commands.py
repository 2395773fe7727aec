"""The commands as a stranger types them, on a file that nobody else has open."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attachment_jobs
import pytest
import sample
from storages import file_storage

import zodbjobs
from zodbjobs import clock, insights
from zodbjobs.cli.database import opened
from zodbjobs.stored.conflicts import Conflicts
from zodbjobs.stored.lifecycle.fights import Fight, Key
from zodbjobs.testing import moving_clock, run_jobs

Run = Callable[..., Any]
Put = Callable[..., list[str]]

NAMES = [
    *("worker", "put", "jobs", "show", "watch"),
    *("cancel", "retry", "remove", "forget", "stats", "check", "workers"),
    *("pause", "resume", "drain", "agents", "quotas", "conflicts", "schedules"),
    *("audit", "metrics", "web", "demo", "zc-async"),
]

# What makes rich believe that it writes to a terminal of this width.
TERMINAL = {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "80"}


def work(path: Path) -> None:
    """Run what is due, as a worker would."""
    with contextlib.closing(file_storage(path.parent)) as db:
        run_jobs(db)


def shown(run: Run, path: Path, job_id: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run("show", path, job_id, "--json").out)
    return told


@pytest.fixture
def busy(path: Path, put: Put) -> dict[str, str]:
    """Ids of jobs in all states that a file without a worker can have."""
    ids = {}
    (ids["added"],) = put(zodbjobs.Job(sample.add, 1, 2, more=3))
    (ids["failed"],) = put(zodbjobs.Job(sample.fail, "a message that is long " * 20))
    (ids["logged"],) = put(zodbjobs.Job(sample.log_lines, 3))
    (ids["reported"],) = put(zodbjobs.ProgressableJob(sample.report, 12.5, 99.4))
    work(path)
    (ids["scheduled"],) = put(zodbjobs.Job(sample.nothing), begin_after=timedelta(hours=1))
    (ids["waiting"],) = put(zodbjobs.Job(sample.wait), priority=3)
    return ids


# put


def test_put_prints_the_id(run: Run, path: Path) -> None:
    put = run("put", path, "sample:add", "1", "2")
    assert put.status == 0
    assert put.err == ""
    job_id = put.out.strip()
    assert job_id.isdigit()
    work(path)
    assert shown(run, path, job_id)["result"] == "3"


@pytest.mark.parametrize(
    ("words", "result"),
    [
        (["5"], "5"),
        (["-5"], "-5"),
        (["2.5"], "2.5"),
        (["true"], "True"),
        (["null"], None),
        (["hello"], "'hello'"),
        (["two words"], "'two words'"),
        (["value=7"], "7"),
        (["value=x=y"], "'x=y'"),
        (['["a", {"b": 1}]'], "['a', {'b': 1}]"),
        (['"5"'], "'5'"),
        (['"--x"'], "'--x'"),
        (["http://host/?a=b"], "'http://host/?a=b'"),
        (["2026-01-31"], "'2026-01-31'"),
        (["value=Größe"], "'Größe'"),
    ],
)
def test_put_takes_json_or_text(
    run: Run, path: Path, words: list[str], result: str | None
) -> None:
    job_id = run("put", path, "sample:identity", *words).out.strip()
    work(path)
    job = shown(run, path, job_id)
    assert (job["outcome"], job["result"]) == ("succeeded", result)


def test_put_with_options_between_the_arguments(run: Run, path: Path) -> None:
    call = ["sample:add", "1", "--priority", "-3", "-2", "--progress", "more=4", "--in", "90.5"]
    with moving_clock():
        job = json.loads(run("put", path, *call, "--json").out)
    assert job["kind"] == "ProgressableJob"
    assert job["priority"] == -3
    assert job["state"] == "scheduled"
    due = datetime.fromisoformat(job["begin_after"])
    assert due - datetime.fromisoformat(job["created"]) == timedelta(seconds=90.5)
    assert shown(run, path, job["id"])["arguments"] == ["1", "-2", "more=4"]


def test_put_of_other_callables(run: Run, path: Path) -> None:
    for call in (["math:floor", "2.5"], ["sample:later", "2"], ["builtins:max", "1", "2"]):
        job_id = run("put", path, *call).out.strip()
        work(path)
        assert shown(run, path, job_id)["result"] == "2", call


def test_put_of_a_module_in_the_current_directory(run: Run, path: Path) -> None:
    Path("here_and_now.py").write_text("def answer():\n    return 42\n")
    assert run("put", path, "here_and_now:answer").status == 0
    assert "here_and_now:answer" in run("jobs", path).out


def test_put_with_limits(run: Run, path: Path) -> None:
    with opened(str(path)) as db, db.transaction() as connection:
        zodbjobs.get_queue(connection).quotas.create("mail")
    options = ("--timeout", "5", "--quota", "mail", "--unique", "key")
    first = run("put", path, "sample:nothing", *options).out.strip()
    assert run("put", path, "sample:nothing", *options).out.strip() == first
    details = shown(run, path, first)
    assert (details["quota_names"], details["unique"]) == (["mail"], "key")
    assert "has no quota 'post'" in run("put", path, "sample:nothing", "--quota", "post").problem


def test_put_into_a_named_queue(run: Run, path: Path) -> None:
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        zodbjobs.get_queues(connection).create("mail")
    job_id = run("put", path, "sample:nothing", "--queue", "mail").out.strip()
    assert [job["id"] for job in json.loads(run("jobs", path, "--queue", "mail", "--json").out)]
    assert run("jobs", path, "--queue", "").out == "no such jobs\n"
    assert shown(run, path, job_id)["queue"] == "mail"
    assert "mail" in run("stats", path).out


def test_worker_makes_a_file_only_if_told(run: Run, tmp_path: Path) -> None:
    assert run("put", tmp_path / "new.fs", "sample:nothing").status == 2
    assert list(tmp_path.iterdir()) == []


# pause, resume, drain


def test_pause_and_resume(run: Run, path: Path, put: Put) -> None:
    put(zodbjobs.Job(sample.nothing))
    paused = run("pause", path, "--reason", "a release")
    assert (paused.status, paused.out) == (0, "paused: queue (default)\n")
    aside = run("pause", path, "--reason", "no printer", "--match", "sample:n*")
    assert aside.out == "paused: sample:n* of queue (default)\n"
    work(path)
    for name in ("stats", "jobs"):
        out = run(name, path).out
        assert "queue (default) paused" in out
        assert ": a release\n" in out
        assert "sample:n* of queue (default) paused" in out
    run("resume", path)
    work(path)
    (queue,) = json.loads(run("stats", path, "--json").out)["queues"]
    assert (queue["waiting"], queue["paused"]) == (0, 1)
    ((pause),) = queue["pauses"]
    assert (pause["reason"], pause["match"], pause["jobs"]) == ("no printer", "sample:n*", 1)
    assert "1 jobs put aside: no printer" in run("stats", path).out
    assert "sample:nothing" in run("jobs", path, "--status", "paused").out
    resumed = run("resume", path, "--match", "sample:n*")
    assert resumed.out == "resumed: sample:n* of queue (default)\n"
    assert run("resume", path).out == "was not paused: queue (default)\n"
    work(path)
    assert json.loads(run("stats", path, "--json").out)["queues"][0]["finished"] == 1


def test_drain(run: Run, path: Path, put: Put) -> None:
    put(zodbjobs.Job(sample.nothing))
    problem = run("drain", path, "--reason", "the end is near").problem
    assert f"can't run while {path} is open here; start `zodbjobs worker {path}`" in problem
    assert "takes no new jobs: the end is near" in run("stats", path).out
    assert "takes no new jobs: the end is near" in run("put", path, "sample:nothing").problem
    work(path)
    drained = run("drain", path)
    assert (drained.status, drained.out) == (0, "empty: queue (default)\n")
    assert run("resume", path).out == "resumed: queue (default)\n"
    assert run("put", path, "sample:nothing").status == 0


def test_drain_waits_for_the_workers(run: Run, zeo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks the workers go on."""
    job_id = run("put", zeo, "sample:nothing").out.strip()

    def run_meanwhile(seconds: float) -> None:
        with opened(zeo) as db:
            run_jobs(db)

    monkeypatch.setattr("zodbjobs.cli.commands.queues.time.sleep", run_meanwhile)
    drained = run("drain", zeo)
    assert (drained.out, drained.status) == ("empty: queue (default)\n", 0)
    assert drained.err == "draining: queue (default) has 1 jobs waiting, 0 at work\n"
    assert json.loads(run("show", zeo, job_id, "--json").out)["outcome"] == "succeeded"


# quotas


def test_quotas(run: Run, path: Path) -> None:
    assert run("quotas", path).out == "no queue has a quota\n"
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        quotas = zodbjobs.get_queue(connection).quotas
        quotas.create("mail", rate=100, per=timedelta(minutes=1), burst=5)
        quotas.create("customer:*", 2)
    shown = run("quotas", path).out
    assert "100 in 1 min, 5 at once" in shown
    changed = run("quotas", path, "--name", "mail", "--size", 3, "--rate", 7, "--per", "2h")
    assert "7 in 2 h" in changed.out
    rows = {row["name"]: row for row in json.loads(run("quotas", path, "--json").out)}
    mail = rows["mail"]
    assert (mail["size"], mail["rate"], mail["per"], mail["burst"]) == (3, 7, 7200.0, 5)
    assert (mail["held"], rows["customer:*"]["held"], mail["queue"]) == (0, None, "")
    assert "say --name" in run("quotas", path, "--rate", 3).problem
    assert "say --size" in run("quotas", path, "--name", "mail").problem
    assert "no quota 'post'" in run("quotas", path, "--name", "post", "--size", 3).problem
    assert "no duration" in run("quotas", path, "--name", "mail", "--per", "soon").problem


def test_a_rate_without_its_time(run: Run, path: Path) -> None:
    problem = run("quotas", path, "--name", "mail", "--rate", 5, "--add").problem
    assert "on the command line --per 1m" in problem
    assert run("quotas", path).out == "no queue has a quota\n"


def test_an_outcome_is_no_status(run: Run, path: Path) -> None:
    assert "say --outcome failed" in run("jobs", path, "--status", "failed").problem
    assert "'ready' is not one of pending" in run("jobs", path, "--status", "ready").problem


def test_durations_are_written_alike(run: Run, path: Path) -> None:
    job_id = run("put", path, "sample:nothing", "--in", "5m", "--timeout", "2h").out.strip()
    told = json.loads(run("show", path, job_id, "--json").out)
    assert told["timeout"] == 7200
    assert (
        run("check", path, "--max-age", "1h", "--max-wait", "5m", "--max-late", "90").status == 1
    )
    assert "write it as 90s" in run("check", path, "--max-wait", "soon").problem


def test_a_quota_is_made_and_removed(run: Run, path: Path) -> None:
    limits = ("--rate", 100, "--per", "1m")
    made = run("quotas", path, "--name", "mail", "--add", *limits, "--why", "the new server").out
    assert "100 in 1 min" in made
    assert "already" in run("quotas", path, "--name", "mail", "--add").problem
    assert "say --name" in run("quotas", path, "--add", *limits).problem
    assert "without limits" in run("quotas", path, "--name", "mail", "--remove", *limits).problem
    assert run("quotas", path, "--name", "mail", "--remove").out == "no queue has a quota\n"
    assert "no quota 'mail' (there are: none)" in (
        run("quotas", path, "--name", "mail", "--remove").problem
    )
    deeds = json.loads(run("audit", path, "--json").out)
    assert [(deed["action"], deed["why"]) for deed in deeds] == [
        ("remove quota", None),
        ("create quota", "the new server"),
    ]


# conflicts


def test_conflicts(run: Run, path: Path) -> None:
    assert run("conflicts", path).out == "no job had to be run again for a conflict\n"
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        queues = zodbjobs.get_queues(connection)
        queues.conflicts = Conflicts()
        now = clock.now()
        fight = Fight(1200, 90_000_000, now, now, (("shop.mail:send", 3), ("", 1)))
        queues.conflicts.add({Key("shop:pay", "shop.Cart"): fight}, now)
    shown = run("conflicts", path).out
    assert "shop:pay: 1,200 times, 2 min lost" in shown
    assert "several objects of shop.Cart, with shop.mail:send, somebody" in shown
    assert "give both the same quota" in shown
    (row,) = json.loads(run("conflicts", path, "--json").out)
    assert (row["count"], row["seconds"], row["advice"]) == (1200, 90.0, "together")
    assert row["what_to_do"] in shown


# agents


def test_agents(run: Run, zeo: str) -> None:
    assert run("agents", zeo).out == "no worker is registered\n"
    with opened(zeo) as db, zodbjobs.Worker(db, agents=[zodbjobs.Agent("", 2, sample.is_odd)]):
        (row,) = json.loads(run("agents", zeo, "--json").out)
        assert (row["queues"], row["size"], row["filter"]) == ([""], 2, "sample:is_odd")
        shown = run("agents", zeo).out
        assert row["worker"][:12] in shown
        assert "(default)" in shown
        changed = run("agents", zeo, "--worker", row["worker"][:8], "--queue", "", "--size", 5)
        assert changed.status == 0
        (row,) = json.loads(run("agents", zeo, "--json").out)
        assert row["size"] == 5
        problem = run("agents", zeo, "--worker", "none", "--queue", "", "--size", 5).problem
        assert "0 workers have ids that begin with 'none'" in problem


def test_agents_are_changed_added_and_removed(run: Run, zeo: str) -> None:
    """By a worker that works for all queues, as that of the command line does."""

    def agents(*words: object) -> list[tuple[object, ...]]:
        rows = json.loads(run("agents", zeo, "--json", *words).out)
        return [(row["number"], row["queues"], row["size"], row["filter"]) for row in rows]

    with opened(zeo) as db, zodbjobs.Worker(db, threads=2) as worker:
        me = ("--worker", worker.id[:8])
        odd = ("--filter", "sample:is_odd")
        assert agents(*me, *odd, "--size", 3) == [(1, None, 3, "sample:is_odd")]
        assert agents(*me, "--no-filter") == [(1, None, 3, None)]
        assert agents(*me, "--add", "", "--size", 1, *odd)[1:] == [(2, [""], 1, "sample:is_odd")]
        assert agents(*me, "--add", "")[2:] == [(3, [""], 3, None)]
        assert agents(*me, "--agent", 3, "--size", 4)[2:] == [(3, [""], 4, None)]
        assert agents(*me, "--queue", "", "--size", 2)[1:] == [
            (2, [""], 2, "sample:is_odd"),
            (3, [""], 2, None),
        ]
        job_id = run("put", zeo, "sample:identity", 1).out.strip()
        assert run("watch", zeo, job_id).status == 0
        left = [(1, [""], 2, "sample:is_odd"), (2, [""], 2, None)]
        assert agents(*me, "--agent", 1, "--remove") == left
        problem = run("agents", zeo, *me, "--queue", "", "--remove").problem
        assert "would have no agent left" in problem
        assert agents(*me, "--agent", 2, "--remove") == [(1, [""], 2, "sample:is_odd")]
        even, odd_one = (run("put", zeo, "sample:identity", n).out.strip() for n in (2, 3))
        assert run("watch", zeo, odd_one).status == 0
        listed = run("jobs", zeo, *me, "--agent", 1, "--status", "pending", "--json")
        assert json.loads(listed.out) == []
        assert agents(*me, "--no-filter") == [(1, [""], 2, None)]
        assert run("watch", zeo, even).status == 0
        assert "no agent with the number 9" in run("jobs", zeo, *me, "--agent", 9).problem
        assert len(agents("--worker", worker.id)) == 1
        assert "no worker has an id that begins" in run("agents", zeo, "--worker", "none").problem
    assert "say --worker ID too" in run("jobs", zeo, "--agent", 1).problem


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", "5"], "a change is of one worker; say --worker ID"),
        (["--queue", ""], "choose what is changed; say --size"),
        (["--worker", "x", "--agent", "1"], "choose what is changed; say --size"),
        (["--worker", "x", "--filter", "a:b", "--no-filter"], "contradict each other"),
        (["--worker", "x", "--add", "", "--remove"], "--add QUEUE goes with"),
        (["--worker", "x", "--add", "", "--queue", ""], "--add QUEUE goes with"),
        (["--worker", "x", "--remove", "--size", "5"], "--remove goes with"),
        (["--worker", "x", "--add", "", "--filter", "nothing"], "a filter is a function"),
    ],
)
def test_changes_of_agents_that_contradict_themselves(
    run: Run, path: Path, words: list[str], says: str
) -> None:
    assert says in run("agents", path, *words).problem


# jobs, show, stats


def test_jobs_lists_the_newest_first(run: Run, path: Path, busy: dict[str, str]) -> None:
    listed = json.loads(run("jobs", path, "--json").out)
    assert {job["id"] for job in listed} == set(busy.values())
    assert [job["id"] for job in listed[:2]] == [busy["scheduled"], busy["waiting"]]
    assert json.loads(run("jobs", path, "--json", "--limit", "2").out) == listed[:2]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--status", "completed"], {"added", "failed", "logged", "reported"}),
        (["--status", "pending"], {"scheduled", "waiting"}),
        (["--status", "scheduled"], {"scheduled"}),
        (["--status", "waiting"], {"waiting"}),
        (["--status", "active"], set()),
        (["--outcome", "failed"], {"failed"}),
        (["--outcome", "succeeded", "--callable", "*:log*"], {"logged"}),
        (["--callable", "sample:wait"], {"waiting"}),
        (["--queue", ""], {"added", "failed", "logged", "reported", "scheduled", "waiting"}),
    ],
)
def test_jobs_filters(
    run: Run, path: Path, busy: dict[str, str], options: list[str], names: set[str]
) -> None:
    found = json.loads(run("jobs", path, "--json", *options).out)
    assert {job["id"] for job in found} == {busy[name] for name in names}


@pytest.mark.promise(152, 153)
def test_jobs_of_a_time(run: Run, path: Path, put: Put) -> None:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with moving_clock(start) as clock:
        ids = []
        for _ in range(3):
            ids += put(zodbjobs.Job(sample.nothing))
            work(path)
            clock.advance(3600)

        def listed(*options: str) -> list[str]:
            return [job["id"] for job in json.loads(run("jobs", path, "--json", *options).out)]

        assert listed("--since", "90m") == ids[2:]
        assert listed("--since", "1.5h", "--until", "10s") == ids[2:]
        assert listed("--until", "2026-03-01T13:30+00:00") == ids[1::-1]
        local = (start + timedelta(minutes=30)).astimezone().replace(tzinfo=None)
        assert listed("--since", local.isoformat(), "--until", "2h") == []
        assert listed("--since", local.isoformat()) == ids[:0:-1]
        problem = run("jobs", path, "--since", "1h", "--until", "2h").problem
        assert "isn't before until" in problem
        assert (
            "'soon' is no time; write it as 2026" in run("jobs", path, "--since", "soon").problem
        )
        assert (
            "no worker has one that is parked"
            in run("jobs", path, "--status", "parked", "--worker", "x").problem
        )


def test_jobs_tells_how_far_it_looked(
    run: Run, path: Path, busy: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(insights.list_jobs.__kwdefaults__, "seconds", 0)
    told = run("jobs", path, "--callable", "*:add")
    assert "no others found back to 2" in told.out
    found, words = [], told.out.split()
    while "--until" in words:
        until = words[words.index("--until") + 1]
        told = run("jobs", path, "--callable", "*:add", "--json", "--until", until)
        found += json.loads(told.out)
        words = told.err.split()
    assert [job["id"] for job in found] == [busy["added"]]


def test_jobs_of_a_worker_tells_which_it_cannot_find(
    run: Run, path: Path, busy: dict[str, str]
) -> None:
    says = "jobs that succeeded at their first attempt aren't among these"
    shown = run("show", path, busy["failed"], "--json").out
    worker = json.loads(shown)["worker"]
    told = run("jobs", path, "--worker", worker)
    assert busy["failed"] in told.out
    assert says in told.out
    assert says in run("jobs", path, "--worker", "none").out
    told = run("jobs", path, "--worker", worker, "--json")
    assert [job["id"] for job in json.loads(told.out)] == [busy["failed"]]
    assert says in told.err
    told = run("jobs", path, "--worker", worker, "--outcome", "failed")
    assert says not in told.out


def test_workers(run: Run, zeo: str) -> None:
    assert run("workers", zeo).out == "no worker is registered\n"
    assert run("workers", zeo, "--json").out == "[]\n"
    with opened(zeo) as db, zodbjobs.Worker(db, threads=3) as worker:
        (row,) = json.loads(run("workers", zeo, "--json").out)
        assert (row["id"], row["state"], row["threads"]) == (worker.id, "running", 3)
        assert datetime.fromisoformat(row["last_written"]).tzinfo == UTC
        assert worker.id[:12] in (told := run("workers", zeo).out)
        assert " running " in told


def test_what_is_done_as_json(run: Run, path: Path, busy: dict[str, str]) -> None:
    done = run("cancel", path, busy["waiting"], "99999", "--json")
    assert done.status == 2
    first, second = json.loads(done.out)
    assert (first["id"], first["description"]) == (busy["waiting"], "sample:wait")
    assert "there is no job 99999" in second["refused"]
    for name in ("retry", "forget"):
        (row,) = json.loads(run(name, path, busy["failed"], "--json").out)
        assert row["id"] == busy["failed"]
        work(path)
    told = json.loads(run("pause", path, "--reason", "x", "--match", "a*", "--json").out)
    assert told == {"queue": "", "match": "a*", "state": "paused"}
    assert json.loads(run("resume", path, "--match", "a*", "--json").out)["state"] == "resumed"
    assert json.loads(run("remove", path, busy["scheduled"], "--json").out)[0]["refused"] is None
    assert json.loads(run("drain", path, "--json").out)["state"] == "empty"


def test_who_did_what(run: Run, path: Path, busy: dict[str, str]) -> None:
    assert run("audit", path).out == "nobody has done anything yet\n"
    run("retry", path, busy["failed"], "--why", "the disk was full")
    run("cancel", path, busy["waiting"])
    run("pause", path, "--reason", "a release")
    newest, _, oldest = json.loads(run("audit", path, "--json").out)
    assert (oldest["action"], oldest["job_ids"]) == ("retry", [busy["failed"]])
    assert oldest["why"] == "the disk was full"
    assert "@" in oldest["by"]
    assert newest["why"] == "a release"
    told = run("audit", path, COLUMNS="200").out
    assert f"retry job {busy['failed']}" in told
    assert "pause queue (default)" in told
    assert "the disk was full" in run("show", path, busy["failed"]).out
    assert json.loads(run("audit", path, "--by", "nobody", "--json").out) == []


def test_stats_tells_times(run: Run, path: Path, busy: dict[str, str]) -> None:
    told = " ".join(run("stats", path).out.split())
    assert "(default): oldest is from " in told
    assert "; next due in " in told
    assert "; took " in told
    assert "; last ended " in told
    (queue,) = json.loads(run("stats", path, "--json").out)["queues"]
    assert set(queue["duration"]) == set(queue["waiting_time"]) == {"p50", "p95", "max", "min"}


def test_tables_fit_a_terminal(run: Run, path: Path, busy: dict[str, str]) -> None:
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        zodbjobs.get_queues(connection).create("a queue with a name")
    run("put", path, "sample:nothing", "--queue", "a queue with a name")
    table = run("jobs", path, **TERMINAL).out
    assert max(map(len, table.splitlines())) <= 80
    rows = {line.split()[0]: line for line in table.splitlines()[1:]}
    states = {"failed": "failed", "scheduled": "scheduled", "waiting": "waiting"}
    for name, job_id in busy.items():
        assert rows[job_id].split()[1] == states.get(name, "succeeded")
        assert " sample:" in rows[job_id]
    assert "ValueE" in rows[busy["failed"]]
    stats = run("stats", path, **TERMINAL).out
    assert max(map(len, stats.splitlines())) <= 80
    assert "FINISHED" in stats
    assert "4, 1 failed" in stats


def test_a_job_is_one_line_of_a_pipe(run: Run, path: Path, busy: dict[str, str]) -> None:
    lines = run("jobs", path).out.splitlines()
    assert len(lines) == 1 + len(busy)
    assert "a message that is long a message" in "".join(lines)


def test_jobs_shows_what_waits_for_what(run: Run, path: Path, put: Put) -> None:
    (first,) = put(zodbjobs.Job(sample.nothing))
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        job = zodbjobs.get_queue(connection).put(zodbjobs.Job(sample.add, 1), after=[first])
        last = str(job.id)
    told = run("jobs", path, "--tree", last).out.splitlines()
    assert told[0].split() == [last, "blocked", "sample:add"]
    assert told[1].split() == ["waits", "for", first, "waiting", "sample:nothing"]
    listed = json.loads(run("jobs", path, "--tree", last, "--json").out)
    assert [(row["depth"], row["job"]["id"]) for row in listed] == [(0, last), (1, first)]
    assert json.loads(run("jobs", path, "--status", "blocked", "--json").out)[0]["id"] == last


def test_jobs_tells_of_the_limit(run: Run, path: Path, busy: dict[str, str]) -> None:
    assert "the newest 2; --limit shows more" in run("jobs", path, "--limit", "2").out
    assert "--limit" not in run("jobs", path).out


def test_show_tells_all(run: Run, path: Path, busy: dict[str, str]) -> None:
    failed = run("show", path, busy["failed"])
    assert failed.status == 0
    assert "failed" in failed.out.splitlines()[0]
    assert "KeyError: 'the cause'" in failed.out
    assert "ValueError: a message that is long" in failed.out
    assert "line 2" in run("show", path, busy["logged"]).out
    assert "99 % at 99.4" in run("show", path, busy["reported"]).out
    assert "sample:add(1, 2, more=3)" in run("show", path, busy["added"]).out
    assert "priority  3" in run("show", path, busy["waiting"]).out


def test_show_names_the_files_and_hides_the_secrets(run: Run, path: Path, put: Put) -> None:
    (attached,) = put(zodbjobs.Job(attachment_jobs.attach, "a.csv", b"1,2"))
    (secret,) = put(zodbjobs.Job(sample.fail, "token=abc", zodbjobs.Secret("s3cret")))
    work(path)
    assert "attachments  a.csv (3 bytes)" in run("show", path, attached).out
    for form in ((), ("--json",)):
        out = run("show", path, secret, *form).out
        assert "***" in out
        assert "abc" not in out
        assert "s3cret" not in out


def test_a_title_gives_the_terminal_no_commands(run: Run, path: Path, put: Put) -> None:
    (job_id,) = put(
        zodbjobs.Job(sample.fail, "\x1b]0;failed\x07"),
        title="\x1b[2Ja\ttitle\x9b1m",
        owner="\x1b[1m",
    )
    work(path)
    for words in (("jobs", path), ("show", path, job_id), ("show", path, job_id, "--json")):
        for env in ({}, {**TERMINAL, "TERM": "xterm", "NO_COLOR": ""}):
            out = run(*words, **env).out
            assert "title" in out
            assert not [each for each in ("\x1b[2J", "\x1b]", "\x07", "\x9b") if each in out]


def test_show_as_json(run: Run, path: Path, busy: dict[str, str]) -> None:
    job = shown(run, path, busy["reported"])
    assert job["percent"] == 99.4
    assert job["annotations"]["percent"] == 99.4
    assert datetime.fromisoformat(job["finished"]).tzinfo == UTC
    job = shown(run, path, busy["logged"])
    assert [line.rpartition(": ")[2] for line in job["log"]] == ["line 0", "line 1", "line 2"]
    assert "the cause" in shown(run, path, busy["failed"])["traceback"]


def test_json_has_no_numbers_that_are_none(run: Run, path: Path, put: Put) -> None:
    job = zodbjobs.Job(sample.nothing)
    job.annotations["ratio"] = float("nan")
    (job_id,) = put(job)
    told = json.loads(
        run("show", path, job_id, "--json").out, parse_constant=lambda word: pytest.fail(word)
    )
    assert told["annotations"] == {"ratio": "nan"}


def test_stats_as_json(run: Run, path: Path, busy: dict[str, str]) -> None:
    stats = json.loads(run("stats", path, "--json").out)
    (queue,) = stats["queues"]
    assert (queue["waiting"], queue["scheduled"], queue["finished"]) == (1, 1, 4)
    assert sum(minute["finished"] for minute in queue["chart"]) == 4
    assert sum(minute["failed"] for minute in queue["chart"]) == 1
    assert stats["workers"] == []


def test_a_terminal_without_unicode(run_process: Run, path: Path, busy: dict[str, str]) -> None:
    stats = run_process("stats", path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (stats.status, stats.err) == (0, "")
    assert "most: 4" in stats.out


def test_reading_changes_nothing(run: Run, path: Path, busy: dict[str, str]) -> None:
    before = path.read_bytes()
    for words in (["jobs"], ["stats"], ["show"]):
        ids = [busy["added"]] if words == ["show"] else []
        assert run(*words, path, *ids).status == 0
    assert path.read_bytes() == before


def test_looking_at_a_file_that_is_open(run: Run, path: Path, busy: dict[str, str]) -> None:
    with contextlib.closing(file_storage(path.parent)):
        assert len(json.loads(run("jobs", path, "--read-only", "--json").out)) == len(busy)
        assert "succeeded" in run("show", path, busy["added"], "--read-only").out
        assert "FINISHED" in run("stats", path, "--read-only").out


def test_looking_makes_no_blob_directory(run: Run, path: Path) -> None:
    blobs = Path(f"{path}.blobs")
    shutil.rmtree(blobs)
    assert run("jobs", path, "--read-only").status == 0
    assert not blobs.exists()


# cancel, retry, remove, watch


def test_cancel(run: Run, path: Path, busy: dict[str, str]) -> None:
    done = run("cancel", path, busy["scheduled"], busy["waiting"], busy["scheduled"])
    assert (done.status, done.err) == (0, "")
    assert done.out == (
        f"cancelled: {busy['scheduled']} sample:nothing\n"
        f"cancelled: {busy['waiting']} sample:wait\n"
    )
    assert shown(run, path, busy["scheduled"])["outcome"] == "cancelled"


def test_retry(run: Run, path: Path, busy: dict[str, str]) -> None:
    assert (
        run("retry", path, busy["failed"]).out == f"put in again: {busy['failed']} sample:fail\n"
    )
    assert shown(run, path, busy["failed"])["state"] == "waiting"


def test_retry_of_a_parked_job(
    run: Run, path: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("comes_later.py").write_text("def answer():\n    return 42\n")
    job_id = run("put", path, "comes_later:answer").out.strip()
    hidden = Path("comes_later.py").rename("hidden.py")
    with monkeypatch.context() as patch:
        patch.setattr("zodbjobs.stored.lifecycle.calls._found", {})
        patch.delitem(sys.modules, "comes_later")
        work(path)
        assert "comes_later" in shown(run, path, job_id)["parked"]
        assert "parked" in run("jobs", path, "--status", "parked").out
        hidden.rename("comes_later.py")
        assert run("retry", path, job_id).status == 0
        work(path)
    assert shown(run, path, job_id)["result"] == "42"


def test_remove(run: Run, path: Path, busy: dict[str, str]) -> None:
    done = run("remove", path, busy["waiting"], busy["scheduled"])
    assert done.out == (
        f"removed: {busy['waiting']} sample:wait\nremoved: {busy['scheduled']} sample:nothing\n"
    )
    left = {job["id"] for job in json.loads(run("jobs", path, "--json").out)}
    assert left == set(busy.values()) - {busy["waiting"], busy["scheduled"]}
    assert run("show", path, busy["waiting"]).status == 2


def test_forget(run: Run, path: Path, busy: dict[str, str]) -> None:
    done = run("forget", path, busy["added"], busy["failed"])
    assert (done.status, done.err) == (0, "")
    assert done.out == (
        f"forgotten: {busy['added']} sample:add\nforgotten: {busy['failed']} sample:fail\n"
    )
    left = {job["id"] for job in json.loads(run("jobs", path, "--json").out)}
    assert left == set(busy.values()) - {busy["added"], busy["failed"]}


def test_remove_takes_a_job_out_of_the_container(run: Run, path: Path) -> None:
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        site = connection.root()["site"] = sample.Account()
        connection.add(site)
        job_id = zodbjobs.JobManager().put(zodbjobs.Job(sample.nothing), site)
    assert run("remove", path, job_id).status == 0
    with contextlib.closing(file_storage(path.parent)) as db, db.transaction() as connection:
        assert list(zodbjobs.JobManager().jobs(connection.root()["site"])) == []


def test_watch_of_a_job_that_has_ended(run: Run, path: Path, busy: dict[str, str]) -> None:
    added = run("watch", path, busy["added"])
    assert added.status == 0
    assert added.err == f"{busy['added']} sample:add succeeded\n"
    assert "result  6" in added.out
    failed = run("watch", path, busy["failed"], "--json")
    assert failed.status == 1
    assert json.loads(failed.out)["outcome"] == "failed"


def test_watch_draws_a_bar(run: Run, path: Path, busy: dict[str, str]) -> None:
    drawn = run("watch", path, busy["reported"], **{**TERMINAL, "TERM": "xterm"})
    assert "99 % at 99.4" in drawn.err
    assert "━" in drawn.err


# help


def test_help_names_each_command(run: Run) -> None:
    told = run("--help").out
    names = [line.split()[0] for line in told.partition("Commands:")[2].splitlines() if line]
    assert names == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command(run: Run, name: str) -> None:
    told = run(name, "-h")
    assert told.status == 0
    assert told.out.startswith(f"Usage: zodbjobs {name} ")
    assert max(map(len, told.out.splitlines())) <= 80


def test_version(run: Run) -> None:
    assert run("--version").out == f"zodbjobs {zodbjobs.__version__}\n"


def test_whose_job_it_is(run: Run, path: Path, put: Put) -> None:
    words = ("--owner", "bob", "--title", "The export of March", "--realm", "/one")
    (other,) = put(zodbjobs.Job(sample.note, "april"), owner="ann")
    # The newest: however slow the machine is, it is looked at.
    job_id = run("put", path, "sample:note", "march", *words).out.strip()
    told = shown(run, path, job_id)
    assert (told["owner"], told["title"], told["realm"]) == ("bob", words[3], "/one")
    for option, value in (("owner", "bob"), ("realm", "/one"), ("text", "MARCH")):
        (row,) = json.loads(run("jobs", path, f"--{option}", value, "--json").out)
        assert row["id"] == job_id
    assert json.loads(run("jobs", path, "--about", "unnamed/1", "--json").out) == []
    table = run("jobs", path).out
    assert "OWNER" in table
    assert "ann" in table
    assert "The export of March" in table
    assert other in table
    text = run("show", path, job_id).out
    assert "owner  bob" in text
    assert "realm  /one" in text
    assert "names no object" in run("jobs", path, "--about", "somewhere").err
