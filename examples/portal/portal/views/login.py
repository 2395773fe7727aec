"""Logging in and out; the style, which those need too who aren't logged in."""

from __future__ import annotations

from pathlib import Path

import grok

from portal.model import Portal
from portal.views.page import Page
from zodbjobs.web.static_files import static_files


class Login(Page):
    """Asks for name and password."""

    grok.context(Portal)
    grok.require("zope.Public")
    page = "login.pt"
    title = "Log in"

    def shown(self):
        """The form; what was wrong with it; where it leads."""
        form = self.request.form
        return {"failed": self.request.method == "POST", "next": _safe(form.get("next", "/"))}

    def render(self):
        """The form, or the way to where one came from."""
        form = self.request.form
        if self.request.method == "POST" and self.context["people"].log_in(
            self.request, form.get("login", ""), form.get("password", "")
        ):
            return self.redirect(_safe(form.get("next", "/")))
        return super().render()


class Logout(grok.View):
    """Forgets who has logged in."""

    grok.context(Portal)
    grok.require("zope.Public")

    def render(self):
        """Lead to the form."""
        if self.context["people"].is_meant(self.request):
            self.context["people"].logout(self.request)
        self.redirect(self.url(self.context, "login"))


class Style(grok.View):
    """The style of zodbjobs' pages, and what the portal adds to it."""

    grok.context(Portal)
    grok.name("style.css")
    grok.require("zope.Public")

    def render(self):
        """Both in one."""
        self.response.setHeader("Content-Type", "text/css; charset=utf-8")
        self.response.setHeader("Cache-Control", "max-age=3600")
        own = Path(__file__).parents[1] / "portal.css"
        return static_files()["style.css"].body + own.read_bytes()


class Icon(grok.View):
    """The icon."""

    grok.context(Portal)
    grok.name("icon.svg")
    grok.require("zope.Public")

    def render(self):
        """The one of zodbjobs' pages."""
        self.response.setHeader("Content-Type", "image/svg+xml")
        self.response.setHeader("Cache-Control", "max-age=3600")
        return static_files()["icon.svg"].body


def _safe(path):
    """A path of this site, whatever was given."""
    is_path = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_path else "/"
