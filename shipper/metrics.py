"""
The figures of a run: everything that happens is counted here, in one place, and read by whoever shows it.

Counting is plain addition, so that it costs the hot path nothing to speak of; the text for Prometheus is made when somebody
asks for it, and only then is its library imported.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from shipper.core.accounting import Imbalance, Tally
from shipper.core.model import Advice, Fate
from shipper.events import (
    Answered,
    BeyondTargets,
    ChunkRead,
    Committed,
    Emit,
    Settled,
    SinkFailed,
    SinkFound,
    SinkRecovered,
    StateFailed,
    StateRecovered,
)

BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
NO_ANSWER_YET = "the store has not answered yet"


@dataclass(slots=True)
class Live:
    """
    What can only be looked up, not counted: how things are at this moment.

    Args:
        files: Files that are followed.
        unreadable: Why a file that should be is not, by path.
        in_flight: Lines that have been read and are not settled.
        lag_bytes: Bytes that are known of and not acknowledged.
        oldest_at: The time of the oldest record that is not acknowledged, in seconds since 1970; None when there is none.
        dead_bytes: The size of the dead-letter file.
    """

    files: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    in_flight: int = 0
    lag_bytes: int = 0
    oldest_at: float | None = None
    dead_bytes: int = 0


@dataclass(slots=True)
class Figures:
    """
    Counts the events of one run and hands them on.

    Args:
        emit: Takes every event after it was counted.
        now: Seconds since 1970.
    """

    emit: Emit
    now: Callable[[], float] = time.time
    tally: Tally = field(default_factory=Counter)
    lines_read: int = 0
    bytes_read: int = 0
    bytes_settled: int = 0
    requests: Counter[tuple[Advice, int]] = field(default_factory=Counter)
    commits: int = 0
    beyond_targets: int = 0
    delays: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))  # lines, by how long they took
    delays_sum_s: float = 0.0
    sink: str = ""
    sink_fails: str = NO_ANSWER_YET
    state_fails: dict[str, str] = field(default_factory=dict)
    closes: bool = True

    def __call__(self, event: object) -> None:
        """Count an event and pass it on."""
        match event:
            case BeyondTargets():
                self.beyond_targets += event.lines
            case ChunkRead():
                self.lines_read += event.lines
                self.bytes_read += event.size
            case Settled():
                self._settle(event)
            case Answered():
                self.requests[event.advice, event.status] += 1
            case Committed():
                self.commits += 1
            case _:
                self._note(event)
        self.emit(event)

    def _note(self, event: object) -> None:
        """Remember what is wrong, or is so no longer."""
        match event:
            case SinkFound():
                self.sink, self.sink_fails = event.kind, ""
            case SinkFailed():
                self.sink_fails = event.reason
            case SinkRecovered():
                self.sink_fails = ""
            case StateFailed():
                self.state_fails[event.what] = event.reason
            case StateRecovered():
                self.state_fails.pop(event.what, None)
            case Imbalance():
                self.closes = False

    @property
    def why_not_ready(self) -> str:
        """What an operator may have to act on, in one sentence; empty while all is well."""
        not_closed = "" if self.closes else "the accounting does not close"
        return "; ".join(filter(None, (self.sink_fails, *self.state_fails.values(), not_closed)))

    def _settle(self, event: Settled) -> None:
        self.tally.update(event.tally)
        self.bytes_settled += event.size
        now = self.now()
        for written_at, lines in event.written:
            delay = max(0.0, now - written_at)
            self.delays[bisect_left(BUCKETS_S, delay)] += lines
            self.delays_sum_s += delay * lines


def exposition(figures: Figures, live: Live) -> tuple[bytes, str]:
    """
    Write all figures as Prometheus reads them.

    Returns:
        The text and its content type.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(figures, live))
    return generate_latest(registry), CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True, eq=False)  # the registry keeps it in a dict
class _Page:
    """What the library asks for the figures of one answer."""

    figures: Figures
    live: Live

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import (  # noqa: PLC0415 (half as long as all other imports together)
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        figures, live = self.figures, self.live
        records = CounterMetricFamily("shipper_records", "Lines by how they have ended.", labels=["fate"])
        for fate in Fate:
            records.add_metric([fate.value], figures.tally[fate])
        yield records
        requests = CounterMetricFamily(
            "shipper_requests", "Requests with records, by what came of them.", labels=["outcome", "status"]
        )
        for (advice, status), number in figures.requests.items():
            requests.add_metric([advice.value, str(status) if status else "none"], number)
        yield requests
        buckets, below = [], 0
        for bound, lines in zip((*map(str, BUCKETS_S), "+Inf"), figures.delays, strict=True):
            below += lines
            buckets.append((bound, below))
        yield HistogramMetricFamily(
            "shipper_delivery_seconds",
            "From a record's timestamp to its acknowledgement.",
            buckets=buckets,
            sum_value=figures.delays_sum_s,
        )
        again = sum(number for (advice, _), number in figures.requests.items() if advice is not Advice.DONE)
        oldest_s = max(0.0, figures.now() - live.oldest_at) if live.oldest_at is not None else 0.0
        for kind, name, text, value in (
            (CounterMetricFamily, "lines_read", "Lines read, by their newlines.", figures.lines_read),
            (CounterMetricFamily, "read_bytes", "Bytes read.", figures.bytes_read),
            (CounterMetricFamily, "settled_bytes", "Bytes of lines that have ended.", figures.bytes_settled),
            (CounterMetricFamily, "retries", "Requests after which something had to be sent again.", again),
            (
                CounterMetricFamily,
                "beyond_targets",
                "Lines under a name of defaults, by max_targets.",
                figures.beyond_targets,
            ),
            (CounterMetricFamily, "checkpoint_commits", "Commits of the checkpoint.", figures.commits),
            (GaugeMetricFamily, "in_flight_lines", "Lines read that have not ended.", live.in_flight),
            (GaugeMetricFamily, "lag_bytes", "Bytes known of and not acknowledged.", live.lag_bytes),
            (GaugeMetricFamily, "oldest_unacknowledged_seconds", "Age of the oldest such record.", oldest_s),
            (GaugeMetricFamily, "files", "Files that are followed.", live.files),
            (GaugeMetricFamily, "files_unreadable", "Files that cannot be read.", len(live.unreadable)),
            (GaugeMetricFamily, "dead_letters_bytes", "Size of the dead-letter file.", live.dead_bytes),
            (GaugeMetricFamily, "sink_up", "1 while the sink takes records.", int(not figures.sink_fails)),
            (GaugeMetricFamily, "ready", "0 while an operator may have to act.", int(not figures.why_not_ready)),
            (GaugeMetricFamily, "accounting_closes", "0 if lines have got lost or doubled.", int(figures.closes)),
        ):
            yield kind(f"shipper_{name}", text, value=value)
