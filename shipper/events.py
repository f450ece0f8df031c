"""
Everything that happens, as one frozen value each. The console and the tests listen at the same place: one callable.

`str()` of an event is the sentence for the operator; an event without a sentence is only counted.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from shipper.core.accounting import Ledger, Tally
from shipper.core.model import Advice, Batch, Fate
from shipper.lag import written_at

Emit = Callable[[object], None]

_CLEAR = "\r\x1b[K"

_ENDINGS = (
    (Fate.RESCUED, "of them rescued from a conflict with the mapping"),
    (Fate.WRAPPED, "of them wrapped"),
    (Fate.DUPLICATE, "were there already"),
    (Fate.FILTERED, "filtered by the store"),
    (Fate.FAILURE_STORED, "in the store's failure store"),
    (Fate.DEAD_LETTERED, "in the dead-letter file"),
)


@dataclass(frozen=True, slots=True)
class Started:
    """The shipper runs."""

    paths: tuple[str, ...]
    to: str
    state: str

    def __str__(self) -> str:
        return f"shipping {', '.join(self.paths)} to {self.to} (state in {self.state})"


@dataclass(frozen=True, slots=True)
class Listening:
    """Metrics, health and readiness are served."""

    url: str

    def __str__(self) -> str:
        return f"metrics at {self.url}/metrics, also /healthz and /readyz"


@dataclass(frozen=True, slots=True)
class Reloading:
    """A signal asked for the settings to be read again; *problem* says why they are not taken over."""

    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return f"the settings are kept as they are: {self.problem}"
        return "reading the settings again; what is not acknowledged is sent again under the same ids"


@dataclass(frozen=True, slots=True)
class TimedOut:
    """`--once` was given a time, and it was too short."""

    timeout_s: float
    why: str

    def __str__(self) -> str:
        return f"not done after {self.timeout_s:g} s{': ' + self.why if self.why else ''}"


@dataclass(frozen=True, slots=True)
class SinkFound:
    """What stands behind the URL is known now."""

    kind: str

    def __str__(self) -> str:
        return f"the sink is {self.kind}"


@dataclass(frozen=True, slots=True)
class NoFolderYet:
    """The folder of the files is not there, which is fine when the application has not started yet."""

    folder: str

    def __str__(self) -> str:
        return f"the folder {self.folder} does not exist yet; waiting for it (check --path if it should)"


@dataclass(frozen=True, slots=True)
class NotStarted:
    """A signal came before anything could be shipped."""

    why: str

    def __str__(self) -> str:
        return f"stopped before anything was shipped: {self.why}; what there is waits in the files"


@dataclass(frozen=True, slots=True)
class WatchingFailed:
    """The kernel cannot tell what changes."""

    reason: str

    def __str__(self) -> str:
        return f"cannot watch the folders ({self.reason}): looking again and again in place of that"


@dataclass(frozen=True, slots=True)
class FileLost:
    """A file was deleted before all of it was read, and cannot be read on."""

    path: str
    left: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path} was deleted with {self.left} bytes that were not read: {self.reason}"


@dataclass(frozen=True, slots=True)
class FileGone:
    """No name leads to a file any more, and not all of it has been read yet."""

    path: str
    left: int

    def __str__(self) -> str:
        return f"{self.path} was deleted or moved away with {self.left} bytes that are not read yet; they are read from the open file"


@dataclass(frozen=True, slots=True)
class NothingMatches:
    """No file matches a pattern, which is fine when the application has not started yet."""

    pattern: str

    def __str__(self) -> str:
        return f"no file matches {self.pattern} (check --path if there should be some)"


@dataclass(frozen=True, slots=True)
class FileFound:
    """A file is followed from now on."""

    path: str
    offset: int


@dataclass(frozen=True, slots=True)
class FileUnreadable:
    """A file cannot be read. Said once per file and reason; tried again."""

    path: str
    reason: str

    def __str__(self) -> str:
        hint = " (the shipper needs read permission)" if self.reason == os.strerror(errno.EACCES) else ""
        return f"cannot read {self.path}: {self.reason}; it is tried again{hint}"


@dataclass(frozen=True, slots=True)
class FileTruncated:
    """A foreign file is shorter than what was read of it, or holds other bytes: it is read anew from its start."""

    path: str

    def __str__(self) -> str:
        return f"{self.path} was truncated or rewritten; it is read from its start"


@dataclass(frozen=True, slots=True)
class FileDeleted:
    """A finished part was deleted, or moved to the archive, since everything in it is acknowledged."""

    path: str


@dataclass(frozen=True, slots=True)
class ArchiveFailed:
    """A finished part cannot be archived; it stays where it is."""

    folder: str
    reason: str

    def __str__(self) -> str:
        return f"cannot archive into {self.folder}: {self.reason}; the files stay where they are, trying again"


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """Lines were read, as many as there are newlines; they are in flight until they are settled."""

    lines: int
    size: int


@dataclass(frozen=True, slots=True)
class Answered:
    """One request has come to its end: with a status, or without an answer (0); and what is to be done with what is left."""

    status: int
    advice: Advice


@dataclass(frozen=True, slots=True)
class Settled:
    """
    The lines of a batch have all ended; the checkpoint may pass them.

    Args:
        tally: How they have ended.
        lines: How many were read.
        size: Bytes of what was read.
        written: When the first record of each chunk was written, in seconds since 1970, and how many lines came with it.
    """

    tally: Tally
    lines: int
    size: int
    written: tuple[tuple[float, int], ...] = ()


def settled(batch: Batch, ledger: Ledger) -> Settled:
    """Build the event of a batch that is done."""
    chunks = [checked.chunk for checked in batch.chunks]
    firsts = ((checked.pieces[0].lines[0], checked.chunk.lines) for checked in batch.chunks if checked.pieces)
    times = ((written_at(first), lines) for first, lines in firsts)
    return Settled(
        ledger.total,
        sum(chunk.lines for chunk in chunks),
        sum(chunk.size for chunk in chunks),
        tuple((time, lines) for time, lines in times if time is not None),
    )


@dataclass(frozen=True, slots=True)
class Committed:
    """The checkpoint has passed what was settled."""

    files: int


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """Records were put aside, since they can never be delivered as they are."""

    count: int
    path: str
    line: int
    reason: str
    file: str

    def __str__(self) -> str:
        more = f" (and {self.count - 1} more)" if self.count > 1 else ""
        return f"{self.path} line {self.line + 1}{more} cannot be shipped: {self.reason}; kept in {self.file}"


@dataclass(frozen=True, slots=True)
class Rescued:
    """The mapping refuses a part of a record; it is delivered with that part as text. Said once per stream and field."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return (
            f"the store's mapping refuses a part of {self.path} line {self.line + 1} ({self.reason[:300]}); such records are "
            "delivered with that part as text in shipper.rescued"
        )


@dataclass(frozen=True, slots=True)
class LookupsForbidden:
    """The store does not let us look for records. Said once."""

    why: str

    def __str__(self) -> str:
        return (
            f"cannot look up records that may have been stored before ({self.why}): after an outage or a crash together with a "
            "rollover some may be stored twice, none is lost; it takes the privileges read, maintenance and view_index_metadata"
        )


@dataclass(frozen=True, slots=True)
class SameIdTwice:
    """Another record has the id of a line; the line is delivered under a new one."""

    path: str
    line: int
    id: str

    def __str__(self) -> str:
        return (
            f"the store has another record under the id {self.id} of {self.path} line {self.line + 1}; the line is delivered under "
            "a new id (is the folder of the state a copy of another machine's?)"
        )


@dataclass(frozen=True, slots=True)
class StoredTwice:
    """Second copies arose around a rollover and could not be removed."""

    count: int
    id: str

    def __str__(self) -> str:
        return (
            f"{self.count} records are stored twice since a rollover came between two attempts, the first one as {self.id}; they "
            "could not be removed, which takes the privilege delete"
        )


@dataclass(frozen=True, slots=True)
class SinkFailed:
    """The sink does not take what is sent. Said once until it does again."""

    reason: str
    operator: bool

    def __str__(self) -> str:
        what = "needs attention" if self.operator else "is not available"
        return f"the sink {what}: {self.reason}; nothing is lost, trying again"


@dataclass(frozen=True, slots=True)
class StateFailed:
    """*what*, checkpoint or dead letters, cannot be written. Said once until it can."""

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}; nothing is passed over, trying again"


@dataclass(frozen=True, slots=True)
class StateRecovered:
    """*what* can be written again."""

    what: str

    def __str__(self) -> str:
        return f"the {self.what} can be written again"


@dataclass(frozen=True, slots=True)
class SinkRecovered:
    """The sink takes records again."""

    def __str__(self) -> str:
        return "the sink takes records again"


@dataclass(frozen=True, slots=True)
class TemplateInstalled:
    """Template or stream was not there and has been made."""

    what: str

    def __str__(self) -> str:
        return f"installed {self.what}"


@dataclass(frozen=True, slots=True)
class Draining:
    """A signal asked the shipper to stop."""

    deadline_s: float

    def __str__(self) -> str:
        return f"stopping: shipping what is left, for {self.deadline_s:g} s at most (a second signal stops at once)"


@dataclass(frozen=True, slots=True)
class Stopped:
    """The last word: how the lines of this run have ended, and how many bytes are not acknowledged."""

    tally: Tally
    left: int

    def __str__(self) -> str:
        delivered = sum(self.tally[fate] for fate in (Fate.DELIVERED, Fate.RESCUED, Fate.WRAPPED))
        text = f"{delivered} records delivered"
        for fate, words in _ENDINGS:
            if self.tally[fate]:
                text += f", {self.tally[fate]} {words}"
        return text + (
            f"; at least {self.left} bytes are left for the next start" if self.left else "; nothing is left"
        )


class Console:
    """Writes the sentences of events to stderr, the same one once in a row, and a line of progress if that is a terminal."""

    def __init__(self) -> None:
        self._last = ""
        self._line = False
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, event: object) -> None:
        """Print *event* if it has a sentence."""
        if type(event).__str__ is object.__str__:
            return
        self.say(str(event))

    def say(self, text: str) -> None:
        """Print a sentence."""
        if text != self._last:
            self._last = text
            self._write(f"{_CLEAR if self._line else ''}shipper: {text}\n")
            self._line = False

    def progress(self, text: str) -> None:
        """Show a line that the next one takes the place of; only for terminals."""
        self._line = True
        self._write(f"{_CLEAR}{text}")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody listens any more: no reason to stop shipping
            print(text, end="", file=sys.stderr, flush=True)  # noqa: T201 (this is the console)
