"""A host of the tests: it says who asks by a header, and commits as hosts do."""

from __future__ import annotations

from typing import Any

import transaction
import webtest
from webob import Request, Response

from zodbjobs.web import ACTIONS, Rights, make_app
from zodbjobs.web.tokens import token_for

#: Who asks, by the name that the header gives.
PEOPLE: dict[str, dict[str, Any]] = {
    "ada": {},
    "bob": {},
    "viewer": {"permission": "view"},
    "keeper": {"permission": "manage"},
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
        self, path: str, who: str | None = "ada", token: str | None = None, **headers: str
    ) -> Any:
        given = self.token(who) if token is None else token
        sent = self._headers(who, headers)
        return self.browser.post(path, {"token": given}, headers=sent, expect_errors=True)

    def token(self, who: str | None) -> str:
        said = {k: v for k, v in PEOPLE.get(who or "", {}).items() if k == "realm"}
        connection = self.db.open(self.manager)
        try:
            return token_for(connection, Rights(who, **said))
        finally:
            self.manager.abort()
            connection.close()

    def _headers(self, who: str | None, headers: dict[str, str]) -> dict[str, str]:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return said if who is None else {"X-Who": who, **said}


def ways(job_id: str, account: str) -> list[tuple[str, str]]:
    """Each URL of a job with each verb."""
    paths = ["", ".json", "/result", "/files/data.csv", "/cancel", "/discard", "/retry"]
    gets = [("GET", f"/jobs/{job_id}{path}") for path in paths]
    heads = [("HEAD", f"/jobs/{job_id}{path}") for path in paths]
    posts = [("POST", f"/jobs/{job_id}{path}") for path in ("/cancel", "/discard", "/retry", "")]
    return [*gets, *heads, *posts]
