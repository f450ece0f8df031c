"""Acknowledgements in any order: the committed place never passes what is not acknowledged."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shipper.core.acks import AckTracker
from shipper.core.model import Fate, Source
from tests.core.support import checked


@given(st.data(), st.integers(1, 3), st.integers(1, 12))
def test_the_committed_place_is_the_contiguous_prefix(data: st.DataObject, files: int, count: int) -> None:
    """After each answer, in any order and mixed with new chunks, what is committed is the settled prefix; in the end all of it."""
    tracker = AckTracker()
    waiting, settled, committed = [], {}, {}
    counted: dict[str, int] = {}
    lines: dict[str, int] = {}
    ends = dict.fromkeys(range(files), (0, 0))
    todo = [file for file in range(files) for _ in range(count)]
    while todo or waiting:
        if todo and (not waiting or data.draw(st.booleans())):
            file = todo.pop(data.draw(st.integers(0, len(todo) - 1)))
            offset, line = ends[file]
            new = checked(
                b"{}\n" * data.draw(st.integers(1, 3)), offset=offset, line=line, source=Source(str(file), "", "")
            ).chunk
            ends[file] = (new.end.offset, new.end.line)
            tracker.sent(new)
            waiting.append(new)
            continue
        done = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
        key = done.source.key
        settled.setdefault(key, {})[done.start.offset] = done.end
        commit = tracker.settle(done, Counter({Fate.DELIVERED: done.lines}))
        place = 0
        while place in settled[key]:
            place = settled[key][place].offset
        if commit is not None:
            assert commit.position.offset > committed.get(key, 0)
            committed[key] = commit.position.offset
            counted[key] = counted.get(key, 0) + commit.tally.total()
            lines[key] = lines.get(key, 0) + commit.lines
            assert counted[key] == lines[key] == commit.position.line, "the counts are those of the committed lines"
        assert committed.get(key, 0) == place
        assert tracker.lines == sum(ends[f][1] - lines.get(str(f), 0) for f in ends)
        assert tracker.size == sum(ends[f][0] - committed.get(str(f), 0) for f in ends)
        assert tracker.in_flight(key) == any(c.source.key == key for c in waiting)
    assert tracker.idle
    assert committed == {str(file): offset for file, (offset, _) in ends.items()}
