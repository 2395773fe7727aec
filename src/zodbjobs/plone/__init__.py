"""Jobs in Plone: as the user, in the site and in the language of the request that puts them.

Plone finds this package by itself where zodbjobs is installed, and includes its ZCML.
"""

from zodbjobs.plone import indexing
from zodbjobs.plone.putting import CATALOG, put, put_view
from zodbjobs.zope import SYSTEM, accepted

indexing.register()

__all__ = ["CATALOG", "SYSTEM", "accepted", "put", "put_view"]
