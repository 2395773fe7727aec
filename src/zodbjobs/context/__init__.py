"""What a job is put in, such as the site, and runs in again: ``from zodbjobs import context``.

At a put each pair that is registered here captures a value, as plain data and references to stored
objects; it is stored with the job. A worker restores them around each attempt, with its commit and
its hooks, and undoes that at the end. A callback has the run context of who added it.

These pairs are there: `site` (zope.component), `interaction` (zope.security: the principals of the
participations, by their ids) and `trace` (OpenTelemetry). Each captures nothing in a process that
hasn't imported its package, and nothing is imported for it.
"""

from zodbjobs.context import included
from zodbjobs.context.registry import capture, register, remember, unregister

included.register_all()

__all__ = ["capture", "register", "remember", "unregister"]
