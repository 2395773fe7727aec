"""Who may log in, and who has: a signed cookie, so that nothing is written when a page is read."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from urllib.parse import quote

import grok
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from zope.authentication.interfaces import IAuthentication, PrincipalLookupError
from zope.interface import implementer
from zope.security.interfaces import IPrincipal
from zope.traversing.browser import absoluteURL

COOKIE = "portal"

# Seconds for which one stays logged in.
_SECONDS = 12 * 3600

_ROUNDS = 100_000


@implementer(IPrincipal)
class Person:
    """Who is logged in."""

    description = ""
    groups = ()

    def __init__(self, login, title):
        self.id = f"portal.{login}"
        self.title = title


class Account(Persistent):
    """A person, and what proves that it is them."""

    def __init__(self, title, password):
        self.title = title
        self.set_password(password)

    def set_password(self, password):
        """Let another password be theirs."""
        self.salt = secrets.token_bytes(16)
        self.proof = self._proof_of(password)

    def knows(self, password):
        """Whether that is their password."""
        return hmac.compare_digest(self.proof, self._proof_of(password))

    def _proof_of(self, password):
        return hashlib.pbkdf2_hmac("sha256", password.encode(), self.salt, _ROUNDS)


@implementer(IAuthentication)
class People(grok.LocalUtility):
    """The accounts of the portal, by the names with which one logs in."""

    def __init__(self):
        super().__init__()
        self.accounts = OOBTree()
        self.secret = secrets.token_bytes(32)

    # What Zope asks

    def authenticate(self, request):
        """Who asks, by the cookie; None if that isn't one of ours, or is too old."""
        login, _, rest = request.getCookies().get(COOKIE, "").partition(":")
        until, _, given = rest.partition(":")
        account = self.accounts.get(login)
        is_ours = hmac.compare_digest(given.encode(), self._sign("cookie", login, until).encode())
        if account is None or not is_ours or int(until) < time.time():
            return None
        return Person(login, account.title)

    def unauthenticatedPrincipal(self):
        """Nobody in particular; the one of the site's configuration."""
        return

    def unauthorized(self, id, request):
        """Send who isn't logged in to do so; who is, isn't allowed."""
        try:
            self.getPrincipal(id)
        except PrincipalLookupError:
            here = request.getURL(path_only=True).removesuffix("/@@index")
            here = here if here and request.method == "GET" else "/"
            portal = absoluteURL(self.__parent__, request)
            request.response.redirect(f"{portal}/login?next={quote(here)}")

    def getPrincipal(self, id):
        """The person with an id; a worker asks for whom a job runs."""
        login = id.removeprefix("portal.")
        if login not in self.accounts:
            raise PrincipalLookupError(id)
        return Person(login, self.accounts[login].title)

    def logout(self, request):
        """Forget who has logged in."""
        request.response.expireCookie(COOKIE, path="/")

    # What the pages of the portal ask

    def log_in(self, request, login, password):
        """Whether that is somebody; the answer to the request lets the browser remember it."""
        account = self.accounts.get(login)
        if account is None or not account.knows(password):
            return False
        until = str(int(time.time()) + _SECONDS)
        value = f"{login}:{until}:{self._sign('cookie', login, until)}"
        request.response.setCookie(COOKIE, value, path="/", httponly=True, samesite="Lax")
        return True

    def token(self, principal):
        """What a form has that changes something, so that no other site can have made it."""
        return self._sign("token", principal.id)

    def is_meant(self, request):
        """Whether a POST comes from a form of ours, made for who sends it."""
        wanted, given = self.token(request.principal), request.form.get("token", "")
        return request.method == "POST" and hmac.compare_digest(given.encode(), wanted.encode())

    def _sign(self, *texts):
        said = "\n".join(texts).encode()
        return hmac.new(self.secret, said, hashlib.sha256).hexdigest()
