"""Jobs in a Pyramid application: its transaction, its users, its addresses, its pages."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyramid_app
import pytest
import sample
import transaction
import webtest
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid.request import Request
from pyramid.scripting import prepare
from pyramid.threadlocal import get_current_request, manager
from pyramid_zodbconn import get_connection
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import context, insights
from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import PENDING
from zodbjobs.pyramid import applications, run_context
from zodbjobs.testing import run_jobs
from zodbjobs.web import responses

PATH_OF_PAGE = "/jobs/jobs/{}"


@pytest.fixture(autouse=True)
def _users(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All users are there; no other test remembers Pyramid's requests."""
    monkeypatch.setattr(pyramid_app, "USERS", {*pyramid_app.USERS})
    yield
    context.unregister("pyramid")


class Browser:
    """Asks an application, as one of its users."""

    def __init__(self, app: Any) -> None:
        self.app = webtest.TestApp(app, extra_environ={"REMOTE_ADDR": "127.0.0.1"}, lint=False)

    def as_user(self, who: str | None) -> Browser:
        self.app.reset()
        if who is not None:
            self.app.get("/login", {"who": who})
        return self

    def get(self, path: str, method: str = "GET", **said: str) -> Any:
        return self.app.request(path, method=method, headers=_headers(said), expect_errors=True)

    def post(self, path: str, form: dict[str, str] | None = None, **said: str) -> Any:
        return self.app.post(path, form or {}, headers=_headers(said), expect_errors=True)

    def token(self, path: str) -> str:
        found = re.search(r'name="token" value="(\w+)"', self.get(path).text)
        assert found
        return found[1]


def _headers(said: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in said.items()}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes the application, on a file with an account, an office and queues in it."""
    made = []

    def make(**settings: str) -> Any:
        uri = f"file://{tmp_path}/Data.fs?blobstorage_dir={tmp_path}/blobs"
        app = pyramid_app.make_app(**{"zodbconn.uri": uri, **settings})
        made.append(app)
        with database_of(app).transaction() as connection:
            connection.root()["account"] = sample.Account()
            connection.root()["office"] = pyramid_app.Office()
        return app

    yield make
    for app in made:
        for db in app.registry._zodb_databases.values():
            db.close()


def database_of(app: Any) -> Any:
    return app.registry._zodb_databases[""]


@pytest.fixture
def app(make: Callable[..., Any]) -> Any:
    return make()


@pytest.fixture
def db(app: Any) -> Any:
    return database_of(app)


@pytest.fixture
def browser(app: Any) -> Browser:
    return Browser(app).as_user("ada")


def balance(db: Any) -> int:
    with db.transaction() as connection:
        return int(connection.root()["account"].balance)


def waiting(db: Any) -> int:
    with db.transaction() as connection:
        return len(zodbjobs.get_queue(connection))


def details(db: Any, job_id: str) -> dict[str, Any]:
    with db.transaction() as connection:
        job = insights.find_job(connection, job_id)
        assert job is not None
        return {
            "status": job.status,
            "outcome": job.outcome,
            "result": job.result,
            "owner": job.owner,
            "context": dict(job.context),
            "reason": job.parked,
            "error": repr(job.failure),
        }


def in_request(app: Any, act: Callable[[Any], Any]) -> Any:
    """What `act` returns, in a request that is committed."""
    with prepare(registry=app.registry) as env:
        request = env["request"]
        with transaction.manager:
            return act(request)


# Put


@pytest.mark.parametrize("hook", ["", "pyramid_tm.explicit_manager"])
def test_a_job_is_put_with_the_request(make: Callable[..., Any], hook: str) -> None:
    app = make(**({"tm.manager_hook": hook} if hook else {}))
    db = database_of(app)
    answer = Browser(app).as_user("ada").post("/put")
    assert answer.status_int == 202
    assert answer.headers["Location"].endswith(f"{PATH_OF_PAGE.format(answer.json['id'])}.json")
    assert answer.content_type == "application/json"
    assert balance(db) == 1
    assert details(db, answer.json["id"])["owner"] == "ada"
    assert run_jobs(db) == 1
    assert details(db, answer.json["id"])["outcome"] == "succeeded"


@pytest.mark.parametrize("then", ["raise", "answer"])
def test_a_request_that_fails_has_put_nothing(browser: Browser, db: Any, then: str) -> None:
    with pytest.raises(RuntimeError) if then == "raise" else contextlib.nullcontext():
        assert browser.post("/put", {"then": then}).status_int == 500
    assert (balance(db), waiting(db)) == (0, 0)


def test_what_is_not_committed_is_not_accepted(
    browser: Browser, db: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = browser.post("/put", {"then": "doom"})
    assert answer.status_int == 500
    assert "Location" not in answer.headers
    assert "Retry-After" not in answer.headers
    assert "not accepted" in answer.json["error"]
    assert (balance(db), waiting(db)) == (0, 0)
    assert "doomed" in caplog.text


def test_a_vetoed_request_is_not_accepted(make: Callable[..., Any]) -> None:
    app = make(**{"tm.commit_veto": "pyramid_app.veto"})
    assert Browser(app).as_user("ada").post("/put").status_int == 500
    assert waiting(database_of(app)) == 0


def test_nothing_is_accepted_where_nobody_commits(make: Callable[..., Any]) -> None:
    browser = Browser(make(**{"tm.activate_hook": "pyramid_app.never"})).as_user("ada")
    with pytest.raises(BadArgument, match=r"pyramid_tm doesn't commit /put"):
        browser.post("/put")
    with pytest.raises(ConfigurationError, match=r"pyramid_tm doesn't commit /jobs"):
        browser.get("/jobs/mine")


def test_a_request_that_conflicts_puts_one_job(
    browser: Browser, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyramid_app, "conflicts", [2])
    answer = browser.post("/put", {"then": "conflict"})
    assert answer.status_int == 202
    assert pyramid_app.conflicts == [0]
    assert (balance(db), waiting(db)) == (1, 1)
    assert run_jobs(db) == 1


def test_a_conflict_at_the_commit_puts_one_job(
    browser: Browser, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process writes the account between the put and the commit."""
    writes = [1]

    def write(request: Any) -> None:
        if writes[0]:
            writes[0] -= 1
            own = transaction.TransactionManager()
            connection = db.open(own)
            connection.root()["account"].balance += 10
            own.commit()
            connection.close()

    monkeypatch.setattr(pyramid_app, "before_commit", write)
    assert browser.post("/put").status_int == 202
    assert (balance(db), waiting(db)) == (11, 1)


def test_what_put_takes(app: Any, db: Any) -> None:
    def put(request: Any) -> Any:
        office = get_connection(request).root()["office"]
        jobs = request.jobs
        first = jobs.put(pyramid_app.note, more=1, unique="one", title="First", about=office)
        assert jobs.put(pyramid_app.note, unique="one") is first
        assert (first.title, first.about, first.owner) == ("First", office, None)
        assert jobs.put(pyramid_app.note, owner="bob", realm="/x").owner == "bob"
        mine = zodbjobs.Job(pyramid_app.deposit, 1)
        mine.owner = "head"
        assert jobs.put(mine) is mine
        assert mine.owner == "head"
        with pytest.raises(BadArgument, match="has its arguments already"):
            jobs.put(zodbjobs.Job(pyramid_app.deposit), 1)
        with pytest.raises(zodbjobs.errors.UnknownQueue):
            jobs.put(pyramid_app.note, queue="elsewhere")
        with pytest.raises(BadArgument, match="pyramid_tm doesn't commit /"):
            jobs.accepted(first)
        return zodbjobs.get_job_id(first)

    found = in_request(app, put)
    run_jobs(db)
    assert details(db, found)["result"]["more"] == 1


def test_a_user_finds_their_own_jobs(browser: Browser) -> None:
    mine = browser.post("/put").json["id"]
    browser.as_user("bob")
    theirs = browser.post("/put").json["id"]
    asked = f"/own?id={mine}&id={theirs}&id=1"
    titles = {mine: None, theirs: "A note", "1": None}
    assert browser.get(asked).json == {"own": [theirs], "titles": titles}
    titles = dict.fromkeys(titles)
    assert browser.as_user(None).get(asked).json == {"own": [], "titles": titles}


# Configuration


def bare_app(*includes: str, **settings: str) -> Any:
    with Configurator(settings=settings) as config:
        for name in ("zodbjobs.pyramid", *includes):
            config.include(name)
    return config.make_wsgi_app()


@pytest.mark.parametrize(
    ("includes", "settings", "problem"),
    [
        (["pyramid_tm"], {}, "include pyramid_zodbconn, and set zodbconn.uri\n"),
        (["pyramid_tm", "pyramid_zodbconn"], {}, "set zodbconn.uri\n"),
        (["pyramid_zodbconn"], {"zodbconn.uri": "memory://"}, "include pyramid_tm as well"),
    ],
)
def test_what_is_missing_is_said_at_the_start(
    includes: list[str], settings: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        bare_app(*includes, **settings)


def test_queues_in_a_database_of_their_own(make: Callable[..., Any]) -> None:
    """The worker is that of the primary one; its jobs have both."""
    app = make(**{"zodbconn.uri.async": "memory://"})
    db = database_of(app)
    job_id = Browser(app).as_user("ada").post("/put").json["id"]
    with db.transaction() as connection:
        job = insights.find_job(connection, job_id)
        assert job is not None
        assert job._p_jar.db() is app.registry._zodb_databases["async"]
        assert job.about is connection.root()["office"]
    run_jobs(db)
    assert details(db, job_id)["outcome"] == "succeeded"


# The run context


def test_a_job_has_a_request_like_the_one_that_put_it(browser: Browser, db: Any) -> None:
    answer = browser.app.post(
        "/put",
        {"then": "nothing", "_LOCALE_": "de"},
        extra_environ={"SCRIPT_NAME": "/shop", "wsgi.url_scheme": "https"},
        headers={"X-Vhm-Root": "/", "Authorization": "Basic c2VjcmV0"},
    )
    kept = details(db, answer.json["id"])["context"]["pyramid"]
    assert kept == {
        "application": "",
        "address": (
            ("wsgi.url_scheme", "https"),
            ("HTTP_HOST", "localhost:80"),
            ("SCRIPT_NAME", "/shop"),
            ("HTTP_X_VHM_ROOT", "/"),
        ),
        "locale": "de",
        "userid": "ada",
    }
    assert get_current_request() is None
    run_jobs(db)
    assert get_current_request() is None
    told = details(db, answer.json["id"])["result"]
    assert told == {
        "home": "https://localhost:80/shop/",
        "path": "/shop/",
        "user": "ada",
        "manages": False,
        "locale": "de",
        "cookies": ["auth_tkt"],
        "body": "",
    }


def test_the_user_of_a_job_has_the_permissions_of_today(browser: Browser, db: Any) -> None:
    job_id = browser.as_user("head").post("/put").json["id"]
    run_jobs(db)
    assert details(db, job_id)["result"]["manages"] is True


def test_a_job_that_nobody_put_runs_as_nobody(browser: Browser, db: Any) -> None:
    job_id = browser.as_user(None).post("/put").json["id"]
    run_jobs(db)
    found = details(db, job_id)["result"]
    assert (found["user"], found["cookies"]) == (None, [])


def test_a_user_who_is_gone_ends_the_job(browser: Browser, db: Any) -> None:
    job_id = browser.post("/put").json["id"]
    pyramid_app.USERS.remove("ada")
    assert run_jobs(db) == 1
    found = details(db, job_id)
    assert found["outcome"] == "failed"
    assert "UserGone" in found["error"]
    assert "set_jobs_login" in found["error"]


def test_a_policy_that_goes_by_the_session(make: Callable[..., Any]) -> None:
    app = make(**{"test.session": "yes"})
    db = database_of(app)
    job_id = Browser(app).as_user("head").post("/put").json["id"]
    run_jobs(db)
    told = details(db, job_id)["result"]
    assert (told["user"], told["manages"], told["cookies"]) == ("head", True, [])


def test_an_application_says_how_to_log_in(make: Callable[..., Any]) -> None:
    app = make(**{"test.headers": "yes", "test.login": "yes"})
    db = database_of(app)
    with prepare(registry=app.registry) as env:
        env["request"].headers["X-User"] = "ada"
        with transaction.manager:
            job_id = zodbjobs.get_job_id(env["request"].jobs.put(pyramid_app.note))
    run_jobs(db)
    assert details(db, job_id)["result"]["user"] == "ada"


@pytest.mark.parametrize("settings", [{}, {"test.session": "yes"}])
def test_a_job_runs_as_somebody_else(make: Callable[..., Any], settings: Any) -> None:
    """However the policy knows its users. The job is of who has put it."""
    app = make(**settings)
    db = database_of(app)
    job_id = Browser(app).as_user("ada").post("/put", {"run_as": "head"}).json["id"]
    run_jobs(db)
    found = details(db, job_id)
    assert (found["owner"], found["context"]["pyramid"]["userid"]) == ("ada", "head")
    assert (found["result"]["user"], found["result"]["manages"]) == ("head", True)


def test_a_job_runs_as_a_user_whom_the_application_logs_in(make: Callable[..., Any]) -> None:
    app = make(**{"test.headers": "yes", "test.login": "yes"})
    job_id = in_request(app, lambda request: request.jobs.put(pyramid_app.note, run_as="bob").id)
    run_jobs(database_of(app))
    assert details(database_of(app), job_id)["result"]["user"] == "bob"


@pytest.mark.parametrize("settings", [{}, {"test.headers": "yes"}])
def test_nobody_runs_as_who_is_not_known(make: Callable[..., Any], settings: Any) -> None:
    """There is no such user, or the policy can't be told of one in a worker."""
    app = make(**settings)

    def put(request: Any) -> None:
        before = get_current_request()
        who = "head" if settings else "hacker"
        with pytest.raises(BadArgument, match=rf"can't run as '{who}'.*set_jobs_login"):
            request.jobs.put(pyramid_app.note, run_as=who)
        assert get_current_request() is before
        assert len(request.jobs.get_queue()) == 0
        assert request.jobs.put(pyramid_app.note).context["pyramid"]["userid"] is None

    in_request(app, put)


@pytest.mark.parametrize("current", [None, Request.blank("/other")])
def test_a_job_has_the_request_by_which_it_was_put(app: Any, db: Any, current: Any) -> None:
    """Also where another one is current, or none, as in a thread of a script."""
    with prepare(registry=app.registry) as env:
        request = env["request"]
        request.environ["HTTP_HOST"] = "example.org"
        manager.push({"registry": app.registry, "request": current})
        with transaction.manager:
            job_id = request.jobs.put(pyramid_app.note).id
        manager.pop()
    run_jobs(db)
    assert details(db, job_id)["result"]["home"] == "http://example.org/"


def test_what_is_to_be_done_at_the_end_of_a_request_is_done_at_that_of_a_job(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each attempt, and also if its root can't be made. What fails there harms no job."""
    app = make(**{"test.finished": "yes"})
    db = database_of(app)
    pyramid_app.finished.clear()

    def put(request: Any) -> list[Any]:
        return [request.jobs.put(job).id for job in (pyramid_app.note, pyramid_app.finish_badly)]

    ids = in_request(app, put)
    pyramid_app.finished.clear()
    run_jobs(db)
    assert len(pyramid_app.finished) == 2
    assert [details(db, each)["outcome"] for each in ids] == ["succeeded", "succeeded"]
    ids = in_request(app, put)
    pyramid_app.finished.clear()
    monkeypatch.setattr(pyramid_app.Root, "__init__", sample.fail)
    run_jobs(db)
    assert len(pyramid_app.finished) == 2
    assert [details(db, each)["outcome"] for each in ids] == ["failed", "failed"]
    assert get_current_request() is None


def test_what_is_tried_for_another_user_ends_with_the_request(make: Callable[..., Any]) -> None:
    app = make(**{"test.finished": "yes"})

    def put(request: Any) -> None:
        pyramid_app.finished.clear()
        request.jobs.put(pyramid_app.note, run_as="bob")
        assert pyramid_app.finished == []

    in_request(app, put)
    assert len(pyramid_app.finished) == 2
    assert len(set(map(id, pyramid_app.finished))) == 2


def test_a_script_with_an_explicit_manager(make: Callable[..., Any]) -> None:
    """pyramid_tm doesn't begin there, and says so; who begins commits."""
    app = make(**{"tm.manager_hook": "pyramid_tm.explicit_manager"})
    with prepare(registry=app.registry) as env:
        request = env["request"]
        with request.tm:
            job_id = request.jobs.put(pyramid_app.note).id
    assert waiting(database_of(app)) == 1
    run_jobs(database_of(app))
    assert details(database_of(app), job_id)["outcome"] == "succeeded"


def test_a_job_has_all_databases_of_the_application(make: Callable[..., Any]) -> None:
    app = make(**{"zodbconn.uri.async": "memory://", "zodbconn.uri.more": "memory://"})
    db = database_of(app)
    job_id = in_request(app, lambda request: request.jobs.put(pyramid_app.write_to_more).id)
    run_jobs(db)
    assert details(db, job_id)["outcome"] == "succeeded"
    with db.transaction() as connection:
        assert connection.get_connection("more").root()["written"] == job_id


def test_the_request_is_in_the_transaction_of_the_job(app: Any, db: Any) -> None:
    def put(request: Any) -> list[str]:
        jobs = (pyramid_app.is_of_the_job, pyramid_app.put_another)
        return [zodbjobs.get_job_id(request.jobs.put(job)) for job in jobs]

    asked, putting = in_request(app, put)
    assert run_jobs(db) == 3
    assert details(db, asked)["result"] is True
    inner = details(db, details(db, putting)["result"])
    assert inner["outcome"] == "succeeded"


def test_a_job_is_run_again_after_a_conflict_and_pays_once(app: Any, db: Any) -> None:
    job_id = in_request(
        app, lambda request: zodbjobs.get_job_id(request.jobs.put(pyramid_app.deposit, 5))
    )
    with zodbjobs.testing.conflict_once():
        run_jobs(db)
    assert balance(db) == 5
    assert details(db, job_id)["result"] == 5


def test_a_root_that_cannot_be_made_leaves_no_request_behind(
    browser: Browser, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = browser.post("/put").json["id"]
    monkeypatch.setattr(pyramid_app.Root, "__init__", sample.fail)
    run_jobs(db)
    assert details(db, job_id)["outcome"] == "failed"
    assert get_current_request() is None


def test_without_the_application_a_job_is_parked(
    browser: Browser, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a worker that has loaded nothing, and in one of another application."""
    first = browser.post("/put").json["id"]
    context.unregister("pyramid")
    run_jobs(db)
    run_context.register()
    second = browser.post("/put").json["id"]
    monkeypatch.setattr(applications, "_known", ())
    run_jobs(db)
    for job_id in (first, second):
        found = details(db, job_id)
        assert found["status"] == PENDING
        assert "a worker started with --paste" in found["reason"]


def test_of_two_applications_each_runs_its_own_jobs(make: Callable[..., Any]) -> None:
    """Of the same database: by their names. Of others: by these."""
    one = make(**{"zodbjobs.application": "one"})
    two = pyramid_app.make_app(**{"zodbconn.uri": "memory://"})
    three = pyramid_app.make_app(**{"zodbconn.uri": "memory://"})
    assert applications.find("one", database_of(two)) is one.registry
    assert applications.find("", database_of(two)) is two.registry
    assert applications.find("", database_of(three)) is three.registry
    assert applications.find("", database_of(one)) is three.registry
    assert applications.find("four", database_of(one)) is None


# The pages


def test_who_is_not_logged_in_is_sent_to_do_so(browser: Browser) -> None:
    job_id = browser.post("/put").json["id"]
    browser.as_user(None)
    for path in ("/jobs", "/jobs/mine", PATH_OF_PAGE.format(job_id), "/jobs/nothing"):
        answer = browser.get(path)
        assert answer.status_int == 302
        assert "/login?came_from=" in answer.headers["Location"]
    assert browser.post(f"{PATH_OF_PAGE.format(job_id)}/cancel").status_int == 302


def test_who_sees_a_job(browser: Browser) -> None:
    page = PATH_OF_PAGE.format(browser.post("/put").json["id"])
    seen = {}
    for who in ("ada", "bob", "head", "viewer"):
        browser.as_user(who)
        paths = (page, f"{page}.json", "/jobs/queues", f"{page}/cancel", f"{page}/remove")
        seen[who] = [browser.get(path).status_int for path in paths]
    assert seen == {
        "ada": [200, 202, 404, 200, 404],
        "bob": [404, 404, 404, 404, 404],
        "head": [200, 202, 200, 200, 200],
        "viewer": [200, 202, 404, 404, 404],
    }


def test_a_post_is_meant_and_committed(browser: Browser, db: Any) -> None:
    job_id = browser.post("/put").json["id"]
    page = PATH_OF_PAGE.format(job_id)
    token = browser.token(f"{page}/cancel")
    assert browser.post(f"{page}/cancel").status_int == 403
    assert browser.post(f"{page}/cancel", {"token": token}, Origin="http://evil").status_int == 403
    browser.as_user("bob")
    assert browser.post(f"{page}/cancel", {"token": token}).status_int == 404
    assert details(db, job_id)["status"] == PENDING
    browser.as_user("ada")
    assert browser.post(f"{page}/cancel", {"token": token}).status_int in (302, 303)
    assert details(db, job_id)["outcome"] == "cancelled"


def test_what_is_answered_with_an_error_is_not_committed(
    browser: Browser, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PATH_OF_PAGE.format(browser.post("/put").json["id"])
    token = browser.token(f"{page}/cancel")
    refused = responses.data("text/plain", body=b"no")
    refused.status = 409
    monkeypatch.setattr(responses, "see_other", lambda path: refused)
    assert browser.post(f"{page}/cancel", {"token": token}).status_int == 409
    assert waiting(db) == 1


@pytest.mark.parametrize("when", ["at the deed", "at the commit"])
def test_a_post_that_conflicts_is_made_again(
    browser: Browser, db: Any, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """By pyramid_retry, with the form that was sent; the job is cancelled once."""
    job_id = browser.post("/put").json["id"]
    page = PATH_OF_PAGE.format(job_id)
    token = browser.token(f"{page}/cancel")
    left, see_other = [2], responses.see_other

    def conflict() -> None:
        if left[0]:
            left[0] -= 1
            raise ConflictError

    def answer(path: str) -> Any:
        if when == "at the deed":
            conflict()
        else:
            transaction.get().addBeforeCommitHook(conflict)
        return see_other(path)

    monkeypatch.setattr(responses, "see_other", answer)
    assert browser.post(f"{page}/cancel", {"token": token}).status_int in (302, 303)
    assert left == [0]
    assert details(db, job_id)["outcome"] == "cancelled"
    with db.transaction() as connection:
        assert len(insights.list_audit(connection)) == 1


def test_the_csrf_check_of_the_application_is_not_asked(make: Callable[..., Any]) -> None:
    browser = Browser(make(**{"test.csrf": "yes"})).as_user("ada")
    assert browser.post("/put").status_int == 400
    assert browser.post("/jobs/jobs/1/cancel").status_int == 404


@pytest.mark.parametrize("path", ["/jobs", "/jobs/", "/jobs/mine"])
def test_links_go_below_the_prefix(browser: Browser, path: str) -> None:
    answer = browser.app.get(path, extra_environ={"SCRIPT_NAME": "/shop"})
    while answer.status_int in (302, 303):
        answer = browser.app.get(
            answer.headers["Location"].split("localhost:80")[-1].removeprefix("/shop"),
            extra_environ={"SCRIPT_NAME": "/shop"},
        )
    assert 'href="/shop/jobs/mine"' in answer.text
    assert 'href="/jobs' not in answer.text


def test_a_path_that_begins_alike_is_none_of_the_pages(browser: Browser) -> None:
    answer = browser.get("/jobsite")
    assert answer.status_int == 404
    assert "There is nothing here" not in answer.text
    for path in ("/jobs/%0a", "/jobs//evil.example", "/jobs/..%2f"):
        assert browser.get(path).status_int == 404


def test_head_has_the_headers_alone(browser: Browser) -> None:
    answer = browser.get("/jobs/mine", "HEAD")
    assert (answer.status_int, answer.body) == (200, b"")
    assert answer.headers["Content-Type"].startswith("text/html")


def test_pages_at_the_root_and_below_a_part_that_varies(make: Callable[..., Any]) -> None:
    app = make(**{"test.prefix": "/{site}/jobs"})
    browser = Browser(app).as_user("ada")
    assert 'href="/a%20b/jobs/mine"' in browser.get("/a%20b/jobs/mine").text
    with pytest.raises(BadArgument, match="give `mount`"):
        browser.post("/put")


def test_pages_that_are_included_below_a_prefix(make: Callable[..., Any]) -> None:
    """With rights, links, posts and accepted() there; those of the second pages are theirs."""
    browser = Browser(make(**{"test.prefix": "/jobs", "test.below": "/admin"})).as_user("ada")
    told = browser.post("/put")
    job_id = told.json["id"]
    assert told.headers["Location"].endswith(f"/admin/jobs/jobs/{job_id}.json")
    page = f"/admin/jobs/jobs/{job_id}"
    token = browser.token(f"{page}/cancel")
    assert 'href="/admin/jobs/mine"' in browser.get("/admin/jobs/mine").text
    assert browser.as_user("bob").post(f"{page}/cancel", {"token": token}).status_int == 404
    assert browser.as_user(None).get(page).status_int == 302
    assert browser.as_user("head").get("/admin/jobs/queues").status_int == 200
    browser.as_user("ada")
    assert browser.get("/jobs/mine").status_int == 404
    answer = browser.post(f"{page}/cancel", {"token": browser.token(f"{page}/cancel")})
    assert f"localhost{page}" in answer.headers["Location"].replace(":80", "")


def test_a_layout_and_a_way_out_of_the_application(make: Callable[..., Any]) -> None:
    browser = Browser(make(**{"test.layout": "yes"})).as_user("ada")
    answer = browser.get("/jobs/mine")
    assert answer.text.startswith("<html><!-- ada -->")
    assert "My jobs" in answer.text
