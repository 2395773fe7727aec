"""What all pages share: the template in the layout, and the headers."""

from __future__ import annotations

from pathlib import Path

import grok
from chameleon import PageTemplateLoader
from zope.authentication.interfaces import IAuthentication, IUnauthenticatedPrincipal
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.interface import Interface
from zope.publisher.http import DirectResult
from zope.security import checkPermission
from zope.traversing.browser import absoluteURL

from zodbjobs.grok import IJobsLayout
from zodbjobs.interfaces import IJobManager

_templates = PageTemplateLoader(str(Path(__file__).parents[1] / "templates"))

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


class Frame:
    """What stands around each page, also those of zodbjobs: the names in `layout.pt`."""

    def __init__(self, request):
        self.portal = getSite()
        self.request = request
        self.principal = request.principal
        self.is_somebody = not IUnauthenticatedPrincipal.providedBy(request.principal)
        self.people = getUtility(IAuthentication)

    def url(self, *names):
        """The path of a place in the portal."""
        base = absoluteURL(self.portal, self.request)
        server = self.request.getApplicationURL().removesuffix("/")
        path = base.removeprefix("/".join(server.split("/", 3)[:3]))
        return "/".join([path, *map(str, names)]) or "/"

    @property
    def token(self):
        """What each form that changes something has in it."""
        return self.people.token(self.principal)

    @property
    def places(self):
        """The navigation: the path, the title, and whether one is there."""
        here = self.request.getURL(path_only=True)
        jobs = self.url("jobs")
        return [
            (self.url(), "Faculties", not here.startswith(jobs)),
            (jobs, "Jobs", here.startswith(jobs)),
        ]


def render(template, frame, **names):
    """The HTML of a page."""
    layout = _templates["layout.pt"]
    return _templates[template](layout=layout, frame=frame, url=frame.url, head=None, **names)


class Page(grok.View):
    """A page of the portal: `page`, a template, with what `shown` returns."""

    grok.baseclass()
    grok.context(Interface)

    page = ""
    title = ""

    def shown(self):
        """The names that the template needs."""
        return {}

    def render(self):
        """The page. It is made anew each time: what it shows may change, and who may see it."""
        names = self.shown()
        for name, value in [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", _POLICY),
            ("Cache-Control", "private, no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "same-origin"),
        ]:
            self.response.setHeader(name, value)
        html = render(self.page, Frame(self.request), title=self.title, **names).encode()
        # As bytes of our own: a string would be given a <base>, which the policy forbids.
        self.response.setHeader("Content-Length", str(len(html)))
        return DirectResult((html,))


class JobsLayout(grok.Layout):
    """The pages of zodbjobs, in the same frame."""

    grok.context(Interface)
    grok.provides(IJobsLayout)

    def render(self):
        """A page of theirs."""
        frame = Frame(self.request)
        return _templates["jobs.pt"](
            layout=_templates["layout.pt"],
            frame=frame,
            url=frame.url,
            title=self.view.title,
            head=self.view.head,
            content=self.view.content(),
        )


def is_manager(place):
    """Whether who asks may do everything to the jobs of a place."""
    return checkPermission("waeup.manageJobs", place)


def manager():
    """What puts jobs."""
    return getUtility(IJobManager)
