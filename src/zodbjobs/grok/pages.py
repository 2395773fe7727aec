"""The pages of `zodbjobs.web` within Grok: its principals, its permissions, its transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import grok
import transaction
from webob import Request
from zope.component import queryMultiAdapter
from zope.component.hooks import getSite
from zope.interface import Interface, alsoProvides, implementer
from zope.publisher.interfaces.browser import IBrowserPublisher
from zope.publisher.interfaces.http import IResult
from zope.security.interfaces import Unauthorized

from zodbjobs.grok.interfaces import IJobsLayout, IJobsPage
from zodbjobs.grok.rights import rights_at
from zodbjobs.web import Inside, Rights, make_app

# Where a request of the pages has the `Pages` that it came to.
_PAGES = "zodbjobs.grok.pages"


@implementer(IBrowserPublisher)
class Pages:
    """The pages, at the place that the publication has come to; what they answer is its answer.

    `mount`: the path below which they are, as the browser sees it, quoted; `names`: those of the
    page below it. The publication commits, or begins anew after a conflict, as for any view.
    """

    def __init__(self, context: Any, request: Any, mount: str, names: list[str]) -> None:
        self.context = context
        self.request = request
        self.site = getSite()
        self._mount = mount
        self._names = names

    def browserDefault(self, request: Any) -> tuple[Pages, tuple[()]]:
        """Themselves."""
        return self, ()

    def publishTraverse(self, request: Any, name: str) -> Any:
        """Nothing: they have taken all names that there were."""
        raise LookupError(name)

    def __call__(self) -> Any:
        """Answer the request. Raises Unauthorized for nobody in particular."""
        answer = Request(self._environ()).get_response(_app)
        response = self.request.response
        response.setStatus(answer.status_int)
        for name, value in answer.headerlist:
            response.setHeader(name, value)
        if self.request.method == "POST" and answer.status_int >= 400:
            transaction.get().doom()  # the publication commits whatever the status is
        if self.request.method == "HEAD":
            alsoProvides(self.request, _IHeadRequest)
        return _Body(answer.app_iter)

    def _environ(self) -> dict[str, Any]:
        """That of a WSGI request for the page, with the address that the browser has asked for."""
        environ = dict(self.request.environment.items())
        address = urlsplit(self.request.getApplicationURL())
        environ["wsgi.url_scheme"] = address.scheme
        environ["HTTP_HOST"] = address.netloc
        environ["SCRIPT_NAME"] = unquote_to_bytes(self._mount).decode("latin-1").rstrip("/")
        environ["PATH_INFO"] = ("/" + "/".join(self._names)).encode("utf-8").decode("latin-1")
        environ["wsgi.input"] = self.request.bodyStream.getCacheStream()
        environ[_PAGES] = self
        return environ


def _rights_of(request: Request) -> Rights:
    pages = request.environ[_PAGES]
    return rights_at(pages.site, pages.request.principal)


def _connection_of(request: Request) -> Any:
    return request.environ[_PAGES].site._p_jar


def _login(request: Request) -> Any:
    """Have the publication challenge who asks, as the host does it elsewhere."""
    raise Unauthorized("jobs")


def _in_layout(request: Request, inside: Inside) -> str | None:
    """The page in the layout of the application, if it has one for the pages."""
    pages = request.environ[_PAGES]
    layout = queryMultiAdapter((pages.request, pages.context), IJobsLayout)
    if layout is None:
        return None
    text: str = layout(_Page(pages, inside))
    return text


_app = make_app(_connection_of, _rights_of, login=_login, layout=_in_layout)


@implementer(IJobsPage)
class _Page:
    """A page for its layout."""

    def __init__(self, pages: Pages, inside: Inside) -> None:
        self.context = pages.context
        self.request = pages.request
        self.title = inside.title
        self.head = inside.head
        self._content = inside.body

    def content(self) -> str:
        """The markup of the page."""
        return self._content


@implementer(IResult)
class _Body:
    """The body of a response, which is closed when it was sent, or wasn't."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def close(self) -> None:
        """Close what it is read from."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


class _IHeadRequest(Interface):
    """A HEAD request that the pages have answered."""


class _NoBody(grok.MultiAdapter):
    """The empty body that the publication gives each HEAD request; the headers stay as they are,
    where it would have a length of 0, and fail for files.
    """

    grok.adapts(str, _IHeadRequest)
    grok.provides(IResult)

    def __new__(cls, body: str, request: Any) -> Any:
        """A body, in place of an adapter."""
        return _Body(())
