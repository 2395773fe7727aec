"""Sends a file: in pieces, whole or a range of it, to be saved and never shown."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import IO
from urllib.parse import quote

from webob import Request

from zodbjobs.web import responses
from zodbjobs.web.responses import Response

#: The type of what nothing is known of.
BINARY = "application/octet-stream"

# Bytes that are read at a time.
_CHUNK = 256 * 1024

_TOKEN = r"[A-Za-z0-9!#$&^_.+-]+"
_KIND = re.compile(rf'{_TOKEN}/{_TOKEN}(?:\s*;\s*{_TOKEN}=(?:{_TOKEN}|"[^"\\\r\n]*"))*')

# What a browser might run or style a page with, were it shown, in whatever form.
_ACTIVE = re.compile(r"html|xml|svg|script|ecma|css|flash|x-mixed-replace|wasm", re.IGNORECASE)
_PACKAGES = re.compile(r"application/vnd\.(openxmlformats|oasis)[\w.-]*")

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


def send(request: Request, file: IO[bytes], name: str, kind: str, tag: str) -> Response:
    """The response that sends an open binary file, and closes it.

    `tag`: a text that changes with the content. One range is understood; several are answered
    with the whole, as is a range of what has changed since.
    """
    size = file.seek(0, io.SEEK_END)
    etag = f'"{tag}"'
    response = responses.data(safe_kind(kind))
    response.headers["Content-Disposition"] = disposition(name)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = etag
    start, stop = 0, size
    wanted = _range(request, size, etag)
    if wanted is not None:
        start, stop = wanted
        if start >= stop:
            response.status = 416
            response.headers["Content-Range"] = f"bytes */{size}"
            start = stop = 0  # not beyond what a file can be told to seek
        else:
            response.status = 206
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response.app_iter = _Chunks(file, start, stop)
    response.content_length = stop - start
    return response


def safe_kind(kind: str) -> str:
    """The content type, or BINARY for what is none, and for what a browser might run."""
    if not _KIND.fullmatch(kind):
        return BINARY
    bare = kind.partition(";")[0].strip()
    if _ACTIVE.search(bare) and not _PACKAGES.fullmatch(bare):
        return BINARY
    return kind


def disposition(name: str) -> str:
    """The header that has a browser save a file by that name, whatever is in it."""
    clean = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in name)
    clean = clean.strip(" .") or "file"
    plain = "".join(char if char.isascii() and char not in '"%;' else "_" for char in clean)
    header = f'attachment; filename="{plain}"'
    return header if plain == clean else f"{header}; filename*=UTF-8''{quote(clean, safe='')}"


def _range(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """From where to where to send; None for the whole, an empty range if there is no such."""
    match = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if match is None or match.group(1, 2) == ("", ""):
        return None
    if request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.group(1, 2)
    if not first:  # the last so many bytes
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


class _Chunks:
    """The bytes of a file from `start` up to `stop`; closes it at the end, or if it is told to."""

    def __init__(self, file: IO[bytes], start: int, stop: int) -> None:
        self._file = file
        self._left = stop - start
        file.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = self._file.read(min(_CHUNK, self._left)) if self._left > 0 else b""
        if not piece:
            self.close()
            raise StopIteration
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        """Close the file."""
        self._left = 0
        self._file.close()
