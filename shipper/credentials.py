"""What is said in `Authorization`: from settings, or from a file that is read again when it is no longer accepted."""

from __future__ import annotations

import base64
from pathlib import Path

from shipper.errors import ConfigError


class Credentials:
    """
    One way to say who we are.

    Args:
        scheme: `Basic`, `ApiKey`, `Bearer` or another one; empty: the secret stands alone.
        secret: Password, key or token; with `Basic` after the user's name and a colon.
        file: Holds it in place of *secret*.
        user: For `Basic` with a file.
        name: The header.

    Raises:
        ConfigError: The file cannot be read.
    """

    def __init__(
        self, scheme: str, secret: str = "", *, file: Path | None = None, user: str = "", name: str = "authorization"
    ) -> None:
        self.name = name
        self._scheme = scheme
        self._file = file
        self._user = user
        self._secret = secret if file is None else self._read()

    def header(self) -> str:
        """Return the value of the header."""
        secret = f"{self._user}:{self._secret}" if self._user else self._secret
        if self._scheme == "Basic" or (self._scheme == "ApiKey" and ":" in secret):  # an id and a key
            secret = base64.b64encode(secret.encode()).decode()
        return f"{self._scheme} {secret}".strip()

    def renew(self) -> bool:
        """Read the file again; tell whether something else stands in it now."""
        if self._file is None:
            return False
        try:
            new = self._read()
        except ConfigError:
            return False  # it is being replaced; what we have may still be good later
        changed, self._secret = new != self._secret, new
        return changed

    def _read(self) -> str:
        assert self._file is not None
        try:
            return self._file.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"cannot read {self._file}: {getattr(exc, 'strerror', None) or exc}") from exc
