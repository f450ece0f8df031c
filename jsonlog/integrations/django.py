"""
Django: the fields of a request in its records, without the request object.

    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "jsonlog.integrations.django.RequestFormatter", "service": "shop"}},
        "handlers": {"json": {"class": "jsonlog.ProcessFileHandler", "directory": "logs", "formatter": "json"}},
        "root": {"level": "INFO", "handlers": ["json"]},
    }
    MIDDLEWARE = ["jsonlog.integrations.django.bind_request", …]
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.utils.decorators import sync_and_async_middleware

import jsonlog

# Fields by the entries of `request.META` that hold them.
_VARIABLES = {"client": "REMOTE_ADDR", "request_id": "HTTP_X_REQUEST_ID"}


class RequestFormatter(jsonlog.JsonFormatter):
    """
    A `JsonFormatter` that writes the fields of a request where Django puts the request itself into a record.

    The record is left as it was: `AdminEmailHandler` needs the request. Options are those of `JsonFormatter`.
    """

    def format_bytes(self, record: logging.LogRecord) -> bytes:
        """Format a record as UTF-8 without a newline, `run` and number."""
        request = record.__dict__.get("request")
        if request is not None and not isinstance(request, (str, dict)):
            record = copy.copy(record)
            del record.__dict__["request"]
            for name, value in request_fields(request).items():
                record.__dict__.setdefault(name, value)
        return super().format_bytes(record)


def request_fields(request: Any) -> dict[str, Any]:
    """
    Give the fields of a request.

    Args:
        request: Django's request; anything else (`runserver` logs a socket) has no fields.

    Returns:
        `method`, `path` (without the query string), `client` and `request_id` (of `X-Request-ID`), as far as they are there.
    """
    meta = getattr(request, "META", None)
    if not isinstance(meta, dict):
        return {}
    fields = {"method": request.method, "path": request.path}
    fields.update((name, meta.get(key)) for name, key in _VARIABLES.items())
    return {name: value for name, value in fields.items() if value}


@sync_and_async_middleware  # type: ignore[untyped-decorator]
def bind_request(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Middleware that puts the fields of the request into every record that is made while it is answered."""
    if iscoroutinefunction(get_response):

        async def answer_async(request: Any) -> Any:
            with jsonlog.bind(**request_fields(request)):
                return await get_response(request)

        return answer_async

    def answer(request: Any) -> Any:
        with jsonlog.bind(**request_fields(request)):
            return get_response(request)

    return answer
