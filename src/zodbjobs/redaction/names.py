"""Names of secrets: of arguments, keys of dicts, fields, headers."""

from __future__ import annotations

import functools
import itertools
import re

#: Words of a name, or two that follow each other, that make it one of a secret.
_WORDS = frozenset(
    {
        *("password", "passwords", "passwd", "pwd", "pw", "passphrase", "passcode", "passwort"),
        *("kennwort", "secret", "secrets", "token", "tokens", "jwt", "otp", "bearer"),
        *("credential", "credentials", "authorization", "cookie", "cookies"),
        *("apikey", "accesskey", "privatekey", "signingkey", "encryptionkey"),
        *("sessionid", "sessionkey", "httpauth", "basicauth"),
        *("dbpass", "userpass", "smtppass", "mailpass", "ldappass"),
    }
)

#: The same for words that were written as one: userpassword, csrftoken.
_ENDINGS = (
    *("password", "passwd", "passphrase", "passwort", "kennwort", "secret", "token", "apikey"),
    *("credentials", "cookie"),
)

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = re.compile(r"[\W_\d]+")

#: Characters of a name that are looked at.
_MOST = 200


def is_secret_name(name: object) -> bool:
    """Whether what has this name isn't shown: `password`, `apiToken`, `X-Api-Key`, and so on."""
    if isinstance(name, bytes):  # a header, say
        name = name[:_MOST].decode("latin-1")
    return isinstance(name, str) and _is_secret(name[:_MOST])


@functools.lru_cache(maxsize=10_000)
def _is_secret(name: str) -> bool:
    words = [word for word in _BETWEEN.split(_HUMP.sub(" ", name).lower()) if word]
    pairs = map("".join, itertools.pairwise(words))
    if words == ["auth"] or not _WORDS.isdisjoint(words) or not _WORDS.isdisjoint(pairs):
        return True
    return any(word.endswith(_ENDINGS) for word in words)
