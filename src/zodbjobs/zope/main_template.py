"""The main template of a site, as Plone has it, around a page."""

from __future__ import annotations

from typing import Any

from Products.Five.browser import BrowserView
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from zope.component import queryMultiAdapter

from zodbjobs.web import Inside

#: What a page in the main template may load: what Plone's own scripts and styles need, from the same
#: origin, and no script that stands in the page.
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; object-src 'none'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'self'"
)


def in_main_template(context: Any, request: Any, inside: Inside) -> str | None:
    """The HTML of a page in the main template of a site; None if the site has none."""
    found = queryMultiAdapter((context, request), name="main_template")
    if found is None:
        found = getattr(context, "main_template", None)
    macros = getattr(found, "macros", None)
    if macros is None or "master" not in macros:
        return None
    for column in ("leftcolumn", "rightcolumn"):  # tables have many columns
        request.set(f"disable_plone.{column}", 1)
    text: str = _Page(context, request, macros["master"], inside)()
    return text


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
