"""What an application may provide for the pages."""

from __future__ import annotations

from grokcore.layout.interfaces import ILayout
from zope.interface import Attribute, Interface


class IJobsLayout(ILayout):
    """The layout that the pages are shown in, in place of their own frame.

    A `grok.Layout` that provides this, for the context Interface, or for IJobManager and another
    one for IJob. Its `view` is an IJobsPage; what it renders is the whole of the HTML, with
    `view.head` and `view.content()` in it.
    """


class IJobsPage(Interface):
    """A page, as its layout sees it."""

    context = Attribute("The job manager, or a job.")
    request = Attribute("The request.")
    title = Attribute("The title of the page, plain text for the <title>.")
    head = Attribute("Markup for the <head>: the style and the script of the pages.")

    def content():
        """The markup of the page, for the <body>."""
