"""The pages of `zodbjobs.web` at the application and at any site: ``@@jobs``.

With Zope's users, permissions and transaction.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

import transaction
from Acquisition import aq_base, aq_inner, aq_parent
from Products.Five.browser import BrowserView
from webob import Request
from zExceptions import NotFound, Unauthorized
from zope.interface import alsoProvides, implementer
from ZPublisher.Iterators import IStreamIterator

from zodbjobs.web import Inside, Rights, make_app
from zodbjobs.zope.main_template import POLICY, in_main_template
from zodbjobs.zope.rights import rights_at

#: The name of the view.
NAME = "@@jobs"

_VERBS = frozenset({"GET", "HEAD", "POST"})

# Where a request of the pages has the view that it came to.
_VIEW = "zodbjobs.zope.pages"

# What tells Plone's transformations to leave an answer as it is.
_NOT_TRANSFORMED = "plone.transformchain.disable"


class Jobs(BrowserView):
    """The pages; what they answer is the answer of the publication, which commits, or begins anew
    after a conflict, as for any view.

    All names that follow in the URL are the pages': none of them is looked up in the view, nor as
    a view or by a namespace.
    """

    #: Whether the answer is a page in the layout of the site.
    is_in_layout = False

    def __init__(self, context: Any, request: Any) -> None:
        super().__init__(context, request)
        self._names: list[str] = []

    def __before_publishing_traverse__(self, here: Any, request: Any) -> None:
        """Take all names that are left of the URL. Raises NotFound for what no page is asked with:
        Zope looks for other things in a place then.
        """
        is_rpc = type(request.response).__module__ == "ZPublisher.xmlrpc"
        if request.method not in _VERBS or is_rpc:
            raise NotFound(NAME)
        stack = request["TraversalRequestNameStack"]
        names = list(reversed(stack))
        del stack[:]
        self._names += names
        request.steps.extend(names)
        request._steps.extend(map(quote, names))  # noqa: SLF001
        request["URL"] = "/".join([request["URL"], *map(quote, names)])

    def __call__(self) -> Any:
        """Answer the request. Raises Unauthorized for nobody in particular."""
        if not _is_where_it_is(self.context):
            raise NotFound(NAME)
        answer = Request(self._environ()).get_response(_app)
        if self.request.method == "POST":
            self._mark(answer.status_int)
        elif not self.is_in_layout:
            self.request.environ[_NOT_TRANSFORMED] = True
        return self._send(answer)

    def _mark(self, status: int) -> None:
        """Let nothing be committed of a POST that was refused; and let Plone not refuse one that
        wasn't: it had our token, which the pages have compared before they did anything.
        """
        if status >= 400:
            transaction.get().doom()  # the publication commits whatever the status is
            return
        protect: Any = sys.modules.get("plone.protect.interfaces")
        if protect is not None:
            alsoProvides(self.request, protect.IDisableCSRFProtection)

    def _send(self, answer: Any) -> Any:
        response = self.request.response
        response.setStatus(answer.status_int)
        for name, value in answer.headerlist:
            response.setHeader(name, value)
        if "Content-Type" in answer.headers:  # as it is: Zope gives each text a charset
            response.headers["content-type"] = answer.headers["Content-Type"]
        if isinstance(answer.app_iter, list):
            body: bytes = answer.body
            if self.request.method == "HEAD":
                return _Body(iter(()), answer.content_length or 0)
            return body
        return _Body(answer.app_iter, answer.content_length or 0)

    def _environ(self) -> dict[str, Any]:
        """That of a WSGI request for the page, with the address that the browser has asked for."""
        request = self.request
        environ = dict(request.environ)
        address = urlsplit(request["SERVER_URL"])
        environ["wsgi.url_scheme"] = address.scheme
        environ["HTTP_HOST"] = address.netloc
        path = request.physicalPathToURL(self.context.getPhysicalPath(), relative=True)
        mount = f"{path.rstrip('/')}/{NAME}"
        environ["SCRIPT_NAME"] = unquote_to_bytes(mount).decode("latin-1")
        environ["PATH_INFO"] = ("/" + "/".join(self._names)).encode("utf-8").decode("latin-1")
        if language := request.get("LANGUAGE"):  # what the site has chosen
            environ["HTTP_ACCEPT_LANGUAGE"] = language
        request.stdin.seek(0)
        environ["wsgi.input"] = request.stdin
        environ[_VIEW] = self
        return environ


def _is_where_it_is(place: Any) -> bool:
    """Whether a place was reached through what contains it, and not by acquisition, by which the
    users of one site come to another.
    """
    while place is not None:
        above = aq_parent(place)
        if aq_base(above) is not aq_base(aq_parent(aq_inner(place))):
            return False
        place = above
    return True


def _rights_of(request: Request) -> Rights:
    return rights_at(request.environ[_VIEW].context)


def _connection_of(request: Request) -> Any:
    return request.environ[_VIEW].context._p_jar


def _login(request: Request) -> Any:
    """Have the site challenge who asks, as it does elsewhere."""
    raise Unauthorized("jobs")


def _in_layout(request: Request, inside: Inside) -> str | None:
    """The page in the main template of the site, if it has one."""
    view = request.environ[_VIEW]
    text = in_main_template(view.context, view.request, inside)
    view.is_in_layout = text is not None
    return text


_app = make_app(_connection_of, _rights_of, login=_login, layout=_in_layout, layout_policy=POLICY)


@implementer(IStreamIterator)
class _Body:
    """The body of a response in pieces: it isn't held in memory, and doesn't read the database
    once the request is over, for files are open already.
    """

    def __init__(self, pieces: Any, length: int) -> None:
        self._pieces = pieces
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece: bytes = next(self._pieces)
        return piece

    def close(self) -> None:
        """Close what it is read from."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
