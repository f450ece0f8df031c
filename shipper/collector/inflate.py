"""Undo a body's Content-Encoding without being blown up by it. Pure.

Sizes are bounded while unpacking, since a kilobyte of gzip can hold a gigabyte.
"""

import zlib
from collections.abc import Callable, Mapping

import zstandard

from shipper.collector.records import BodyError

MAX_BODY_BYTES = 256 * 2**20

# Zstandard gives all that a piece unpacks to at once: 1 KiB can be 32 MiB.
_ZSTD_STEP = 1024


class TooLargeError(ValueError):
    """A body is larger than this accepts, as it came or unpacked. The sender's to mend, with smaller bodies."""

    def __init__(self) -> None:
        super().__init__(f"the body is larger than {MAX_BODY_BYTES // 2**20} MiB: send it in parts")


def gunzip(packed: bytes) -> bytes:
    """Unpack gzip, of several members too, up to the limit.

    Raises:
        BodyError: It is damaged, or ends too early.
        TooLargeError: It holds more than the limit.
    """
    pieces, size = [], 0
    while packed:
        member = zlib.decompressobj(wbits=31)
        try:
            piece = member.decompress(packed, MAX_BODY_BYTES + 1 - size)
        except zlib.error as exc:
            raise BodyError(f"the body is not gzip: {exc}") from exc
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise TooLargeError
        if not member.eof:
            raise BodyError("the gzip body ends too early")
        pieces.append(piece)
        packed = member.unused_data
    return b"".join(pieces)


def unzstd(packed: bytes) -> bytes:
    """Unpack zstd, of several frames too, up to the limit.

    Raises:
        BodyError: It is damaged, or ends too early.
        TooLargeError: It holds more than the limit.
    """
    pieces, size = [], 0
    rest = memoryview(packed)
    while rest:
        # A window larger than 128 MiB would be memory that no limit on the result counts.
        frame = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
        while not frame.eof:
            if not rest:
                raise BodyError("the zstd body ends too early")
            try:
                piece = frame.decompress(rest[:_ZSTD_STEP])
            except zstandard.ZstdError as exc:
                raise BodyError(f"the body is not zstd: {exc}") from exc
            rest = rest[_ZSTD_STEP:]
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise TooLargeError
            pieces.append(piece)
        rest = memoryview(packed)[len(packed) - len(rest) - len(frame.unused_data) :]
    return b"".join(pieces)


# What Content-Encoding says, and what undoes it.
INFLATE: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gunzip,
    "x-gzip": gunzip,
    "zstd": unzstd,
    "identity": bytes,
    "": bytes,
}
