"""`shipper setup`: the index template, installed or brought up to date."""

from __future__ import annotations

import asyncio

from shipper.config import Settings
from shipper.errors import ConfigError
from shipper.resources import load_schema
from shipper.sinks.detect import find_sink
from shipper.sinks.elasticsearch import TEMPLATE, ElasticsearchSink
from shipper.transport import Transport, check_url


def setup(settings: Settings) -> str:
    """
    Install the index template.

    Args:
        settings: `to` says where.

    Returns:
        One sentence on what was done.

    Raises:
        ConfigError: The URL is missing, wrong or no store's.
        SinkError: The store does not answer, or refuses.
    """
    if not settings.to:
        raise ConfigError("nowhere to set up: give --to http://… (or SHIPPER_TO)")
    check_url(settings.to)
    return asyncio.run(_setup(settings))


async def _setup(settings: Settings) -> str:
    transport = Transport(settings.to, timeout_s=settings.timeout_s)
    try:
        sink = await find_sink(transport, kind="auto", compression="none", template=True, emit=lambda _: None)
        if not isinstance(sink, ElasticsearchSink):
            raise ConfigError(f"{transport.url} is {sink.kind}, where there is nothing to set up")
        await sink.install_template(replace=True)
        patterns = ", ".join(load_schema(sink.server.product)["index_patterns"])
        return f"{sink.server.name}: index template {TEMPLATE!r} for {patterns} is installed"
    finally:
        await transport.close()
