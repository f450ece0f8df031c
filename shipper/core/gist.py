"""What an answer says, short enough for one sentence: the title of a page of HTML, else its beginning in one line."""

from __future__ import annotations

import re
from html import unescape

_LENGTH = 300
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_HEADING = re.compile(r"<h1[^>]*>(.*?)</h1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_PAGE = re.compile(r"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)


def gist(body: bytes) -> str:
    """
    Say in one line what an answer says.

    Returns:
        Empty for an empty one.
    """
    text = body[:20_000].decode("utf-8", "replace")
    if _PAGE.match(text):
        found = _TITLE.search(text) or _HEADING.search(text)
        words = " ".join(unescape(_TAG.sub(" ", found[1])).split())[:_LENGTH] if found else ""
        return f"a page of HTML, {words!r}" if words else "a page of HTML"
    return " ".join(text[:_LENGTH].split())
