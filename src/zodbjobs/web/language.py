"""The language of a reader: texts from the catalogues in `locales`, by gettext.

The message ids are the English texts. Values in braces are put in after the translation, as text:
what they contain is never taken for markup.
"""

from __future__ import annotations

import functools
import gettext
from pathlib import Path
from typing import Any

from webob import Request
from webob.acceptparse import create_accept_language_header

#: The languages that there are catalogues for; the first one if a reader wants none of them.
LANGUAGES = ("en", "de")

_LOCALES = Path(__file__).parent / "locales"
_DOMAIN = "zodbjobs"

# Characters of a header that is read, and remembered; those of browsers are far shorter.
_MOST_HEADER = 500


def message(text: str) -> str:
    """Mark `text` as a message of the catalogue, where it stands apart from a reader."""
    return text


class Language:
    """The texts of one language."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._texts = gettext.translation(_DOMAIN, _LOCALES, [code])

    def t(self, text: str, /, **values: Any) -> str:
        """The translation of a text."""
        return self._texts.gettext(text).format_map(values)

    def n(self, one: str, many: str, count: int, /, **values: Any) -> str:
        """The translation for a number, which is `{count}` in it."""
        shown = self.number(count)
        return self._texts.ngettext(one, many, count).format_map({"count": shown, **values})

    def number(self, value: int) -> str:
        """A whole number as people write it."""
        text = f"{value:,}"
        return text.replace(",", ".") if self.code == "de" else text

    def decimal(self, value: float) -> str:
        """A number with one digit after the point."""
        text = f"{value:.1f}"
        return text.replace(".", ",") if self.code == "de" else text

    def size(self, count: int) -> str:
        """Bytes as people say them."""
        if count < 1000:
            return f"{count} B"
        amount, units = count / 1000, ["kB", "MB", "GB", "TB"]
        while amount >= 999.95 and len(units) > 1:
            amount, units = amount / 1000, units[1:]
        return f"{self.decimal(amount)} {units[0]}"

    def duration(self, seconds: float | None) -> str:
        """Seconds as people say them; empty for None."""
        if seconds is None:
            return ""
        if seconds < 1:
            return self.t("{count} ms", count=round(seconds * 1000))
        if seconds < 60:
            return self.t("{count} s", count=self.decimal(seconds))
        if seconds < 3600:
            return self.t("{count} min", count=round(seconds / 60))
        if seconds < 48 * 3600:
            return self.t("{count} h", count=round(seconds / 3600))
        days = round(seconds / 86400)
        return self.n("{count} day", "{count} days", days)


@functools.cache
def language(code: str) -> Language:
    """One of LANGUAGES; read once."""
    return Language(code)


def language_of(request: Request) -> Language:
    """The one of ours that the browser would like best."""
    said = request.environ.get("HTTP_ACCEPT_LANGUAGE", "")
    return language(_chosen(said if len(said) <= _MOST_HEADER else ""))


@functools.lru_cache(maxsize=1000)  # an open page asks all the time, and says the same
def _chosen(header: str) -> str:
    if not header:
        return LANGUAGES[0]
    wanted: str = create_accept_language_header(header).lookup(LANGUAGES, default=LANGUAGES[0])
    return wanted
