"""Secrets in texts: `name=value` of logs and tracebacks, headers, URLs, keys.

Each search takes time in proportion to the text, whatever that is.
"""

from __future__ import annotations

import re

from zodbjobs.redaction.names import is_secret_name

HIDDEN = "***"

# Without any of these there is nothing to hide.
_HINT = re.compile(
    r"pass|pwd|pw|kennwort|secret|token|jwt|otp|bearer|credential|auth|cookie|key|session|://",
    re.IGNORECASE,
)

# A name with what separates it from its value; an option of a command; the first of a pair; an
# element of XML.
_NAMED = re.compile(
    r"""
    (?<![\w-])
    (?: (?P<option>--[A-Za-z][\w-]*+)[ ]++
      | (?P<name>-{0,2}(?:(?:api|access|private|secret|signing|encryption|session)[ ])?
            [A-Za-z_][\w-]*+)
        \\?["']? \]? [ \t]{0,3}+ (?P<sign>=>|:=|={1,2}|:(?!//)) [ \t]{0,3}+
      | (?<=\()["'](?P<first>[A-Za-z_][\w-]*+)["'],[ ]
      | <(?P<element>[A-Za-z_][\w.-]*+)(?:\s[^<>]{0,500}+)?>
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)

_IN_URL = re.compile(r"(?<=://)([^\s/@:'\"?#]*+:)[^\s/'\"]*@")
_BEARER = re.compile(r"\b((?:Bearer|Basic)\s{1,3}+)(?=[^\s]{8})[\w.~+/=-]++", re.IGNORECASE)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)

_QUOTED = re.compile(r"""\\?(?P<quote>["'])(?:[^"'\\\n]|\\.|(?!(?P=quote))["'])*+(?P=quote)?""")
_PREFIX = re.compile(r"[bBrRuUfF]{0,2}+(?=[\"'])")
_WORD = re.compile(r"(?:(?:Bearer|Basic|Digest|Token)\s++)?[^\s,;&)\]}'\"<>]++", re.IGNORECASE)
_LINE = re.compile(r"[^\n]*+")
_TO_TAG = re.compile(r"[^<]*+")
_BRACKET = re.compile(r"[\[\](){}\"']")

_HEADERS = ("authorization", "cookie")
_NOTHING = frozenset({"None", "True", "False", "null", "true", "false", HIDDEN})


def without_secrets(text: str) -> str:
    """The text with HIDDEN in place of what has the name of a secret in it."""
    if _HINT.search(text) is None:
        return text
    text = _PRIVATE_KEY.sub(HIDDEN, text)
    text = _IN_URL.sub(rf"\1{HIDDEN}@", text)
    text = _without_named(text)
    return _BEARER.sub(rf"\1{HIDDEN}", text)


def _without_named(text: str) -> str:
    parts: list[str] = []
    done = position = 0
    while (found := _NAMED.search(text, position)) is not None:
        position = found.end()
        name = found["option"] or found["name"] or found["first"] or found["element"]
        if not is_secret_name(name):
            # What follows may have a name itself, as in `error: token=...`.
            position = found.end("element") if found["element"] else position
            continue
        end = _end_of_value(text, position, found)
        if end > position and text[position:end] not in _NOTHING:
            parts += (text[done:position], HIDDEN)
            done = end
        position = max(end, position)
    return "".join((*parts, text[done:]))


def _end_of_value(text: str, start: int, found: re.Match[str]) -> int:
    """Where the value ends that begins at `start`."""
    if found["element"]:
        return _end(_TO_TAG, text, start)
    quote = _end(_PREFIX, text, start)
    if text[quote : quote + 1] in ("'", '"') or text[quote : quote + 2] in ("\\'", '\\"'):
        return _end(_QUOTED, text, quote)
    if text[start : start + 1] in ("[", "(", "{"):
        return _end_of_brackets(text, start)
    if found["sign"] == ":" and found["name"].lower().endswith(_HEADERS):
        return _end(_LINE, text, start)
    return _end(_WORD, text, start)


def _end_of_brackets(text: str, start: int) -> int:
    """Where the bracket closes that opens at `start`; the end of the text if it doesn't."""
    depth, position = 0, start
    while (found := _BRACKET.search(text, position)) is not None:
        position = found.end()
        if found[0] in "'\"":
            position = _end(_QUOTED, text, found.start())
        elif found[0] in "[({":
            depth += 1
        else:
            depth -= 1
            if not depth:
                return position
    return len(text)


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return start if found is None else found.end()
