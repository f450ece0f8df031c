"""Asks for the mapping where a rescue needs it, and makes pieces of what was rescued; `core.rescue` decides."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from shipper.core.faults import RESCUABLE, Mapped, find_fault, read_mapping
from shipper.core.model import Fate, Outcome, Piece, Refused, Request
from shipper.core.rescue import rescue
from shipper.errors import SinkError
from shipper.events import Emit, Rescued
from shipper.sinks.lookup import Forbidden, Lookup

_SAID_AT_MOST = 100


@dataclass(slots=True)
class Rescuer:
    """
    Changes refused records so that the store may take them.

    Args:
        lookup: Asks the store.
        emit: Takes events.
    """

    lookup: Lookup
    emit: Emit
    _said: set[str] = field(default_factory=set)

    async def rescue(self, refused: Sequence[Refused]) -> Outcome:
        """
        Rescue what can be.

        Returns:
            Records to be sent, and those that nothing can be done for.
        """
        mappings: dict[str, Mapped | None] = {}
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        again: list[Piece] = []
        left: list[Refused] = []
        for one in refused:
            kind = one.reason.partition(":")[0]
            line = None
            if kind in RESCUABLE:
                target = one.source.target
                if find_fault(one.reason).kind == "limit" and target not in mappings:
                    mappings[target] = await self._mapping(target)
                line = rescue(
                    one.data if one.sent is None else one.sent, one.reason, now=now, mapped=mappings.get(target)
                )
            if line is None:
                left.append(one)
                continue
            again.append(
                Piece(one.source, one.line, [line + b"\n"], len(line) + 1, Fate.RESCUED, one.mark, None, one.data)
            )
            self._say(one)
        return Outcome(refused=tuple(left), again=tuple(again))

    async def _mapping(self, target: str) -> Mapped | None:
        """Ask for the mapping of the index that is written to; None when there is no telling."""
        path = f"/{quote(self.lookup.since(target) or target)}/_mapping"
        try:
            response = await self.lookup.ask(Request("GET", path))
            mappings = [entry["mappings"] for entry in json.loads(response.body).values()]
        except (Forbidden, SinkError, ValueError, KeyError, TypeError):
            return None
        return read_mapping(mappings[-1]) if mappings else None

    def _say(self, one: Refused) -> None:
        """Say once per stream and field that something is rescued."""
        fault = find_fault(one.reason)
        about = f"{one.source.target} {fault.kind} {fault.path}"
        if about not in self._said and len(self._said) < _SAID_AT_MOST:
            self._said.add(about)
            self.emit(Rescued(one.source.path, one.line, one.reason))
