"""How many students there are, counted each morning by a schedule."""

from __future__ import annotations

from zope.app.publication.zopepublication import ZopePublication

from zodbjobs import QueueInstaller, Schedule, local


def count_students():
    """Count the students of each faculty, and return that as a text."""
    root = local.get_job()._p_jar.root()[ZopePublication.root_name]
    faculties = root["portal"].faculties()
    return ", ".join(f"{faculty.title}: {len(faculty):,}" for faculty in faculties)


#: Subscribes in `site.zcml`; each worker that opens the database declares the schedule.
installer = QueueInstaller(
    schedules=[Schedule("count students", "30 6 * * *", count_students, zone="Africa/Lagos")]
)
