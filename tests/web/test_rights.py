"""Who may what: each URL and verb, as each kind of person."""

from __future__ import annotations

from typing import Any

import attachment_jobs
import pytest
import sample
import transaction
from web_site import PEOPLE, Site, same, ways
from ZODB.utils import u64

import zodbjobs
from zodbjobs.errors import BadArgument
from zodbjobs.web import ACTIONS, Rights, may
from zodbjobs.web.pages import ROUTES
from zodbjobs.web.rights import JOB_ACTIONS, OWNER_ACTIONS
from zodbjobs.web.routing import Needs, Route

Put = Any

# What each may do to a job of Ada's about the account in the realm "/here".
MAY = {
    "ada": OWNER_ACTIONS,
    "bob": frozenset(),
    "viewer": {"view"},
    "keeper": OWNER_ACTIONS,
    "onlooker": {"view"},
    "manager": JOB_ACTIONS,
    "manager-here": JOB_ACTIONS,
    "manager-there": frozenset(),
}

# The action that each URL below a job takes.
TAKES = {
    "": "view",
    ".json": "view",
    "/result": "download",
    "/files/data.csv": "download",
    "/cancel": "cancel",
    "/discard": "discard",
    "/retry": "retry",
    "/remove": "remove",
    "/again": "put_again",
}

POSTS = ("/cancel", "/discard", "/retry", "/remove", "/again")


@pytest.fixture
def job_id(put: Put) -> str:
    """A job that has ended, with a file."""
    job_id: str = put(attachment_jobs.attach, "data.csv", b"a,b", run=True)
    return job_id


def test_the_table_of_people_is_whole() -> None:
    assert set(MAY) == set(PEOPLE)


@pytest.mark.parametrize("who", PEOPLE)
def test_each_action(site: Site, put: Put, queue: Any, who: str) -> None:
    put()
    (job,) = queue
    said = dict(PEOPLE[who])
    permission = said.pop("permission", None)
    rights = Rights(who, allows=lambda wanted, obj: wanted == permission, **said)
    assert {action for action in JOB_ACTIONS if may(rights, action, job)} == MAY[who]


@pytest.mark.parametrize("who", PEOPLE)
def test_each_way(site: Site, job_id: str, who: str) -> None:
    for method, path in ways(job_id):
        tail = path.removeprefix(f"/jobs/{job_id}")
        is_there = method != "POST" or tail in POSTS
        is_open = is_there and TAKES.get(tail) in MAY[who]
        got = site.request(method, path, who)
        assert (got.status_int != 404) == is_open, (method, path)
        assert got.status_int in (200, 303, 404)


@pytest.mark.parametrize("who", PEOPLE)
def test_the_unknown_and_the_forbidden_look_the_same(site: Site, job_id: str, who: str) -> None:
    for (method, path), (_, unknown) in zip(ways(job_id), ways("999999"), strict=True):
        got, other = (site.request(method, each, who) for each in (path, unknown))
        assert other.status_int == 404
        if got.status_int == 404:
            assert same(got, other), (method, path)
            assert same(got, site.request(method, "/nowhere/at/all", who))


def test_a_post_without_the_right_doesn_t_tell_of_the_token(site: Site, job_id: str) -> None:
    got = site.post(f"/jobs/{job_id}/discard", "bob", token="forged")
    assert got.status_int == 404
    assert same(got, site.post("/jobs/999999/discard", "bob", token="forged"))


def test_nobody_is_sent_to_log_in_from_everywhere(site: Site, job_id: str) -> None:
    for place in (job_id, "999999"):
        for method, path in ways(place):
            assert site.request(method, path, None).headers["Location"].endswith("/login")
    for path in ("/", "/mine", "/static/live.js", "/nowhere", "/about/unnamed/1"):
        assert site.get(path, None).status_int == 302


def test_a_get_writes_nothing(site: Site, job_id: str, put: Put) -> None:
    waiting = put()
    before = site.db.storage.lastTransaction()
    paths = ["/", "/mine", "/mine?before=25-1", site.about, "/static/style.css", "/nowhere"]
    for who in (None, *PEOPLE):
        for method, path in [*ways(job_id), *ways(waiting), *(("GET", path) for path in paths)]:
            if method != "POST":
                site.request(method, path, who)
    assert site.db.storage.lastTransaction() == before


def test_no_list_shows_what_one_may_not_view(site: Site, put: Put) -> None:
    mine, others = put(), put(owner="bob", title="Bob's")
    assert site.links("/mine", "ada") == {mine}
    assert site.links("/", "ada") == {mine}
    assert site.links("/mine", "bob") == {others}
    assert site.links("/mine", "viewer") == set()
    assert site.links(site.about, "viewer") == {mine, others}
    assert site.links(site.about, "keeper") == {mine, others}
    assert site.links(site.about, "ada") == {mine}
    assert site.links(site.about, "manager-here") == {mine, others}
    assert site.get(site.about, "manager-there").status_int == 404


def test_an_object_that_one_may_see_nothing_of(site: Site, put: Put) -> None:
    put(owner="bob")
    put(owner="bob", about=None)
    unknown = site.get(f"/about/{site.db.database_name}/888888", "ada")
    assert unknown.status_int == 404
    for path in (site.about, "/about/elsewhere/1", f"/about/{site.db.database_name}/0"):
        assert same(site.get(path, "ada"), unknown)


def test_only_the_two_permissions_are_asked_for(site: Site, put: Put) -> None:
    """To be allowed to view the object gives nothing, for nobody asks whether one is."""
    job_id = put()
    for method, path in ways(job_id):
        site.request(method, path, "bob")
    assert {wanted for wanted, _ in site.asked} == {"view", "manage"}
    assert {u64(obj._p_oid) for _, obj in site.asked} == {u64(site.account._p_oid)}


def test_the_object_is_gone(site: Site, put: Put, connection: Any) -> None:
    job_id = put()
    del connection.root()["account"]
    transaction.commit()
    site.db.pack()
    site.db.cacheMinimize()
    assert site.get(f"/jobs/{job_id}", "ada").status_int == 200
    assert site.get(f"/jobs/{job_id}", "manager").status_int == 200
    assert site.get(f"/jobs/{job_id}", "keeper").status_int == 404
    assert site.get(site.about, "viewer").status_int == 404


def test_a_job_without_owner_is_nobody_s(site: Site, put: Put) -> None:
    job_id = put(owner=None, about=None)
    for who in ("ada", "viewer", "keeper"):
        assert site.get(f"/jobs/{job_id}", who).status_int == 404


def test_a_realm_hides_even_one_s_own(site: Site, put: Put) -> None:
    """Two sites may know different people by one name."""
    elsewhere, nowhere = put(owner="manager-here", realm="/there"), put(realm=None)
    for job_id in (elsewhere, nowhere):
        assert site.get(f"/jobs/{job_id}", "manager-here").status_int == 404
    assert site.links("/mine", "manager-here") == set()


def test_what_is_no_job_is_for_those_of_all_realms(site: Site) -> None:
    for action in ACTIONS:
        assert may(Rights("m", overall=ACTIONS), action)
        assert not may(Rights("m", overall=ACTIONS, realm="/here"), action)
        assert not may(Rights("ada"), action)


@pytest.mark.parametrize("principal", [None, ""])
def test_nobody_may_nothing(put: Put, queue: Any, principal: str | None) -> None:
    put(owner=None)
    (job,) = queue
    rights = Rights(principal, overall=ACTIONS, allows=lambda wanted, obj: True)
    assert not any(may(rights, action, job) for action in JOB_ACTIONS)


def test_a_job_that_cannot_be_loaded(
    site: Site, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = put(sample.identity, sample.Brittle())
    monkeypatch.setattr(sample, "brittle", ImportError)
    site.db.cacheMinimize()
    assert site.get(f"/jobs/{job_id}", "manager").status_int == 200
    for who in ("ada", "keeper", "manager-here", "bob"):
        assert site.get(f"/jobs/{job_id}", who).status_int == 404
    assert site.get("/mine", "ada").status_int == 200


def test_words_that_there_are_not() -> None:
    with pytest.raises(BadArgument, match="there are no actions veiw; those of"):
        Rights("ada", overall=frozenset({"veiw"}))
    with pytest.raises(BadArgument, match="there is no action 'veiw'"):
        may(Rights("ada"), "veiw")


def test_each_route_takes_a_right() -> None:
    for route in ROUTES:
        assert not route.is_open_to(Rights())
        if route.has_job:
            assert route.action in JOB_ACTIONS
    with pytest.raises(BadArgument, match="takes the right to an action"):
        Route("GET", "/jobs/{job}/x", lambda visit: None, Needs.A_NAME)  # type: ignore[arg-type,return-value]
    with pytest.raises(BadArgument, match="there is no action 'look' for it"):
        Route("GET", "/x", lambda visit: None, "look")  # type: ignore[arg-type,return-value]


# Forged requests


def test_a_post_needs_the_token_of_who_asks(site: Site, put: Put) -> None:
    job_id = put()
    others = site.token("bob")
    for token in ("", "forged", others, "ü"):
        got = site.post(f"/jobs/{job_id}/cancel", "ada", token=token)
        assert got.status_int == 403
    assert site.status(job_id) == "pending"
    assert site.post(f"/jobs/{job_id}/cancel", "ada").status_int == 303
    assert site.status(job_id) == "completed"


@pytest.mark.parametrize(
    "said",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_post_from_elsewhere(site: Site, put: Put, said: dict[str, str]) -> None:
    job_id = put()
    assert site.post(f"/jobs/{job_id}/cancel", "ada", **said).status_int == 403
    assert site.status(job_id) == "pending"


@pytest.mark.parametrize(
    "said", [{}, {"Sec_Fetch_Site": "same-origin"}, {"Origin": "https://localhost:80"}]
)
def test_a_post_from_here(site: Site, put: Put, said: dict[str, str]) -> None:
    job_id = put()
    assert site.post(f"/jobs/{job_id}/cancel", "ada", **said).status_int == 303


def test_a_token_tells_realms_apart(site: Site) -> None:
    rights = [Rights("a", realm="bc"), Rights("ab", realm="c"), Rights("abc"), Rights("a")]
    assert len({site.token_for(each) for each in rights}) == 4
    assert zodbjobs.get_queue  # the secret is that of the queues, so each database has its own
