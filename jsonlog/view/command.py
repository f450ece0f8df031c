"""`jsonlog view`: START READING HERE. Files → sources → merge → query → render → stdout."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import Any

from jsonlog.view.fields import parse
from jsonlog.view.follow import Follower
from jsonlog.view.merge import Merge
from jsonlog.view.options import Options, read_options
from jsonlog.view.paths import Found, Search
from jsonlog.view.prefilter import make_prefilter
from jsonlog.view.query import Query
from jsonlog.view.readers import Handles
from jsonlog.view.render import Renderer
from jsonlog.view.source import Sieve, Source
from jsonlog.view.table import Table
from jsonlog.view.tail import shorten
from jsonlog.view.text import disarm_json, one_line
from jsonlog.view.times import LocalClock

Batches = Iterable[list[bytes]]
Shape = Callable[[list[bytes]], bytes]
_FLUSH_BYTES = 256 << 10
_STDOUT = 1


def run(arguments: argparse.Namespace) -> int:
    """
    Run `jsonlog view`.

    Raises:
        ViewError: A path or a filter cannot be used.
    """
    gc.disable()  # lines and records make no cycles; looking for some takes a tenth of the time
    view(read_options(arguments))
    return 0


def view(options: Options) -> None:
    """
    Print what *options* ask for.

    Raises:
        ViewError: A path cannot be used.
        BrokenPipeError: Nobody reads the output any more.
    """
    search = Search(options.paths, waiting=options.follow)
    make = partial(_make_source, Handles(), _make_sieve(options), follow=options.follow)
    found = search.find()
    shape = _make_shape(options, found)
    sources = _begin(options, found, make)
    if options.output == "csv":
        _write(Table().header().encode(errors="backslashreplace"))
    if not options.follow:
        _print(_last(Merge(sources).batches(), options), shape)
        return
    follower = Follower(search, make, sources)
    _print(_last(follower.catch_up(), options), shape)
    for batch in follower.ticks():
        _print(_matching([batch], options.query), shape)


def _begin(options: Options, found: list[Found], make: Callable[[list[Found]], Source]) -> list[Source]:
    """Make the source of each writer; where only the last lines are wanted and all pass, let it begin near its end."""
    sources = [make(list(files)) for _, files in groupby(found, key=lambda file: file.rank)]
    if options.last is not None and options.query.is_empty and not (options.since or options.until):
        shorten(sources, options.last)
    return sources


def _make_sieve(options: Options) -> Sieve:
    return Sieve(make_prefilter(options.query), options.since, options.until)


def _make_source(handles: Handles, sieve: Sieve, files: list[Found], *, follow: bool) -> Source:
    return Source(files[0].rank, files, handles, sieve, follow=follow)


def _make_shape(options: Options, found: list[Found]) -> Shape:
    """Choose how lines become output."""
    if options.output == "json":
        return _json_for_terminal if sys.stdout.isatty() else _json
    if options.output == "csv":
        return partial(_rendered, Table().render, sys.stdout.isatty())
    clock = LocalClock() if options.local else None
    renderer = Renderer(colour=options.colour, everything=options.everything, clock=clock)
    for file in found:
        if file.name is not None:
            renderer.announce(file.name.service, file.name.host, file.name.pid)
    return partial(_rendered, renderer.render, False)


def _json(lines: list[bytes]) -> bytes:
    return b"\n".join(lines) + b"\n"


def _json_for_terminal(lines: list[bytes]) -> bytes:
    return disarm_json(_json(lines))


def _rendered(render: Callable[[bytes, dict[str, Any] | None], str], disarm: bool, lines: list[bytes]) -> bytes:  # noqa: FBT001
    text = "".join([render(line, parse(line)) for line in lines])
    if disarm:
        text = "\n".join(map(one_line, text.split("\n")))
    return text.encode(errors="backslashreplace")


def _matching(batches: Batches, query: Query) -> Iterator[list[bytes]]:
    if query.is_empty:
        yield from batches
        return
    for batch in batches:
        yield [line for line in batch if query.accepts(line, parse(line))]


def _last(batches: Batches, options: Options) -> Iterator[list[bytes]]:
    """Give only the last ones, if so many were asked for."""
    matching = _matching(batches, options.query)
    if options.last is None:
        yield from matching
        return
    kept: deque[bytes] = deque(maxlen=options.last)
    for batch in matching:
        kept.extend(batch)
    yield list(kept)


def _print(batches: Iterable[list[bytes]], shape: Shape) -> None:
    """Write in large pieces; what is there when the input makes a pause is written at once."""
    for batch in batches:
        for start in range(0, len(batch), 5000):
            _write(shape(batch[start : start + 5000]))


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(_STDOUT, rest) :]
