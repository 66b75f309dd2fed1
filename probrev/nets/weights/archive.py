"""Members of a zip archive, read with care for what it claims."""

from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from probrev.plumbing.refusal import Refusal

# What deflate can make of a byte, at most.
MOST_INFLATION = 1032
# What it makes of a byte of weights is far less; a small member may be all zeros.
HONEST_INFLATION, SMALL_BYTES = 32, 2**24


def read_member(archive: ZipFile, name: str) -> bytes:
    """The content of a member, checked against its checksum.

    Raises:
        ValueError: there is none of that name, or it claims a size that it cannot have.
    """
    if name not in archive.NameToInfo:
        raise Refusal(f"expected {name} in the archive; it is not there")
    info = archive.NameToInfo[name]
    stored = {ZIP_STORED: 1, ZIP_DEFLATED: MOST_INFLATION}.get(info.compress_type)
    if stored is None:
        raise Refusal(f"{name}: expected it stored or deflated; got another compression")
    if info.file_size > stored * info.compress_size + MOST_INFLATION:
        raise Refusal(f"{name} claims {info.file_size} bytes, more than it can hold")
    if info.file_size > HONEST_INFLATION * info.compress_size + SMALL_BYTES:
        raise Refusal(
            f"{name} would grow from {info.compress_size} to {info.file_size} bytes: weights are "
            "not so alike; save them uncompressed if they are"
        )
    return archive.read(name)
