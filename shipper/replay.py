"""Reading the lines of an earlier run's batches again, as they were."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from shipper.core.framing import check, check_cut
from shipper.core.manifest import Manifest, Span
from shipper.core.model import TAIL_BYTES, Checked, Chunk, Position
from shipper.files import Files
from shipper.tailer import OVERSIZE_HEAD, Reader, Tailer, advance

GONE = "it is gone, or other lines stand in it now"
INCOMPLETE = "another file of the same request is known no longer"


@dataclass(slots=True)
class Again:
    """
    What is there of a batch.

    Args:
        chunks: Its lines.
        between: Lines that stand before those and are no part of it. They have to be delivered, too.
        lost: A file that does not hold its lines any more, and why; empty when all is as it was.
    """

    chunks: list[Checked] = field(default_factory=list)
    between: list[Checked] = field(default_factory=list)
    lost: str = ""
    _places: dict[str, tuple[Tailer, Position, bytes]] = field(default_factory=dict)

    def add(self, files: Files, span: Span, *, settled: bool) -> str:
        """Read lines again, or pass over them if they are settled; return why that cannot be done."""
        tailer = files.live.get(span.key)
        if tailer is None:
            return GONE
        try:
            while tailer.position.offset < span.start.offset:
                checked = files.reader.read(tailer, until=span.start.offset)
                if checked is None:
                    return GONE
                self.between.append(checked)
            place = tailer, tailer.position, tailer.tail
            checked = (_pass_by if settled else _reread)(files.reader, tailer, span)
        except OSError as exc:
            return exc.strerror or str(exc)
        if checked is None:
            return GONE
        self._places.setdefault(span.key, place)
        self.chunks.append(checked)
        return ""

    def put_back(self) -> None:
        """Leave the lines of the batch for the reading as usual."""
        for tailer, position, tail in self._places.values():
            tailer.position, tailer.tail, tailer.fresh = position, tail, True
        kept = {key: place[1].offset for key, place in self._places.items()}
        self.between = [
            c for c in self.between if c.chunk.end.offset <= kept.get(c.chunk.source.key, c.chunk.end.offset)
        ]
        self.chunks = []


def read_again(files: Files, manifest: Manifest) -> Again:
    """
    Read the lines of a batch again; blocking.

    All of them or none, unless they are settled: then those that are there.
    """
    again, settled = Again(), manifest.tallies is not None
    for span in manifest.spans:
        why = again.add(files, span, settled=settled) if settled or span.sent else ""
        if why and not settled:
            again.lost = f"{span.path}: {why}"
            break
    if not manifest.whole and not settled and not again.lost:
        again.lost = f"{manifest.spans[0].path}: {INCOMPLETE}"
    if again.lost:
        again.put_back()
    return again


def _reread(reader: Reader, tailer: Tailer, span: Span) -> Checked | None:
    """Read lines up to which their file has been read, and make the records of them that were made before; None: they are gone."""
    size, count = span.end.offset - span.start.offset, span.end.line - span.start.line
    is_cut = count == 1 and size > reader.max_line_bytes + 1
    wanted = min(OVERSIZE_HEAD, reader.max_line_bytes + 1) if is_cut else size
    data = reader.read_block(tailer, wanted) if tailer.position == span.start else None
    if data is None or len(data) < wanted:
        return None
    reader.aim(tailer, data)
    source = replace(tailer.source, path=span.path)
    if is_cut:
        tail = tailer.bytes_at(span.end.offset - TAIL_BYTES, TAIL_BYTES)
        chunk = Chunk(source, span.start, span.end, tail, span.at)
        return advance(tailer, check_cut(chunk, data, reader.rules, at=span.at)) if tail.endswith(b"\n") else None
    checked = check(source, span.start, data, reader.rules, at=span.at)
    return advance(tailer, checked) if checked.chunk.end == span.end else None


def _pass_by(reader: Reader, tailer: Tailer, span: Span) -> Checked | None:
    """Pass over lines up to which their file has been read; None: they are gone."""
    start = max(0, span.end.offset - TAIL_BYTES)
    if tailer.position != span.start or reader.read_block(tailer, 1) is None:
        return None
    tail = tailer.bytes_at(start, span.end.offset - start)
    chunk = Chunk(tailer.source, span.start, span.end, tail, span.at)
    return advance(tailer, Checked(chunk, ())) if len(tail) == span.end.offset - start else None
