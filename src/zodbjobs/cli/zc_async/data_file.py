"""Reads the records of a FileStorage, of Python 2 as well. Takes no lock and writes nothing."""

from __future__ import annotations

import os
from typing import IO

from ZODB.FileStorage.format import (
    DATA_HDR_LEN,
    TRANS_HDR_LEN,
    DataHeader,
    DataHeaderFromString,
    TxnHeaderFromString,
)
from ZODB.POSException import POSKeyError
from ZODB.utils import u64

from zodbjobs.cli.errors import CommandError

# What a file begins with. ZODB on Python 3 opens the second only, though the rest is the same.
_PYTHON_2, _PYTHON_3 = b"FS21", b"FS30"


class DataFile:
    """The file at `path` as it was when it was opened; close it at the end.

    Another process may have it open. Raises CommandError if it is no FileStorage, or damaged.
    """

    def __init__(self, path: str) -> None:
        if os.path.isdir(path):
            raise CommandError(f"{path} is a directory; give the path of a file in it")
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - it stays open
        except FileNotFoundError:
            raise CommandError(f"there is no file {path}; check the path") from None
        try:
            self._path = path
            self._positions = self._find_records()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def load(self, oid: bytes) -> bytes:
        """The data of an object's last record; POSKeyError if it has none."""
        position = self._positions.get(oid, 0)
        while position:
            header = self._header(position)
            if header.plen:
                return self._file.read(header.plen)
            position = u64(self._file.read(8))  # of the record that has the data
        raise POSKeyError(oid)

    def _find_records(self) -> dict[bytes, int]:
        """The position of the last record of each object."""
        size = os.fstat(self._file.fileno()).st_size
        if self._file.read(4) not in (_PYTHON_2, _PYTHON_3):
            raise CommandError(
                f"{self._path} isn't a FileStorage; give the path of one, often Data.fs"
            )
        positions: dict[bytes, int] = {}
        at = 4
        while head := _whole(self._file, at, TRANS_HDR_LEN):
            transaction = TxnHeaderFromString(head)
            end = at + transaction.tlen
            if end + 8 > size or transaction.status == "c":
                break  # the application is about to write it
            if transaction.tlen < transaction.headerlen():
                raise self._damaged(at)
            if transaction.status != "u":  # undone
                self._note_records(positions, at + transaction.headerlen(), end)
            at = end + 8
        return positions

    def _note_records(self, positions: dict[bytes, int], at: int, end: int) -> None:
        while at < end:
            header = self._header(at)
            positions[header.oid] = at
            at += header.recordlen()
        if at != end:
            raise self._damaged(at)

    def _header(self, at: int) -> DataHeader:
        try:
            return DataHeaderFromString(_whole(self._file, at, DATA_HDR_LEN))
        except Exception as error:  # too short, or of a version of ZODB before 3.9
            raise self._damaged(at) from error

    def _damaged(self, at: int) -> CommandError:
        return CommandError(
            f"{self._path} is damaged at byte {at}; copy it, and repair the copy with "
            "python -m ZODB.fsrecover, or with the one of the old installation"
        )


def _whole(file: IO[bytes], at: int, length: int) -> bytes:
    """So many bytes; none if there are fewer."""
    file.seek(at)
    data = file.read(length)
    return data if len(data) == length else b""
