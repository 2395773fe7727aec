"""A host of the tests: it says who asks by a header, and commits as hosts do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import transaction
import webtest
from webob import Request, Response

from zodbjobs.insights import find_job
from zodbjobs.web import ACTIONS, Rights, make_app, path_about
from zodbjobs.web.tokens import token_for

#: Who asks, by the name that the header gives.
PEOPLE: dict[str, dict[str, Any]] = {
    "ada": {},
    "bob": {},
    "viewer": {"permission": "view"},
    "keeper": {"permission": "manage"},
    "onlooker": {"overall": frozenset({"view"})},
    "manager": {"overall": ACTIONS},
    "manager-here": {"overall": ACTIONS, "realm": "/here"},
    "manager-there": {"overall": ACTIONS, "realm": "/there"},
}


class Site:
    """The application in a host, and a browser."""

    def __init__(self, db: Any, mount: str = "") -> None:
        self.db = db
        self.mount = mount
        self.account: Any = None
        self.asked: list[tuple[str, Any]] = []
        self.manager = transaction.TransactionManager()
        self.app = make_app(
            lambda request: request.environ["connection"],
            self.rights_of,
            login=lambda request: Response(status=302, location="/login"),
            title="The portal",
        )
        self.browser = webtest.TestApp(self.host, lint=True)

    def rights_of(self, request: Request) -> Rights:
        who = request.headers.get("X-Who")
        if who is None:
            return Rights()
        said = dict(PEOPLE[who])
        permission = said.pop("permission", None)

        def allows(wanted: str, obj: Any) -> bool:
            self.asked.append((wanted, obj))
            is_it = self.account is not None and obj._p_oid == self.account._p_oid
            return is_it and permission == wanted

        return Rights(who, who.title(), allows=allows, **said)

    def host(self, environ: dict[str, Any], start_response: Any) -> Any:
        connection = self.db.open(self.manager)
        environ["connection"] = connection
        environ["SCRIPT_NAME"] = self.mount
        statuses = []

        def start(status: str, headers: Any, *more: Any) -> Any:
            statuses.append(int(status[:3]))
            return start_response(status, headers, *more)

        try:
            body = self.app(environ, start)
            if environ["REQUEST_METHOD"] == "POST" and statuses[0] < 400:
                self.manager.commit()
            return body
        finally:
            self.manager.abort()
            connection.close()

    def get(self, path: str, who: str | None = "ada", **headers: str) -> Any:
        return self.browser.get(path, headers=self._headers(who, headers), expect_errors=True)

    def post(
        self,
        path: str,
        who: str | None = "ada",
        token: str | None = None,
        fields: Any = (),
        **headers: str,
    ) -> Any:
        given = self.token(who) if token is None else token
        sent = self._headers(who, headers)
        form = [("token", given), *(fields.items() if isinstance(fields, dict) else fields)]
        return self.browser.post(path, form, headers=sent, expect_errors=True)

    def request(self, method: str, path: str, who: str | None = "ada") -> Any:
        if method == "POST":
            return self.post(path, who)
        return self.browser.request(
            path, method=method, headers=self._headers(who, {}), expect_errors=True
        )

    def token(self, who: str | None) -> str:
        realm = PEOPLE.get(who or "", {}).get("realm")
        return self.token_for(Rights(who, realm=realm))

    def token_for(self, rights: Rights) -> str:
        with self.reading() as connection:
            return token_for(connection, rights)

    def status(self, job_id: str) -> str | None:
        """The status of a job as it is committed; None if it is gone."""
        with self.reading() as connection:
            job = find_job(connection, job_id)
            return None if job is None else job.status

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        connection = self.db.open(self.manager)
        try:
            yield connection
        finally:
            self.manager.abort()
            connection.close()

    def links(self, path: str, who: str) -> set[str]:
        """The ids of the jobs that a page links to."""
        page = self.get(path, who)
        assert page.status_int == 200
        return {a["href"].rpartition("/")[2] for a in page.html.select("main tbody a")}

    @property
    def about(self) -> str:
        """The path of the page about the account."""
        return path_about(self.account, self.mount)

    def _headers(self, who: str | None, headers: dict[str, str]) -> dict[str, str]:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return said if who is None else {"X-Who": who, **said}


def ways(job_id: str) -> list[tuple[str, str]]:
    """Each URL of a job with each verb."""
    tails = ["", ".json", "/result", "/files/data.csv"]
    tails += ["/cancel", "/retry", "/remove", "/again", "/discard"]
    paths = [f"/jobs/{job_id}{tail}" for tail in tails]
    return [(method, path) for method in ("GET", "HEAD", "POST") for path in paths]


def same(one: Any, other: Any) -> bool:
    """Whether two responses are the same, byte for byte."""
    return (one.status, one.headerlist, one.body) == (other.status, other.headerlist, other.body)
