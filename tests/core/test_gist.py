"""An answer in one line, whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.gist import gist


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b" plain\n text ", "plain text"),
        (b'{"error":"x"}', '{"error":"x"}'),
        (
            b"<html>\n<head><title>502 Bad\n Gateway</title></head><body><center>...",
            "a page of HTML, '502 Bad Gateway'",
        ),
        (b"<!DOCTYPE html><h1>It <b>works</b> &amp; so on</h1>", "a page of HTML, 'It works & so on'"),
        (b"<html><body>nothing to see", "a page of HTML"),
        (b"x" * 5000, "x" * 300),
    ],
)
def test_what_it_says(body: bytes, text: str) -> None:
    """Of a page the title, else the beginning."""
    assert gist(body) == text


@given(st.binary(max_size=2000))
def test_any_body(body: bytes) -> None:
    """Any bytes give one short line."""
    text = gist(body)
    assert len(text) <= 400
    assert "\n" not in text
