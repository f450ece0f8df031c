"""
Fields for every record of a piece of work: a request, a task, a thread.

They live in a context variable, so each asyncio task and each copied context has its own. The mapping behind it is
never changed, only replaced: a child that copies it can bind without touching its parent's.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar, Token

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

    from jsonlog.record.encode import Encoder

_OTEL = "opentelemetry.trace"


class Fields(dict):  # type: ignore[type-arg]
    """
    Bound fields. Never changed, only replaced, so what they look like as JSON can be kept with them.

    Attributes:
        encoded: The last encoder that a record was written by, and these fields as it writes them, empty where they are
            not plain.
    """

    __slots__ = ("encoded",)

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.encoded: tuple[Encoder, bytes] | None = None


bound: ContextVar[Fields | None] = ContextVar("jsonlog", default=None)
"""The fields that are bound here; the formatter reads it. None and empty mean the same."""


class Bound:
    """
    What `bind` returns: leave a `with` block with it, or call `reset`, and what was bound before is there again.

    Neither ever raises, also in another context or task than the one that bound: there, the fields it bound are
    taken away and nothing else is touched.
    """

    __slots__ = ("_before", "_names", "_token")

    def __init__(self, token: Token[Fields | None], names: tuple[str, ...]) -> None:
        self._token: Token[Fields | None] | None = token
        self._names = names
        self._before: dict[str, Any] = {} if token.old_value is Token.MISSING else token.old_value or {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.reset()

    def reset(self) -> None:
        """Put these fields back to what they were before; a second time does nothing."""
        token, self._token = self._token, None
        if token is None:
            return
        # Not `ContextVar.reset`: it refuses tokens of other contexts, and it would undo what was bound in between.
        now = bound.get()
        if not now:
            return
        left = dict(now)
        for name in self._names:
            if name in self._before:
                left[name] = self._before[name]
            else:
                left.pop(name, None)
        bound.set(Fields(left))


def bind(**fields: Any) -> Bound:
    """
    Add fields to the `extra` of every record that is made from here on in this context.

    Args:
        fields: Any names and values. A field that a log call gives itself wins over a bound one of the same name.

    Returns:
        Something to leave again: `with jsonlog.bind(order=17): …`, or `token = jsonlog.bind(…)` and `token.reset()`.
    """
    return Bound(bound.set(Fields({**(bound.get() or {}), **fields})), tuple(fields))


def unbind(*names: str) -> None:
    """Take away bound fields; names that are not bound are passed over."""
    now = bound.get()
    if now:
        bound.set(Fields({name: value for name, value in now.items() if name not in names}))


def clear() -> None:
    """Take away everything that is bound in this context."""
    bound.set(None)


def trace_ids() -> dict[str, str] | None:
    """
    Read the ids of the OpenTelemetry span that the call is in, without importing OpenTelemetry.

    Returns:
        `trace.id` and `span.id` in hexadecimal; None where no span is valid or OpenTelemetry is not in use.
    """
    module: Any = sys.modules.get(_OTEL)
    if module is None:
        return None
    try:
        span = module.get_current_span().get_span_context()
        ids = {"trace.id": f"{span.trace_id:032x}", "span.id": f"{span.span_id:016x}"} if span.is_valid else None
    except Exception:  # noqa: BLE001 (half imported, or another version of its interface: costs the ids, not the record)
        return None
    return ids
