"""Attachments: the files that a job has left, each a blob, as they stand in the job's record."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Self

from ZODB.blob import Blob
from ZODB.POSException import POSKeyError
from ZODB.utils import u64
from zope.interface import implementer

from zodbjobs import defaults
from zodbjobs.errors import AttachmentLost, BadArgument
from zodbjobs.interfaces import IAttachment

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job

#: Bytes of a name in UTF-8; what the file systems of those who fetch it take.
_MOST_NAME = 255

#: The type of what nothing is known of.
_BINARY = "application/octet-stream"

_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}

# Not those of the machine, on each of which a file would be of another type.
_types = mimetypes.MimeTypes()
for _ending, _type in (
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
):
    _types.add_type(_type, f".{_ending}")

_TOKEN = r"[A-Za-z0-9!#$&^_.+-]+"
_CONTENT_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?:; ?{_TOKEN}=(?:{_TOKEN}|"[ -!#-\[\]-~]*"))*')


@implementer(IAttachment)
class Attachment:
    """A file that a job has left: `name`, `content_type`, `size` in bytes, and its data.

    It is stored in the record of the job, and the data in a blob beside it, which is loaded when
    it is opened. Made by ``zodbjobs.local.attach``.
    """

    def __init__(
        self, name: str, content_type: str, size: int, blob: Blob, job_id: str | None
    ) -> None:
        self.name = name
        self.content_type = content_type
        self.size = size
        self._blob = blob
        self._job_id = job_id

    def open(self) -> IO[bytes]:
        """The data as a binary file to read from, which the caller closes.

        Once the job is committed the file can be read whatever becomes of the connection. Raises
        AttachmentLost if the data isn't there any more, and what the storage raises.
        """
        try:
            self._blob._p_activate()
            is_new = self._blob._p_serial == _NEVER  # the job that attaches it runs
            file: IO[bytes] = self._blob.open("r" if is_new else "c")
        except (POSKeyError, FileNotFoundError) as error:
            raise AttachmentLost(
                f"the data of attachment {self.name!r} of job {self._job_id} is lost (object "
                f"{u64(self._blob._p_oid or _NEVER)}); restore the blobs from the backup of the "
                "database, or run the job again"
            ) from error
        return file

    def chunks(self, start: int = 0, stop: int | None = None) -> Chunks:
        """The bytes from `start` up to `stop`, to the end by default, in pieces of
        ``defaults.CHUNK_BYTES``; as a WSGI server takes them.

        Opens the file at once, and raises as `open`; its `close` closes it, and so does its end.
        """
        return Chunks(self.open(), start, self.size if stop is None else min(stop, self.size))

    def __repr__(self) -> str:
        return f"<Attachment {self.name!r} ({self.content_type}, {self.size:,} bytes)>"


_NEVER = b"\0" * 8


class Chunks:
    """An iterator over the bytes of a file from `start` up to `stop`, which closes it."""

    def __init__(self, file: IO[bytes], start: int, stop: int) -> None:
        self._file = file
        self._left = max(0, stop - start)
        file.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = b""
        if self._left and not self._file.closed:
            chunk = self._file.read(min(self._left, defaults.CHUNK_BYTES))
            self._left -= len(chunk)
        if not chunk:
            self.close()
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Close the file; nothing more comes then."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def add_to(job: Job, attachment: Attachment) -> None:
    """Add an attachment to a job, of which nothing is left if the transaction is aborted."""
    job._attachments = {**job.attachments, attachment.name: attachment}


def checked_name(name: Any) -> str:
    """`name` as it is; BadArgument unless it is that of a file, without a folder."""
    why = _why_no_name(name)
    if why is not None:
        raise BadArgument(
            f"an attachment can't be named {name!r}: {why}; take a plain file name such as "
            "'students.csv'"
        )
    return str(name)


def _why_no_name(name: Any) -> str | None:
    if not isinstance(name, str):
        return "it is no str"
    if not name or name in (".", "..") or name != name.strip():
        return "it is empty, made of dots, or begins or ends with a space"
    if "/" in name or "\\" in name:
        return "it names a folder"
    if not name.isprintable():
        return "there are characters in it that can't be seen"
    if len(name.encode()) > _MOST_NAME:
        return f"it is longer than {_MOST_NAME} bytes"
    return None


def checked_type(content_type: Any, name: str) -> str:
    """`content_type`, or if it is None what the ending of `name` says; BadArgument for what is no
    type, such as 'csv'.
    """
    if content_type is None:
        return _guessed(name)
    if not isinstance(content_type, str) or not _CONTENT_TYPE.fullmatch(content_type):
        raise BadArgument(
            f"the type of attachment {name!r} can't be {content_type!r}; it is one such as "
            "'text/csv; charset=utf-8', or None for what the name says"
        )
    return content_type


def _guessed(name: str) -> str:
    found, packed = _types.guess_type(re.sub(r"[^\w.]", "_", name))  # it takes URLs
    return _PACKED.get(packed, _BINARY) if packed else found or _BINARY
