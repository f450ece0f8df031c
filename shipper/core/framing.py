"""
Bytes of a file to lines that are known to be JSON objects.

Strategy: a chunk ends at the last newline that was read; what follows it is read again when there is more. So a file
needs no buffer of its own, and 10,000 files cost no memory. A chunk is checked by one pass of a C parser; only when
something in it is wrong is it looked at line by line. Rules:

1. Lines end at LF and nowhere else. `splitlines` splits at U+2028 and others, which may stand raw in a JSON string.
2. The fast check proves that each line is one object: the parser found as many values as there are lines, and every line
   begins with `{` and ends with `}`. (The parser splits by values, not by lines; but no value can hold a newline between
   a `}` and a `{`, so none reaches over the end of a line, and each line has at least one.)
3. Every newline counts for the line number, also that of an empty or a bad line.
4. NUL bytes around a line are no part of it: a writer that keeps its offset over a truncation leaves a run of them.
5. Nothing is dropped here: a bad line comes back as `Refused` with its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import msgspec

from shipper.core.model import TAIL_BYTES, Checked, Chunk, Piece, Position, Refused, Source

_first, _last = itemgetter(0), itemgetter(-1)
_OPENED, _CLOSED = {ord("{")}, {ord("}")}
_BOM = b"\xef\xbb\xbf"
_decoder = msgspec.json.Decoder(type=msgspec.Raw)


def whole_lines(data: bytes) -> int:
    """Return how many bytes of *data* are whole lines: 0 when it holds no newline."""
    return data.rfind(b"\n") + 1


def check(source: Source, start: Position, data: bytes) -> Checked:
    """
    Find out which lines of a file can be sent.

    Args:
        source: The file.
        start: Where *data* stands in it.
        data: Whole lines; only the last line of a finished file may lack its newline.

    Returns:
        Every line as part of a piece or as refused; empty lines as neither.
    """
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()  # what follows the last newline is no line
    end = Position(start.offset + len(data), start.line + len(lines))
    chunk = Chunk(source, start, end, data[-TAIL_BYTES:])
    if _all_good(data, lines):
        return Checked(chunk, (Piece(source, start.line, lines, len(data)),))
    return _check_each(chunk, lines)


def _all_good(data: bytes, lines: list[bytes]) -> bool:
    try:
        return (
            data.endswith(b"\n")
            and len(_decoder.decode_lines(data)) == len(lines)
            and all(lines)
            and set(map(_first, lines)) == _OPENED
            and set(map(_last, lines)) == _CLOSED
            and (data.isascii() or bool(data.decode()))
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _check_each(chunk: Chunk, lines: Sequence[bytes]) -> Checked:
    pieces: list[Piece] = []
    bad: list[Refused] = []
    run: list[bytes] = []
    empty = 0
    offset = chunk.start.offset
    for number, line in enumerate(lines, chunk.start.line):
        bare = (line.removeprefix(_BOM) if offset == 0 else line).strip(b" \t\r\0")
        fault = _fault(bare) if bare else ""
        empty += not bare
        if bare and not fault:
            run.append(bare)
        elif run:
            pieces.append(_piece(chunk, number, run))
            run = []
        if fault:
            bad.append(Refused(chunk.source, number, line, fault, offset=offset))
        offset += len(line) + 1
    if run:
        pieces.append(_piece(chunk, chunk.end.line, run))
    return Checked(chunk, tuple(pieces), tuple(bad), empty)


def _piece(chunk: Chunk, end: int, run: list[bytes]) -> Piece:
    return Piece(chunk.source, end - len(run), run, sum(map(len, run)) + len(run))


def _fault(line: bytes) -> str:
    """Say what is wrong with a line; empty when it is one JSON object in UTF-8."""
    try:
        line.decode()
        _decoder.decode(line)
    except UnicodeDecodeError as exc:
        return f"not UTF-8: byte {exc.start + 1} of the line"
    except RecursionError:
        return "not usable JSON: nested too deeply"
    except msgspec.MsgspecError as exc:
        return f"not JSON: {exc}"
    return "" if line.startswith(b"{") else "JSON, but not an object"
