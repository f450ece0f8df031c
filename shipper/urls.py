"""URLs: which can be sent to, and how they may be shown."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from shipper.errors import ConfigError

_USER = re.compile(r"(?<=//)[^/]*@")
_COMMA = re.compile(r",(?![^/]*@)")  # one before an @ stands in a password
_PASSWORD = re.compile(r"(?<=//)([^:@/]*):.*@")


def split_urls(text: str) -> tuple[str, ...]:
    """
    Read one URL, or several with commas between them.

    Raises:
        ConfigError: One of them cannot be sent to.
    """
    urls = tuple(check_url(piece.strip()) for piece in _COMMA.split(text) if piece.strip())
    return urls or (check_url(text),)


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_proxy(url: str) -> bool:
    """Tell whether a URL is that of an HTTP proxy."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or no address
        return False


def check_url(url: str) -> str:
    """
    Check that a URL can be sent to.

    Returns:
        The URL.

    Raises:
        ConfigError: It cannot; the message says what is wrong with it.
    """
    example = "give one such as http://localhost:9200"
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError as exc:
        why = "" if "@" in url else f" ({exc})"  # which may quote a piece of the password
        raise ConfigError(f"--to {hide_password(url)}: not a usable URL{why}; {example}") from exc
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"--to {hide_password(url)}: the URL must begin with http:// or https://; {example}")
    if not parts.hostname or not port_ok or " " in url:
        raise ConfigError(f"--to {hide_password(url)}: the URL names no host or no usable port; {example}")
    if parts.query or parts.fragment:
        raise ConfigError(f"--to {hide_password(url)}: the URL may have no '?' or '#'; {example}")
    return url


def without_user(url: str) -> str:
    """Return *url* without user and password."""
    return _USER.sub("", url)


def hide_password(url: str) -> str:
    """Return *url* with its password, if there is one, replaced; also where the URL is not a usable one."""
    return _PASSWORD.sub(r"\1:***@", url)
