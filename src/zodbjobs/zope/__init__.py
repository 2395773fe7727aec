"""Jobs in Zope: as the user, in the site and with the request that they were put in.

``<include package="zodbjobs.zope" />`` in the ZCML of the application calls `load`. From then on
what a request puts runs as its user, in its site, with a request of its own, and content in its
arguments comes back with its acquisition context.
"""

from zodbjobs.zope.loading import load, unload
from zodbjobs.zope.put import accepted, put
from zodbjobs.zope.sites import realm_of
from zodbjobs.zope.users import SYSTEM, current_owner, owner_of

__all__ = [
    "SYSTEM",
    "accepted",
    "current_owner",
    "load",
    "owner_of",
    "put",
    "realm_of",
    "unload",
]
