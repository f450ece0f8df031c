"""
Takes secrets out of records: by the name of a key, by its path, and by what a text looks like.

Strategy: rules are compiled once. A text is only searched by a pattern whose hint, a plain substring, is in it. Rules:

1. No pattern here can take more than linear time: every repetition is possessive or bounded, and starts at an edge.
2. A value under a secret key is replaced whole, whatever it is. In a text only the secret itself is replaced. A field of the
   record that is no text is left out, since stores take no text in its place; `@timestamp`, which they need, stays.
3. A user's own pattern is searched in every text; its speed is its owner's business.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    Pattern = tuple[tuple[str, ...], re.Pattern[str], Callable[[re.Match[str]], str]]

REPLACEMENT = "[redacted]"
_SHORTEST_CARD = 13
_MANY_DIGITS = b"0" * _SHORTEST_CARD
_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(".") for byte in range(256))


def _replace(found: re.Match[str]) -> str:
    whole = found[0]
    if "secret" not in found.re.groupindex or found["secret"] is None:
        return REPLACEMENT
    start, end = (position - found.start() for position in found.span("secret"))
    return whole[:start] + REPLACEMENT + whole[end:]


def _replace_cards(found: re.Match[str]) -> str:
    """Replace the card numbers in a run of digit groups; a date or an amount may stand right beside one."""
    pieces = re.split("([ -])", found[0])
    position = 0
    while position < len(pieces):
        for end in range(min(position + 9, len(pieces)), position, -2):
            groups = pieces[position:end:2]
            # No card is printed in other groups than 4 4 4 4 (3), 4 6 5 or 4 6 4.
            if (len(groups) == 1 or len(groups[0]) == 4 <= len(groups[1])) and _is_card("".join(groups)):
                pieces[position:end] = [REPLACEMENT]
                break
        position += 2
    return "".join(pieces)


def _is_card(digits: str) -> bool:
    if not 13 <= len(digits) <= 19 or digits[0] not in "23456":
        return False
    values = [int(char) for char in reversed(digits)]
    return (sum(values[::2]) + sum(d * 2 - 9 if d > 4 else d * 2 for d in values[1::2])) % 10 == 0


# One kind of secret each: lower-case substrings, one of which is in every text that holds it (none: always search); what is
# searched; how it is replaced. The group `secret` is what is replaced, or else all that was found. Compiled when they are
# asked for: that takes 10 ms.
PRESETS: dict[str, tuple[tuple[str, ...], str, Callable[[re.Match[str]], str] | None]] = {
    "bearer": (
        ("bearer", "basic"),
        r"(?i)\b(?:bearer|authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?basic)\s{1,8}(?P<secret>[A-Za-z0-9._~+/=-]{8,}+)",
        None,
    ),
    "email": (
        ("@",),
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}",
        None,
    ),
    "card": ((), r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,}+", _replace_cards),
    "aws": (
        ("akia", "asia", "aws"),
        (
            r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
            r"|(?i:aws_?secret_?(?:access_?)?key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?P<secret>[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+]))"
        ),
        None,
    ),
    "private_key": (
        ("private key",),
        (
            r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----END))*+"
            r"(?:-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
        ),
        None,
    ),
    "url_password": (("://",), r"(?<=://)[^\s/:?#\"'<>]{0,256}:(?P<secret>[^\s/?#\"'<>]{1,512})(?=@)", None),
}


class Redactor:
    """
    The compiled rules of one formatter.

    Args:
        keys: Names of keys, compared without regard to case; values under them are replaced wherever they stand.
        paths: Dotted paths in the record, `*` for any one piece: `extra.headers.authorization`, `*.password`. One that
            begins with `*` matches at any depth.
        patterns: Names of `PRESETS`, or regular expressions.
        not_text: Paths of the record's own fields that are left out rather than replaced.

    Raises:
        ValueError: A rule is of the wrong kind, or a regular expression is wrong; names it.
    """

    def __init__(
        self,
        keys: Iterable[str] = (),
        paths: Iterable[str] = (),
        patterns: Iterable[str | re.Pattern[str]] = (),
        *,
        not_text: frozenset[str] = frozenset(),
    ) -> None:
        self._keys = frozenset(key.lower() for key in _strings("keys", keys))
        # A key with dots stands for one key within another, too.
        self.paths = paths = [*_strings("paths", paths), *(f"*.{key}" for key in self._keys if "." in key)]
        self._paths = [_compile_path(path) for path in paths]
        self._not_text = not_text
        self._patterns = [_compile_pattern(item) for item in _listed("patterns", patterns)]
        self._hints = tuple(hint.encode() for hints, _, _ in self._patterns for hint in hints)
        self._has_cards = any(replace is _replace_cards for _, _, replace in self._patterns)
        self._has_own = any(not hints and replace is _replace for hints, _, replace in self._patterns)
        names = [[piece for piece in path.lower().split(".") if piece not in ("*", "extra")] for path in paths]
        self._any_key = any(not pieces for pieces in names)
        self._beyond_extra = any(path.partition(".")[0].lower() not in ("extra", "*") for path in paths)
        self._names = self._keys | {piece for pieces in names for piece in pieces}

    @property
    def scrub(self) -> Callable[[str], str] | None:
        """Replaces the secrets in one text; None where there are no patterns."""
        return self._scrub if self._patterns else None

    @property
    def suspects(self) -> Callable[[bytes], bool] | None:
        """Tells whether JSON text may hold what a pattern looks for; None where there are no patterns."""
        return self._suspects if self._patterns else None

    def is_secret_name(self, key: str) -> bool:
        """Tell whether a rule for keys or paths may apply to what stands under this key."""
        lower = key.lower()
        return self._any_key or lower in self._names or not self._names.isdisjoint(lower.split("."))

    def touches(self, paths: Iterable[str]) -> bool:
        """Tell whether a rule applies to one of these dotted paths, or may apply to something else outside `extra`."""
        return self._beyond_extra or any(self._is_secret(path.rpartition(".")[2], path) for path in paths)

    def apply(self, tree: dict[str, Any]) -> None:
        """Replace in place what the rules for keys and paths say, in a record of plain values."""
        if self._keys or self._paths:
            self._visit(tree, "")

    def _visit(self, value: Any, path: str) -> None:
        for key, item in list(value.items() if type(value) is dict else enumerate(value)):
            here = f"{path}.{key}" if path else str(key)
            if self._is_secret(str(key), here):
                if here in self._not_text:
                    del value[key]
                elif here != "@timestamp":
                    value[key] = REPLACEMENT
            elif type(item) in (dict, list):
                self._visit(item, here)

    def _is_secret(self, key: str, path: str) -> bool:
        lower = key.lower()
        if lower in self._keys or ("." in lower and not self._keys.isdisjoint(lower.split("."))):
            return True
        return any(found.fullmatch(path) for found in self._paths)

    def _scrub(self, text: str) -> str:
        lower = text.lower()
        for hints, regex, replace in self._patterns:
            for hint in hints:
                if hint in lower:
                    text = regex.sub(replace, text)
                    break
            else:
                if not hints and (replace is not _replace_cards or len(text) >= _SHORTEST_CARD):
                    text = regex.sub(replace, text)
        return text

    def _suspects(self, data: bytes) -> bool:
        lower = data.lower()  # of ASCII alone, as the hints are
        for hint in self._hints:
            if lower.find(hint) >= 0:  # `in` would make an exception first, to find out that this is no number
                return True
        return self._has_own or (self._has_cards and data.translate(_DIGITS, b" -").find(_MANY_DIGITS) >= 0)


def _compile_path(path: str) -> re.Pattern[str]:
    pieces = path.split(".")
    if not all(pieces):
        raise ValueError(f"JsonFormatter: 'redact' has the path {path!r}, in which a piece between dots is empty")
    text = r"\.".join("[^.]+" if piece == "*" else re.escape(piece) for piece in pieces)
    if pieces[0] == "*":
        text = rf"(?:[^.]+\.)*{text}"
    return re.compile(text, re.IGNORECASE)


def _compile_pattern(item: object) -> Pattern:
    if isinstance(item, re.Pattern) and isinstance(item.pattern, str):
        return (), _finding(item), _replace
    if not isinstance(item, str):
        raise ValueError(f"JsonFormatter: 'redact' has the pattern {item!r}, which is neither text nor compiled")
    if item in PRESETS:
        hints, text, replace = PRESETS[item]
        return hints, re.compile(text), replace or _replace
    if item.isidentifier():
        raise ValueError(f"JsonFormatter: 'redact' has no pattern {item!r}; there are {', '.join(PRESETS)}")
    try:
        return (), _finding(re.compile(item)), _replace
    except re.error as exc:
        raise ValueError(f"JsonFormatter: 'redact' has the pattern {item!r}, which is not valid: {exc}") from exc


def _finding(regex: re.Pattern[str]) -> re.Pattern[str]:
    if regex.search(""):
        raise ValueError(f"JsonFormatter: 'redact' has the pattern {regex.pattern!r}, which finds nothing everywhere")
    return regex


def _listed(name: str, items: Any) -> list[Any]:
    if isinstance(items, (str, bytes)) or not isinstance(items, (list, tuple, set, frozenset)):
        raise ValueError(f"JsonFormatter: 'redact' needs a list under {name!r}, got {items!r}")
    return list(items)


def _strings(name: str, items: Any) -> list[str]:
    result = _listed(name, items)
    for item in result:
        if not isinstance(item, str) or not item.strip():
            raise ValueError(f"JsonFormatter: 'redact' has {item!r} under {name!r}, which is not a name")
    return result


def make_redactor(option: Mapping[str, Any] | None, not_text: frozenset[str]) -> Redactor | None:
    """
    Compile the option `redact`.

    Args:
        option: `keys`, `paths` and `patterns`, each a list; None for no redaction.
        not_text: As in `Redactor`.

    Raises:
        ValueError: Something else is in it.
    """
    if option is None:
        return None
    if not isinstance(option, dict) or not set(option) <= {"keys", "paths", "patterns"}:
        raise ValueError(f"JsonFormatter: 'redact' takes a dict with 'keys', 'paths' and 'patterns', got {option!r}")
    return Redactor(**option, not_text=not_text)
