"""How the settings become the door to the network: hosts, credentials, certificates, proxy."""

from __future__ import annotations

import ssl

from shipper.config import Settings
from shipper.core.shapes import SHAPES
from shipper.credentials import Credentials
from shipper.errors import ConfigError
from shipper.transport import Security, Transport


def open_transport(settings: Settings, url: str | None = None, *, connections: int = 8) -> Transport:
    """
    Build the transport.

    Args:
        settings: What says how.
        url: Where to, in place of `to`.
        connections: Requests at once.

    Raises:
        ConfigError: A URL, a file or a combination of settings is not usable.
    """
    compression = "none" if settings.compression == "auto" else settings.compression
    return Transport(
        settings.to if url is None else url,
        compression=compression,
        timeout_s=settings.timeout_s,
        connections=connections,
        security=Security(_credentials(settings), _context(settings), settings.proxy),
    )


def _credentials(settings: Settings) -> Credentials | None:
    given = {
        "user": settings.user,
        "api_key": settings.api_key or settings.api_key_file,
        "bearer_token": settings.bearer_token or settings.bearer_token_file,
    }
    named = [name for name, value in given.items() if value]
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)}: give one of them, the store takes one `Authorization`")
    for one, file in (
        ("password", "password_file"),
        ("api_key", "api_key_file"),
        ("bearer_token", "bearer_token_file"),
    ):
        if getattr(settings, one) and getattr(settings, file):
            raise ConfigError(f"{one} and {file}: give one of them")
    if settings.user:
        return Credentials("Basic", settings.password or "", file=settings.password_file, user=settings.user)
    shape = SHAPES.get(settings.sink, SHAPES["http"])
    if given["api_key"] and shape.key_header:
        return Credentials("", settings.api_key or "", file=settings.api_key_file, name=shape.key_header)
    if given["api_key"]:
        return Credentials("ApiKey", settings.api_key or "", file=settings.api_key_file)
    if given["bearer_token"]:
        return Credentials(shape.scheme, settings.bearer_token or "", file=settings.bearer_token_file)
    if settings.password or settings.password_file:
        raise ConfigError("password: whose? give the name with user")
    return None


def _context(settings: Settings) -> ssl.SSLContext | None:
    """Build what verifies certificates; None where nothing is set, so that it is built only when it is needed."""
    if settings.tls_key and not settings.tls_certificate:
        raise ConfigError("tls_key: it needs tls_certificate, too")
    if settings.tls_verify and not settings.tls_ca and not settings.tls_certificate:
        return None
    name, file = "tls_ca", settings.tls_ca
    try:
        context = ssl.create_default_context(cafile=str(file.expanduser()) if file else None)
        if settings.tls_certificate:
            name, file = "tls_certificate", settings.tls_certificate
            key = settings.tls_key.expanduser() if settings.tls_key else None
            context.load_cert_chain(file.expanduser(), key)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"{name} {file}: {exc.strerror or exc}") from exc
    if not settings.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
