"""
gunicorn: its own messages and its access log as records.

    # gunicorn.conf.py
    import jsonlog

    jsonlog.configure(service="shop", directory="logs")
    logger_class = "jsonlog.integrations.gunicorn.Logger"

gunicorn imports this module; an application has no reason to.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from gunicorn import glogging

from jsonlog.integrations.forward import ToRoot

if TYPE_CHECKING:
    from collections.abc import Container
    from datetime import timedelta

# Fields of the access log by the variables of the request that hold them.
_VARIABLES = {
    "method": "REQUEST_METHOD",
    "path": "PATH_INFO",
    "client": "REMOTE_ADDR",
    "user_agent": "HTTP_USER_AGENT",
    "request_id": "HTTP_X_REQUEST_ID",
}


class Logger(glogging.Logger):  # type: ignore[misc]
    """
    gunicorn's logger, whose records go to the handlers of the root logger, with the access log as fields.

    The root logger is set up by the application as usual: by `jsonlog.configure` in the configuration file, by
    `logconfig_dict` or in any other way. Where nobody has done so, `jsonlog.configure()` is called, so that the
    environment says the rest. gunicorn's console handlers are taken away; files and syslog that its settings ask for stay,
    and so do handlers that `logconfig_dict` gives to `gunicorn.error` and `gunicorn.access` by name.

    For a subclass in the configuration file: `quiet` names paths that are not logged, such as a health check's; `fields`
    says what is.
    """

    quiet: Container[str] = frozenset()

    def setup(self, cfg: Any) -> None:
        """Set up logging, at the start and at each reload of the configuration."""
        given = cfg.logconfig_dict
        if given:
            # What a `dictConfig` leaves out gunicorn fills in, with loggers that use handlers of its own.
            missing: dict[str, Any] = {"loggers": {}} | ({"root": {}} if "handlers" in given else {})
            cfg.set("logconfig_dict", missing | given)
        super().setup(cfg)
        if not logging.getLogger().handlers:
            import jsonlog  # noqa: PLC0415 (it imports nothing of ours before it is asked)

            jsonlog.configure()
        _join(self.error_log)
        _join(self.access_log)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log one answered request; never raises, since the answer is out already."""
        if environ.get("PATH_INFO") in self.quiet or not self.access_log.isEnabledFor(logging.INFO):
            return
        try:
            fields = self.fields(resp, req, environ, request_time)
            summary = [str(fields[name]) for name in ("method", "path", "status") if name in fields]
            self.access_log.info("%s", " ".join(summary), extra=fields)
        except Exception:  # noqa: BLE001 (it is logged)
            self.exception("cannot log a request")

    def fields(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> dict[str, Any]:
        """
        Give what is logged of a request.

        The query string is not: it often holds what should not be read by everybody.

        Args:
            resp: gunicorn's response: `status`, `headers`, `sent` (bytes).
            req: gunicorn's request.
            environ: The WSGI environment, or what the ASGI worker makes to look like it.
            request_time: How long it took.

        Returns:
            What will stand in `extra`.
        """
        del req
        fields: dict[str, Any] = {name: environ[key] for name, key in _VARIABLES.items() if environ.get(key)}
        fields["status"] = int(str(resp.status).split(None, 1)[0])
        # Not `total_seconds`: the ASGI worker gives something that has these two alone.
        fields["duration_ms"] = round(request_time.seconds * 1000 + request_time.microseconds / 1000, 3)
        sent = getattr(resp, "sent", None)
        return fields if sent is None else {**fields, "bytes": sent}

    def _compute_access_log_enabled(self) -> bool:
        return True  # whatever `accesslog` says: that is about gunicorn's own file


def _join(logger: logging.Logger) -> None:
    """Let a logger of gunicorn's write by the root logger's handlers."""
    named = False  # whether the application has given it handlers by name
    for handler in list(logger.handlers):
        if not getattr(handler, "_gunicorn", False):
            named |= not isinstance(handler, ToRoot)
        elif type(handler) is logging.StreamHandler:
            logger.removeHandler(handler)
    if (logger.propagate or not named) and not any(isinstance(one, ToRoot) for one in logger.handlers):
        logger.addHandler(ToRoot())
    # A handler in place of propagation: uvicorn's workers take over the handlers of these loggers, and nothing else.
    logger.propagate = False
