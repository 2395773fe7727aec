"""The main template of a site, as Plone has it, around a page."""

from __future__ import annotations

import html
import re
from typing import Any

from Products.Five.browser import BrowserView
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from zope.component import queryMultiAdapter

from zodbjobs.web import Inside

#: What a page in the main template may load: what Plone's own scripts and styles need, from the
#: same origin, and no script that stands in the page.
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; object-src 'none'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'self'"
)

_TITLE = re.compile(r"<title\b.*?</title>", re.DOTALL | re.IGNORECASE)


def in_main_template(context: Any, request: Any, inside: Inside) -> str | None:
    """The HTML of a page in the main template of a site; None if the site has none."""
    # Where Plone is, each place has the view, which needs the tools of a site.
    if getattr(context, "portal_url", None) is None:
        return None
    found = queryMultiAdapter((context, request), name="main_template")
    if found is None:
        found = getattr(context, "main_template", None)
    try:
        master = found.macros["master"]
    except (AttributeError, KeyError):
        return None
    for column in ("leftcolumn", "rightcolumn"):  # tables have many columns
        request.set(f"disable_plone.{column}", 1)
    text: str = _Page(context, request, master, inside)()
    # It has the title of the context, and no slot for another one.
    title = f"<title>{html.escape(inside.title)}</title>"
    return _TITLE.sub(lambda found: title, text, count=1)


class _Page(BrowserView):
    """A page for the template."""

    __name__ = "jobs"
    index = ViewPageTemplateFile("main_template.pt")

    def __init__(self, context: Any, request: Any, master: Any, inside: Inside) -> None:
        super().__init__(context, request)
        self.master = master
        self.title = inside.title
        self.head = inside.head
        self.content = inside.body

    def __call__(self) -> Any:
        return self.index()
