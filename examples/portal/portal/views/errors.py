"""What is shown where there is nothing, or nothing for who asks."""

from __future__ import annotations

import logging

import grok
from zope.error.interfaces import IErrorReportingUtility
from zope.interface.common.interfaces import IException
from zope.publisher.interfaces import INotFound
from zope.security.interfaces import IForbidden, IUnauthorized

from portal.views.page import Frame, render


class LogErrors(grok.GlobalUtility):
    """Logs what goes wrong in a request, except what is the reader's."""

    grok.provides(IErrorReportingUtility)

    def raising(self, info, request=None):
        """Take a note of an exception."""
        if not any(each.providedBy(info[1]) for each in (INotFound, IForbidden, IUnauthorized)):
            logging.getLogger("portal").error("a request failed", exc_info=info)


class _Error(grok.View):
    """A page with one sentence."""

    grok.baseclass()

    status = 404
    title = "There is nothing here"
    sentence = "It was never there, or it isn’t for you to see."

    def render(self):
        """The page; nothing if one is led elsewhere."""
        if self.response.getStatus() in (302, 303):
            return ""
        self.response.setStatus(self.status)
        self.response.setHeader("Content-Type", "text/html; charset=utf-8")
        return render("error.pt", Frame(self.request), title=self.title, sentence=self.sentence)


class NotFound(_Error):
    """Where there is nothing."""

    grok.context(INotFound)
    grok.name("index")
    grok.require("zope.Public")


class NotAllowed(_Error):
    """For who is logged in, the same; who isn't is led to do so."""

    grok.context(IUnauthorized)
    grok.name("index")
    grok.require("zope.Public")

    def update(self):
        """Let those who know the people decide."""
        frame = Frame(self.request)
        frame.people.unauthorized(self.request.principal.id, self.request)


class NotMeant(_Error):
    """A form that isn't ours, or is too old."""

    grok.context(IForbidden)
    grok.name("index")
    grok.require("zope.Public")
    status = 403
    title = "Nothing was changed"
    sentence = (
        "The form was too old, or another site has sent it. Go back, and load the page again."
    )


class Broken(_Error):
    """What is our fault."""

    grok.context(IException)
    grok.name("index")
    grok.require("zope.Public")
    status = 500
    title = "That could not be done"
    sentence = "The log of the portal says why."
