"""Zip archives, read with care for what they claim; and how much anything compressed may grow."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from probrev.plumbing.refusal import Refusal

# What deflate can make of a byte, at most.
MOST_INFLATION = 1032
# What it makes of a byte of weights is far less; a small file may be all zeros.
HONEST_INFLATION, SMALL_BYTES = 32, 2**24
# The end of an archive: the record of its directory, after that for more than 4 GB if there is one.
_END, _END_BYTES, _LARGE_END, _LARGE_END_BYTES = b"PK\5\6", 22, b"PK\6\6", 98
# Of the directory: it is held in memory at several times its size.
_MOST_DIRECTORY = 2**24


class Room:
    """The bytes that all arrays of a file together may have, by the size of the file.

    Args:
        held: bytes of the file.
    """

    def __init__(self, held: int):
        self._held, self._taken = held, 0

    def take(self, name: str, size: int) -> None:
        """Takes bytes for an array.

        Raises:
            ValueError: there are not so many left.
        """
        self._taken += size
        if self._taken > HONEST_INFLATION * self._held + SMALL_BYTES:
            raise Refusal(
                f"with {name} it would grow from {self._held} to {self._taken} bytes: weights are "
                "not so alike; save them uncompressed if they are"
            )


class Archive(AbstractContextManager["Archive"]):
    """A zip archive, whose members together are no larger than is reasonable.

    Args:
        path: of the file.

    Raises:
        ValueError: it does not end in its directory, or that is vast.
    """

    def __init__(self, path: Path):
        _check_directory(path)
        self._archive = ZipFile(path)
        self._room = Room(path.stat().st_size)
        self.names = self._archive.namelist()

    def __exit__(self, *_: Any) -> None:
        self._archive.close()

    def read(self, name: str) -> bytes:
        """The content of a member, checked against its checksum.

        Raises:
            ValueError: there is none of that name, or it claims a size that it cannot have.
        """
        if name not in self._archive.NameToInfo:
            raise Refusal(f"expected {name} in the archive; it is not there")
        info = self._archive.NameToInfo[name]
        stored = {ZIP_STORED: 1, ZIP_DEFLATED: MOST_INFLATION}.get(info.compress_type)
        if stored is None:
            raise Refusal(f"{name}: expected it stored or deflated; got another compression")
        if info.file_size > stored * info.compress_size + MOST_INFLATION:
            raise Refusal(f"{name} claims {info.file_size} bytes, more than it can hold")
        self._room.take(name, info.file_size)
        return self._archive.read(name)


def _check_directory(path: Path) -> None:
    """Raises ValueError where the directory of an archive would take memory without end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _LARGE_END_BYTES))
        end = file.read()
    record = end[-_END_BYTES:]
    if not record.startswith(_END):
        raise Refusal("the archive does not end in its directory: it is cut, or has a comment")
    claimed = int.from_bytes(record[12:16], "little")
    if end.startswith(_LARGE_END):
        claimed = int.from_bytes(end[40:48], "little")
    if min(claimed, size) > _MOST_DIRECTORY:
        raise Refusal(f"its directory has {claimed} bytes; expected at most {_MOST_DIRECTORY}")
