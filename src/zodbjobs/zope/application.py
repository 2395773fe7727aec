"""The application of Zope on a connection, with a request around it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from zope.publisher.browser import setDefaultSkin
from ZPublisher.BaseRequest import RequestContainer
from ZPublisher.HTTPRequest import HTTPRequest
from ZPublisher.HTTPResponse import HTTPResponse

from zodbjobs.errors import NoCurrentJob, NotStored
from zodbjobs.runtime import local

#: The name of the application in the root of its database.
ROOT = "Application"

# The name of the database of the application. One that is mounted into it has an application in
# its root, too, which is not the one that the site is in.
_MAIN = "main"

# Of the server, where it isn't known.
_URL = "http://nohost"


def application(connection: Any, request: Any = None) -> Any:
    """The application that a connection leads to, within `request`, which may be None.

    Raises NotStored if neither its database nor another one of the process has one.
    """
    found = _bare(connection)
    return found if request is None else found.__of__(RequestContainer(REQUEST=request))


def application_of(obj: Any, request: Any) -> Any:
    """The application above a stored object, within `request`. Raises NotStored."""
    connection = obj._p_jar
    try:
        own = local.get_connection()
    except NoCurrentJob:
        own = None
    if own is not None and own.connections is connection.connections:
        return application(own, request)
    if _MAIN in connection.db().databases:
        connection = connection.get_connection(_MAIN)
    return application(connection, request)


def _bare(connection: Any) -> Any:
    if ROOT in (root := connection.root()):
        return root[ROOT]
    for name in sorted(connection.db().databases, key=lambda name: (name != _MAIN, name)):
        root = connection.get_connection(name).root()
        if ROOT in root:
            return root[ROOT]
    raise NotStored(
        f"there is no {ROOT!r} in the root of the database; zodbjobs.zope is for databases of Zope"
    )


def addresses_of(request: Any) -> dict[str, str]:
    """What the URLs that a request makes depend on: that of the server, and the virtual host."""
    root = request.other.get("VirtualRootPhysicalPath", ("",))
    return {
        "url": request.get("SERVER_URL") or "",
        "script": "/".join(request._script),
        "root": "/".join(root),
    }


def set_addresses(request: Any, stored: dict[str, str]) -> None:
    """Let a request make URLs as the one did of which these are the addresses."""
    request.other["SERVER_URL"] = stored.get("url", _URL)
    request._script[:] = [name for name in stored.get("script", "").split("/") if name]
    request.other["VirtualRootPhysicalPath"] = tuple(stored.get("root", "").split("/"))
    request._resetURLS()


def make_request(accepts: str = "") -> Any:
    """A request of nobody, which accepts languages as the header Accept-Language says it."""
    environ = {"SERVER_NAME": "nohost", "SERVER_PORT": "80", "REQUEST_METHOD": "GET"}
    environ["HTTP_ACCEPT_LANGUAGE"] = accepts
    request = HTTPRequest(BytesIO(), environ, HTTPResponse(stdout=BytesIO()))
    request._steps = ["job"]  # else its URL can't be told
    set_addresses(request, {})
    request["ACTUAL_URL"] = request["URL"]
    setDefaultSkin(request)
    return request
