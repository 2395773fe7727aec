"""Opens the database, and makes the WSGI application."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import ZEO
import ZODB
from ZODB.FileStorage import FileStorage
from zope.app.appsetup import appsetup
from zope.app.publication.httpfactory import HTTPPublicationRequestFactory
from zope.app.wsgi import WSGIPublisherApplication
from zope.event import notify
from zope.processlifetime import DatabaseOpened

# Seconds to wait for the ZEO server.
_PATIENCE = 30


def configure():
    """Load the configuration of the process: what is grokked, and the installers."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    appsetup.config(str(Path(__file__).parent / "site.zcml"))


@contextlib.contextmanager
def opened(folder, address=None):
    """The database: the file in `folder`, or by way of the ZEO server at `address`."""
    if address is None:
        folder.mkdir(parents=True, exist_ok=True)
        storage = FileStorage(str(folder / "Data.fs"), blob_dir=str(folder / "blobs"))
        db = ZODB.DB(storage)
    else:
        blobs = {"blob_dir": str(folder / "blobs"), "shared_blob_dir": True}
        db = ZEO.DB(address, wait_timeout=_PATIENCE, **blobs)
    try:
        notify(DatabaseOpened(db))
        yield db
    finally:
        db.close()


def application(db):
    """The WSGI application: the portal at the root of the server, as below a virtual host."""
    publisher = WSGIPublisherApplication(db, HTTPPublicationRequestFactory)

    def at_root(environ, start_response):
        scheme, host = environ["wsgi.url_scheme"], environ.get("HTTP_HOST", "localhost")
        name, _, port = host.partition(":")
        port = port or {"http": "80", "https": "443"}[scheme]
        path = environ.get("PATH_INFO", "/")
        inside = f"/portal/++vh++{scheme}:{name}:{port}/++{path}"
        return publisher({**environ, "PATH_INFO": inside}, start_response)

    return at_root
