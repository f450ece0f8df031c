"""`shipper collect`: the embedded collector, behind the extra of that name."""

from __future__ import annotations

from pathlib import Path

from shipper.errors import ConfigError


def collect(listen: str, data: Path) -> None:
    """
    Serve until a signal.

    Args:
        listen: `host:port`; port 0 takes a free one.
        data: Folder of the records, created if it is missing.

    Raises:
        ConfigError: The extra is not installed, the address is in use, or the folder cannot be used.
    """
    try:
        from shipper.collector.app import CollectorError, serve  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"{exc.name} is not installed; install the collector with: pip install 'jsonlog-shipper[collector]'"
        ) from exc
    try:
        serve(listen, data)
    except CollectorError as exc:
        raise ConfigError(str(exc)) from exc
