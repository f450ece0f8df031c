"""
Follows files live: new files, new parts, rotation by rename or truncation, processes that end and start.

Strategy: everything that comes in during one tick is held until the next one, so that a slower neighbour's earlier
lines still come before it. A part of ours whose writer is dead (its lock is free) and which was read to its end is let
go, so that ten thousand finished files cost nothing.
"""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Callable, Iterator

from jsonlog.files.protocol import is_alive
from jsonlog.view.merge import Merge, take
from jsonlog.view.paths import Found, Search
from jsonlog.view.source import Source
from jsonlog.view.times import key_now

TICK_S = 0.25
_PROBE_S = 2.0
_BLOCK = 256 << 10
_SHORT_ROUND_S = 0.5
_LIST_S = 10.0


class Follower:
    """
    Follows what a command line names.

    Args:
        search: Lists the files that are there.
        make: Makes the source of one writer out of its files.
        sources: Those of the files that are known already.
    """

    def __init__(self, search: Search, make: Callable[[list[Found]], Source], sources: list[Source]) -> None:
        self._search = search
        self._make = make
        self._sources = sorted(sources, key=lambda source: source.rank)
        self._known = {file.path for source in sources for file in source.files}
        self._probe_at = 0.0
        self._scan_at = 0.0
        self._list_at = 0.0

    def catch_up(self) -> Iterator[list[bytes]]:
        """
        Give what the files hold already, in rounds up to the moment at which each begins, until a round is short.

        Or until it is no shorter than the one before: then it is the number of the files that takes the time.
        """
        pipes = [source for source in self._sources if source.is_pipe()]
        files = [source for source in self._sources if source not in pipes]
        before = float("inf")
        while before > _SHORT_ROUND_S:
            began = time.monotonic()
            merge = Merge(files)
            yield from merge.batches(key_now())
            files = merge.release_all()
            for source in files:
                source.at_end = False
            took = time.monotonic() - began
            if took > before * 0.75:
                break
            before = took
        self._sources = sorted(files + pipes, key=lambda source: source.rank)

    def ticks(self) -> Iterator[list[bytes]]:
        """Give what came in during each tick, mostly nothing; ends when only pipes were named and they have ended."""
        held = b""
        while self._sources or self._known != {None}:
            self._scan()
            behind = [source for source in self._sources if source.fill(_BLOCK) and source.fill(_BLOCK)]
            yield take(self._sources, min([held, *(source.settled for source in behind)]), None)
            held = max((source.keys[-1] for source in self._sources if source.keys), default=b"")
            self._let_go()
            if not behind:
                time.sleep(TICK_S)

    def _scan(self) -> None:
        began = time.monotonic()
        if began < self._scan_at or not (self._search.may_find_more() or began >= self._list_at):
            return
        used = time.thread_time()
        writers = {source.rank: source for source in self._sources}
        for file in self._search.find():
            if file.path in self._known:
                continue
            self._known.add(file.path)
            source = writers.get(file.rank)
            if source is None:
                source = writers[file.rank] = self._make([file])
                insort(self._sources, source, key=lambda one: one.rank)
            else:
                source.files.append(file)
        # Listing a huge folder may take a twentieth of a core.
        self._scan_at = began + 20 * (time.thread_time() - used)
        self._list_at = began + _LIST_S  # whatever the folders say: not every file system is a local one

    def _let_go(self) -> None:
        """Forget the sources from which nothing can come any more."""
        now = time.monotonic()
        probe = now >= self._probe_at
        if probe:
            self._probe_at = now + _PROBE_S
        for source in list(self._sources):
            if source.keys or source.files or not source.at_end:
                continue
            current = source.current
            if not source.open_end:
                self._sources.remove(source)
                if current is not None and current.may_return:
                    self._known.discard(current.path)
            elif probe and not _alive(current):
                source.follow = False  # the next tick reads what came before the writer died, and is done


def _alive(file: Found | None) -> bool:
    """Whether a part may still grow; what the lock cannot tell is taken for alive."""
    if file is None or file.path is None or file.name is None or not file.name.locked:
        return True
    return is_alive(str(file.path))
