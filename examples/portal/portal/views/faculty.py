"""The students of a faculty, and what can be made of them."""

from __future__ import annotations

from urllib.parse import urlencode

import grok
from zope.authentication.interfaces import IAuthentication
from zope.component import getUtility
from zope.security.interfaces import Forbidden

from portal.jobs import KINDS
from portal.jobs.choice import Choice
from portal.model import Faculty
from portal.register import LEVELS
from portal.views.page import Page, manager
from zodbjobs import ProgressableJob
from zodbjobs.errors import Overloaded
from zodbjobs.web import path_about

# Students of a page.
_ROWS = 20


class Index(Page):
    """The students, by a filter; forms to start what is made of them."""

    grok.context(Faculty)
    grok.require("portal.readStudents")
    page = "faculty.pt"

    refusal = None

    @property
    def title(self):
        """That of the faculty."""
        return f"Faculty of {self.context.title}"

    def shown(self):
        """A page of the students, and what the forms offer."""
        form = self.request.form
        choice = _choice(self.context, form)
        found = choice.of(self.context)
        start = int(form["from"]) if form.get("from", "").isdecimal() else 0
        said = {name: form.get(name, "") for name in ("department", "level")}

        def page(first):
            return "?" + urlencode({**said, "from": first})

        return {
            "faculty": self.context,
            "choice": choice,
            "levels": LEVELS,
            "kinds": KINDS,
            "students": found[start : start + _ROWS],
            "count": len(found),
            "first": start + 1,
            "before": page(max(0, start - _ROWS)) if start else None,
            "after": page(start + _ROWS) if start + _ROWS < len(found) else None,
            "here": self.url(self.context),
            "about": path_about(self.context),
            "refusal": self.refusal,
        }


class Start(Index):
    """Puts the job; leads to its page, or says why there is none."""

    grok.context(Faculty)
    grok.name("start")
    grok.require("portal.readStudents")

    def render(self):
        """Nothing is stored when it is refused."""
        form = self.request.form
        if not getUtility(IAuthentication).is_meant(self.request) or form.get("kind") not in KINDS:
            raise Forbidden("start")
        function, title, _ = KINDS[form["kind"]]
        choice = _choice(self.context, form, only_ticked=form.get("scope") == "ticked")
        if choice is None:
            self.refusal = "Nobody was ticked, so nothing was started."
            return super().render()
        job = ProgressableJob(function, self.context, choice)
        title = title.format(faculty=self.context.title)
        try:
            manager().check(job)
        except Overloaded as error:
            return self._refuse(error)
        job_id = manager().put(job, about=self.context, title=title)
        jobs = self.url(self.context.__parent__, "jobs")
        return self.redirect(f"{jobs}/{job_id}")

    def _refuse(self, error):
        self.response.setStatus(503)
        self.response.setHeader("Retry-After", str(round(error.retry_after)))
        self.refusal = (
            "There is too much to do at the moment, so nothing was started. "
            f"Please try again in {round(error.retry_after)} seconds."
        )
        return super().render()


def _choice(faculty, form, only_ticked=False):
    """What a form chooses; None if it is those that are ticked, and none is."""
    if only_ticked:
        ticked = form.get("ticked", ())
        ticked = (ticked,) if isinstance(ticked, str) else tuple(ticked)
        known = tuple(matric for matric in ticked if matric in faculty)
        return Choice(matrics=known) if known else None
    department, level = form.get("department"), form.get("level", "")
    return Choice(
        department if department in faculty.departments else None,
        int(level) if level in map(str, LEVELS) else None,
    )
