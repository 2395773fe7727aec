"""Secrets in texts: `name=value` of logs and tracebacks, headers, URLs, keys.

Each search takes time in proportion to the text, whatever that is.
"""

from __future__ import annotations

import re

from zodbjobs.redaction.names import is_secret_name

HIDDEN = "***"

# A name of a secret has one of these in it.
_KEYWORD = re.compile(
    "pass|pwd|pw|kennwort|secret|token|jwt|otp|bearer|credential|auth|cookie|key|session"
)

# Characters of a name before that.
_MOST_BEFORE = 200

# The rest of a name; the word before one of two words.
_NAME_REST = re.compile(r"[\w-]*+")
_FIRST_WORD = re.compile(
    r"(?<!\w)(?:api|access|private|secret|signing|encryption|session) \Z", re.IGNORECASE
)

# What is between a name and its value: a sign; after an option of a command, a space; after the
# first of a pair, a comma; after the name of an XML element, the rest of the tag.
_SIGN = re.compile(r"\\?[\"']?\]?[ \t]{0,3}+(?P<sign>=>|:=|={1,2}|:(?!//))[ \t]{0,3}+")
_SPACE = re.compile(r"[ ]++")
_COMMA = re.compile(r"[\"'],[ ]")
_TAG = re.compile(r"(?:\s[^<>]{0,500}+)?>")

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
    if "PRIVATE KEY-----" in text:
        text = _PRIVATE_KEY.sub(HIDDEN, text)
    if "://" in text:
        text = _IN_URL.sub(rf"\1{HIDDEN}@", text)
    lowered = _lowered(text)
    if _KEYWORD.search(lowered) is not None:
        text = _without_named(text, lowered)
    if "bearer" in lowered or "basic " in lowered:
        text = _BEARER.sub(rf"\1{HIDDEN}", text)
    return text


def _lowered(text: str) -> str:
    """The text in small letters, as long as it is."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _without_named(text: str, lowered: str) -> str:
    parts: list[str] = []
    done = position = 0
    while (found := _KEYWORD.search(lowered, position)) is not None:
        begin = _begin_of_name(text, found.start(), position)
        position = _end(_NAME_REST, text, found.end())
        between = _between(text, begin, position)
        if between is None or not is_secret_name(_full_name(text, begin, position)):
            continue
        start = between.end()
        end = _end_of_value(text, start, text[begin:position], between)
        if end > start and text[start:end] not in _NOTHING:
            parts += (text[done:start], HIDDEN)
            done = end
        position = max(end, position)
    return "".join((*parts, text[done:]))


def _begin_of_name(text: str, middle: int, least: int) -> int:
    least = max(least, middle - _MOST_BEFORE)
    while middle > least and ((char := text[middle - 1]).isalnum() or char in "_-"):
        middle -= 1
    return middle


def _full_name(text: str, begin: int, end: int) -> str:
    """The name, with the word before that belongs to it."""
    before = _FIRST_WORD.search(text[max(0, begin - 12) : begin])
    return text[begin:end] if before is None else before[0] + text[begin:end]


def _between(text: str, begin: int, end: int) -> re.Match[str] | None:
    """What separates a name, from `begin` up to `end`, from its value; None if it has none."""
    if text[begin - 1 : begin] == "<" and (tag := _TAG.match(text, end)) is not None:
        return tag
    if (sign := _SIGN.match(text, end)) is not None:
        return sign
    if text.startswith("--", begin):
        return _SPACE.match(text, end)
    if begin > 1 and text[begin - 2] == "(" and text[begin - 1] in "\"'":
        return _COMMA.match(text, end)
    return None


def _end_of_value(text: str, start: int, name: str, between: re.Match[str]) -> int:
    """Where the value ends that begins at `start`."""
    if between.re is _TAG:
        return _end(_TO_TAG, text, start)
    quote = _end(_PREFIX, text, start)
    if text[quote : quote + 1] in ("'", '"') or text[quote : quote + 2] in ("\\'", '\\"'):
        return _end(_QUOTED, text, quote)
    if text[start : start + 1] in ("[", "(", "{"):
        return _end_of_brackets(text, start)
    if between.re is _SIGN and between["sign"] == ":" and name.lower().endswith(_HEADERS):
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
