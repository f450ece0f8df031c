"""
Everything that happens, as one frozen value each. The console and the tests listen at the same place: one callable.

`str()` of an event is the sentence for the operator; an event without a sentence is only counted.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from shipper.core.accounting import Ledger, Tally
from shipper.core.model import Advice, Batch, Fate
from shipper.lag import written_at

Emit = Callable[[object], None]

_ENDINGS = (
    (Fate.RESCUED, "of them rescued from a conflict with the mapping"),
    (Fate.WRAPPED, "of them wrapped"),
    (Fate.DUPLICATE, "were there already"),
    (Fate.FILTERED, "filtered by the store"),
    (Fate.FAILURE_STORED, "in the store's failure store"),
    (Fate.DEAD_LETTERED, "in the dead-letter file"),
)


class Started(Struct, frozen=True):
    """The shipper runs."""

    paths: tuple[str, ...]
    to: str
    state: str

    def __str__(self) -> str:
        return f"shipping {', '.join(self.paths)} to {self.to} (state in {self.state})"


class Listening(Struct, frozen=True):
    """Metrics, health and readiness are served."""

    url: str

    def __str__(self) -> str:
        return f"metrics at {self.url}/metrics, also /healthz and /readyz"


class Reloading(Struct, frozen=True):
    """A signal asked for the settings to be read again; *problem* says why they are not taken over."""

    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return f"the settings are kept as they are: {self.problem}"
        return "reading the settings again; what is not acknowledged is sent again under the same ids"


class TimedOut(Struct, frozen=True):
    """`--once` was given a time, and it was too short."""

    timeout_s: float
    why: str

    def __str__(self) -> str:
        return f"not done after {self.timeout_s:g} s{': ' + self.why if self.why else ''}"


class SinkFound(Struct, frozen=True):
    """What stands behind the URL is known now."""

    kind: str

    def __str__(self) -> str:
        return f"the sink is {self.kind}"


class NoFolderYet(Struct, frozen=True):
    """The folder of the files is not there, which is fine when the application has not started yet."""

    folder: str

    def __str__(self) -> str:
        return f"the folder {self.folder} does not exist yet; waiting for it (check --path if it should)"


class NotStarted(Struct, frozen=True):
    """A signal came before anything could be shipped."""

    why: str

    def __str__(self) -> str:
        return f"stopped before anything was shipped: {self.why}; what there is waits in the files"


class ChunkRead(Struct, frozen=True):
    """Lines were read, as many as there are newlines; they are in flight until they are settled."""

    lines: int
    size: int


class Answered(Struct, frozen=True):
    """One request has come to its end: with a status, or without an answer (0); and what is to be done with what is left."""

    status: int
    advice: Advice


class Settled(Struct, frozen=True):
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
    firsts = ((checked.pieces[0].record(0), checked.chunk.lines) for checked in batch.chunks if checked.pieces)
    times = ((written_at(first), lines) for first, lines in firsts)
    return Settled(
        ledger.total,
        sum(chunk.lines for chunk in chunks),
        sum(chunk.size for chunk in chunks),
        tuple((time, lines) for time, lines in times if time is not None),
    )


class Committed(Struct, frozen=True):
    """The checkpoint has passed what was settled."""

    files: int


class DeadLettered(Struct, frozen=True):
    """Records were put aside, since they can never be delivered as they are."""

    count: int
    path: str
    line: int
    reason: str
    file: str

    def __str__(self) -> str:
        more = f" (and {self.count - 1} more)" if self.count > 1 else ""
        return f"{self.path} line {self.line + 1}{more} cannot be shipped: {self.reason}; kept in {self.file}"


class Rescued(Struct, frozen=True):
    """The mapping refuses a part of a record; it is delivered with that part as text. Said once per stream and field."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return (
            f"the store's mapping refuses a part of {self.path} line {self.line + 1} ({self.reason[:300]}); such records are "
            "delivered with that part as text in shipper.rescued"
        )


class LookupsForbidden(Struct, frozen=True):
    """The store does not let us look for records. Said once."""

    why: str

    def __str__(self) -> str:
        return (
            f"cannot look up records that may have been stored before ({self.why}): after an outage or a crash together with a "
            "rollover some may be stored twice, none is lost; it takes the privileges read, maintenance and view_index_metadata"
        )


class SameIdTwice(Struct, frozen=True):
    """Another record has the id of a line; the line is delivered under a new one."""

    path: str
    line: int
    id: str

    def __str__(self) -> str:
        return (
            f"the store has another record under the id {self.id} of {self.path} line {self.line + 1}; the line is delivered under "
            "a new id (is the folder of the state a copy of another machine's?)"
        )


class StoredTwice(Struct, frozen=True):
    """Second copies arose around a rollover and could not be removed."""

    count: int
    id: str

    def __str__(self) -> str:
        return (
            f"{self.count} records are stored twice since a rollover came between two attempts, the first one as {self.id}; they "
            "could not be removed, which takes the privilege delete"
        )


class BeyondTargets(Struct, frozen=True):
    """Lines went to a name that is made of defaults, since their own would have been one too many."""

    lines: int


class TooManyTargets(Struct, frozen=True):
    """Records choose more names than there may be. Said once."""

    name: str
    most: int

    def __str__(self) -> str:
        return (
            f"more than {self.most} names of streams or indices are chosen by records; what would go to further ones, such as "
            f"{self.name}, goes to the name with defaults in place of fields (see max_targets)"
        )


class NotRepeated(Struct, frozen=True):
    """Requests that were on their way when the last run ended cannot be made again as they were."""

    reason: str
    lines: int

    def __str__(self) -> str:
        return (
            f"a request of {self.lines} lines that was on its way when the last run ended cannot be repeated as it was ({self.reason}); "
            "what is there of it is sent under another key: an endpoint that knows requests by their keys alone may have it twice"
        )


class SinkFailed(Struct, frozen=True):
    """The sink does not take what is sent. Said once until it does again."""

    reason: str
    operator: bool

    def __str__(self) -> str:
        what = "needs attention" if self.operator else "is not available"
        return f"the sink {what}: {self.reason}; nothing is lost, trying again"


class StateFailed(Struct, frozen=True):
    """*what*, checkpoint or dead letters, cannot be written. Said once until it can."""

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}; nothing is passed over, trying again"


class StateRecovered(Struct, frozen=True):
    """*what* can be written again."""

    what: str

    def __str__(self) -> str:
        return f"the {self.what} can be written again"


class SinkRecovered(Struct, frozen=True):
    """The sink takes records again."""

    def __str__(self) -> str:
        return "the sink takes records again"


class TemplateInstalled(Struct, frozen=True):
    """Template or stream was not there and has been made."""

    what: str

    def __str__(self) -> str:
        return f"installed {self.what}"


class Draining(Struct, frozen=True):
    """A signal asked the shipper to stop."""

    deadline_s: float

    def __str__(self) -> str:
        return f"stopping: shipping what is left, for {self.deadline_s:g} s at most (a second signal stops at once)"


class Stopped(Struct, frozen=True):
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
