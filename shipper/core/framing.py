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
5. Nothing is dropped here: a bad line becomes a record that wraps it, or comes back as `Refused` with its bytes.
6. Of a foreign file the fast check also proves that each line has a timestamp a store can read, or none has, and that no key
   stands twice: what the store would otherwise refuse. Each of its lines chooses its own stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Annotated, Any

import msgspec
from msgspec.structs import replace

from shipper.core.enrich import RULES, Fields, Rules, add_to_chunk, add_to_line, fields_for
from shipper.core.model import TAIL_BYTES, Checked, Chunk, Fate, Lines, Piece, Position, Refused, Source
from shipper.core.naming import DEFAULT_DATASET, DEFAULT_NAMESPACE, NO_FACTS, Facts, stream_for
from shipper.core.repair import TIMESTAMP, TIMESTAMP_PATTERN, cut, has_keys_twice, repair, wrap

_first, _last = itemgetter(0), itemgetter(-2)  # of a line with its newline
_OPENED, _CLOSED = {ord("{")}, {ord("}")}
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\0"
_MAX_TARGETS = (
    16  # streams that the lines of one chunk may choose: each costs the store shards, and more come of a mistake
)
_choice = attrgetter("service", "service_name", "service_environment", "run")


class _Object(msgspec.Struct, gc=False):
    """Any object: nothing of it is kept."""


class _Stamped(Facts, frozen=True):
    timestamp: Annotated[str, msgspec.Meta(pattern=TIMESTAMP_PATTERN)] | None = msgspec.field(
        name="@timestamp", default=None
    )


_decoder = msgspec.json.Decoder(type=msgspec.Raw)
_object = msgspec.json.Decoder(type=_Object)
_stamped = msgspec.json.Decoder(type=_Stamped)
_facts = msgspec.json.Decoder(type=Facts)


def whole_lines(data: bytes) -> int:
    """Return how many bytes of *data* are whole lines: 0 when it holds no newline."""
    return data.rfind(b"\n") + 1


def check(source: Source, start: Position, data: bytes, rules: Rules = RULES, *, at: str = "") -> Checked:
    """
    Make records of the lines of a file.

    Args:
        source: The file.
        start: Where *data* stands in it.
        data: Whole lines; only the last line of a finished file may lack its newline.
        rules: How.
        at: The time of reading, as `@timestamp` has it, for lines without one.

    Returns:
        Every line as part of a piece or as refused; empty lines as neither.
    """
    lines = _split(data)
    end = Position(start.offset + len(data), start.line + len(lines))
    chunk = Chunk(source, start, end, data[-TAIL_BYTES:], at)
    pieces = None
    if source.foreign:
        pieces = _check_foreign(chunk, data, lines, rules, at)
    elif rules.router is not None:
        pieces = _check_routed(chunk, data, lines, rules, at)
    elif (piece := _check_own(chunk, data, lines, rules)) is not None:
        pieces = (piece,)
    if pieces is not None:
        return Checked(chunk, pieces)
    return _check_each(chunk, lines, rules, at)


def check_cut(chunk: Chunk, head: bytes, rules: Rules = RULES, *, at: str = "") -> Checked:
    """
    Make a record of the head of a line that is too long to be held.

    Args:
        chunk: The place of the line.
        head: How the line begins.
        rules: As for `check`.
        at: As for `check`; the line's own timestamp is taken where its head begins with one.
    """
    source = chunk.source
    if not rules.wrap:
        reason = f"a line of {chunk.size} bytes, more than max_line_bytes; only its head is kept here"
        return Checked(chunk, (), (Refused(source, chunk.start.line, head, reason, offset=chunk.start.offset),))
    fields = fields_for(rules, source.target, source.path if source.foreign else "")
    line = cut(head, chunk.size, at=at, place=_place(source, chunk.start.offset), fields=fields)
    return Checked(chunk, (Piece(source, chunk.start.line, [line + b"\n"], len(line) + 1, Fate.WRAPPED),))


def _split(data: bytes) -> list[bytes]:
    """Take lines apart, each with its newline; a BytesIO looks for them by `memchr`, which is three times as fast as `bytes.split`."""
    return list(BytesIO(data))


def _all_good(data: bytes, lines: list[bytes]) -> bool:
    try:
        return (
            data.endswith(b"\n")
            and len(_object.decode_lines(data)) == len(lines)
            and set(map(_first, lines)) == _OPENED
            and set(map(_last, lines)) == _CLOSED
            and (data.isascii() or bool(data.decode()))
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):  # an empty line has no last byte
        return False


def _check_own(chunk: Chunk, data: bytes, lines: list[bytes], rules: Rules) -> Piece | None:
    """Check lines of ours by a few passes over all of them; None when they have to be looked at one by one."""
    fields = fields_for(rules, chunk.source.target, "")
    made = add_to_chunk(data, fields) if fields else data
    if made is None:
        return None
    lines = _split(made) if made is not data else lines
    if not _all_good(made, lines):
        return None
    return Piece(chunk.source, chunk.start.line, Lines(made, len(lines)), len(made))


def _check_foreign(chunk: Chunk, data: bytes, lines: list[bytes], rules: Rules, at: str) -> tuple[Piece, ...] | None:
    """Make records of foreign lines by a few passes over all of them; None when they have to be looked at one by one."""
    if not _all_good(data, lines) or has_keys_twice(b",".join(lines)):
        return None
    try:
        facts = _stamped.decode_lines(data)
    except (msgspec.MsgspecError, RecursionError):
        return None
    without = sum(one.timestamp is None for one in facts)
    if without and (without < len(facts) or b'"@timestamp"' in data):
        return None
    runs = _runs(facts, chunk.source, rules) if rules.router is None else _routed(data, rules, at, foreign=True)
    return _in_runs(chunk, data, runs, rules, _stamp(at) if without else {})


def _check_routed(chunk: Chunk, data: bytes, lines: list[bytes], rules: Rules, at: str) -> tuple[Piece, ...] | None:
    """Check lines of ours that choose their targets one by one."""
    if not _all_good(data, lines):
        return None
    return _in_runs(chunk, data, _routed(data, rules, at, foreign=False), rules, {})


def _in_runs(
    chunk: Chunk, data: bytes, runs: Sequence[tuple[str, int]], rules: Rules, stamp: Fields
) -> tuple[Piece, ...] | None:
    """Make pieces of lines that go to the same stream; None when a look at each line can tell alone where fields belong."""
    path = chunk.source.path if chunk.source.foreign else ""
    added = {target: {**stamp, **fields_for(rules, target, path)} for target, _ in runs}
    fields = added[runs[0][0]]
    together = all(other == fields for other in added.values())
    done = _completed(data, fields) if together else (data, _split(data))
    if done is None:
        return None
    pieces, first = [], 0
    for target, count in runs:
        made = done[0] if len(runs) == 1 else b"".join(done[1][first : first + count])
        if not together:
            part = _completed(made, added[target])
            if part is None:
                return None
            made = part[0]
        source = replace(chunk.source, target=target) if target != chunk.source.target else chunk.source
        pieces.append(Piece(source, chunk.start.line + first, Lines(made, count), len(made)))
        first += count
    return tuple(pieces)


def _completed(data: bytes, fields: Fields) -> tuple[bytes, list[bytes]] | None:
    """Add fields to lines; None when it does not do so well."""
    made = add_to_chunk(data, fields)
    if made is None or not _all_good(made, lines := _split(made)):  # a comma in an empty object
        return None
    return made, lines


def _runs(facts: Sequence[Facts], source: Source, rules: Rules) -> list[tuple[str, int]]:
    """Group neighbours that go to the same stream: its name, and how many they are."""
    targets: dict[Any, str] = {}
    defaults: dict[str, str] = {}

    def target_of(one: Facts) -> str:
        choice = repr(_choice(one))
        if choice not in targets:
            targets[choice] = _target(one, rules) if len(targets) < _MAX_TARGETS else source.target
            defaults[targets[choice]] = _default(one, rules)
        return targets[choice]

    if all(_choice(one) == _choice(facts[0]) for one in facts):
        target = target_of(facts[0])
        return [(_admitted(target, defaults[target], len(facts), rules), len(facts))]
    return _allowed(list(map(target_of, facts)), defaults.__getitem__, rules)


def _routed(data: bytes, rules: Rules, at: str, *, foreign: bool) -> list[tuple[str, int]]:
    """Group neighbours that go to the same target, where fields of each line make its name."""
    assert rules.router is not None
    return _allowed(rules.router.names(data, foreign=foreign, at=at), rules.router.default_of, rules)


def _allowed(names: list[str], default_of: Callable[[str], str], rules: Rules) -> list[tuple[str, int]]:
    """Group neighbours of the same name, with defaults in the place of names that would be too many."""
    allowed = {name: _admitted(name, default_of(name), count, rules) for name, count in Counter(names).items()}
    return [(target, len(list(group))) for target, group in groupby(map(allowed.__getitem__, names))]


def _admitted(name: str, default: str, lines: int, rules: Rules) -> str:
    if rules.targets is None or name == default or rules.targets.admit(name, lines):
        return name
    return default


def _target(facts: Facts, rules: Rules) -> str:
    return stream_for(facts, dataset=rules.dataset, namespace=rules.namespace, foreign=True, index=rules.index)


def _default(facts: Facts, rules: Rules) -> str:
    return stream_for(facts, dataset=DEFAULT_DATASET, namespace=DEFAULT_NAMESPACE, foreign=True, index=rules.index)


def _check_each(chunk: Chunk, lines: Sequence[bytes], rules: Rules, at: str) -> Checked:
    collected = _Collected(chunk, rules, at)
    offset = chunk.start.offset
    for number, line in enumerate(lines, chunk.start.line):
        whole = line.removesuffix(b"\n")
        bare = (whole.removeprefix(_BOM) if offset == 0 else whole).strip(_BLANK)
        collected.take(bare, whole, Position(offset, number))
        offset += len(line)
    return collected.checked()


class _Collected:
    """What a look at each line of a chunk has found."""

    def __init__(self, chunk: Chunk, rules: Rules, at: str) -> None:
        self._chunk, self._rules, self._at = chunk, rules, at
        self._records: list[tuple[int, Source, Fate, bytes]] = []
        self._bad: list[Refused] = []
        self._empty = 0
        self._targets = {chunk.source.target}

    def take(self, bare: bytes, line: bytes, place: Position) -> None:
        """Make a record of a line, or refuse it, or count it as empty."""
        if not bare:
            self._empty += 1
            return
        fate = Fate.DELIVERED
        source, fault = self._chunk.source, _fault(bare)
        if (source.foreign or self._rules.router) and not fault and (target := self._choose(bare)) != source.target:
            source = replace(source, target=target)
        fields = fields_for(self._rules, source.target, source.path if source.foreign else "")
        untrusted = fault or source.foreign
        record = repair(bare, at=self._at, fields=fields) if untrusted else add_to_line(bare, fields)
        if record is None and self._rules.wrap:
            record = wrap(bare, at=self._at, place=_place(source, place.offset), fields=fields)
            fate = Fate.WRAPPED
        if record is None:
            self._bad.append(Refused(source, place.line, line, fault, offset=place.offset))
        else:
            self._records.append((place.line, source, fate, record))

    def checked(self) -> Checked:
        """Put neighbours together that go to the same stream and count as the same."""
        pieces: list[Piece] = []
        keyed = enumerate(self._records)
        for _, group in groupby(keyed, key=lambda item: (item[1][0] - item[0], item[1][1:3])):
            run = [record for _, record in group]
            first, source, fate, _ = run[0]
            lines = [record + b"\n" for *_, record in run]
            pieces.append(Piece(source, first, lines, sum(map(len, lines)), fate))
        return Checked(self._chunk, tuple(pieces), tuple(self._bad), self._empty)

    def _choose(self, line: bytes) -> str:
        source, rules = self._chunk.source, self._rules
        if rules.router is not None:
            target = rules.router.name_of_line(line, foreign=source.foreign, at=self._at)
            return _admitted(target, rules.router.default_of(target), 1, rules)
        try:
            facts = _facts.decode(line)
        except msgspec.MsgspecError:
            facts = NO_FACTS
        target = _admitted(_target(facts, rules), _default(facts, rules), 1, rules)
        if target not in self._targets and len(self._targets) >= _MAX_TARGETS:
            return self._chunk.source.target
        self._targets.add(target)
        return target


def _place(source: Source, offset: int) -> dict[str, Any]:
    return {"path": source.path, "offset": offset}


def _stamp(at: str) -> Fields:
    return {"@timestamp": at, "tags": [TIMESTAMP]}


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
