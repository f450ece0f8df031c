"""Where a word begins and ends, the collector says as the stores do."""

import httpx
import pytest

from tests.collector.conftest import ndjson
from tests.schemas.records import MINIMAL, changed
from tests.schemas.streams import Stream

MESSAGES = {
    "a": "charge 17 failed: card declined.",
    "b": "charged 170 times; charge_id=17",
    "c": "File /app/shop/pay.py, line 12, in charge",
    "d": "shop.errors.CardError: O'Neil's card",
    "e": "1,000.5 bytes at 10.0.0.17:8080",
    "f": 'user@example.com said "card" (twice)',
    "g": "größe Straße ÉCOLE naïve",
    "h": "CARD-17/18 bank-2 x",
    "i": "tab\tand\nline card",
    "j": "日本語 のテスト",
    "k": "don\N{RIGHT SINGLE QUOTATION MARK}t and don't",
    "l": "a.b.c A_B_C v1.2.3",
    "m": '{"order": 17, "card": null}',
}  # fmt: skip
QUERIES = (
    "charge", "CHARGE", "charge*", "char", "17", "170", "1*", "card", "cards", "pay", "pay.py", "pay*", "carderror", "shop.errors.CardError", "*error", "errors",
    '"card declined"', '"declined card"', '"line 12"', '"10.0.0.17"', "10.0.0.17", "8080", "1,000.5", "1", "000.5", "o'neil's", "o'neil", "neil", "twice",
    "example.com", "user", '"user example.com"', "größe", "GRÖSSE", "Straße", "école", "ecole", "naïve", '"bank 2"', "bank", '"card 17 18"', "and", "line",
    "日本語", "don't", "don\N{RIGHT SINGLE QUOTATION MARK}t", "don", "b", "a.b.c", "a_b_c", "a_b", "v1.2.3", "v1", "order", "null", "c?rd", "ca*d", "c?d", "x",
)  # fmt: skip


def found_by_collector(process, query):
    answer = httpx.get(f"{process.url}/api/search", params={"q": f"message:{query}", "limit": 100}, timeout=60)
    assert answer.is_success, answer.text
    return {record["_id"] for record in answer.json()["records"]}


@pytest.mark.server
def test_the_collector_finds_the_words_that_the_stores_find(store, unique_service, start):
    """Each word, phrase or pattern finds the same messages: with signs, numbers, accents, quotes and other scripts around it."""
    process = start()
    records = {id_: changed(MINIMAL, ("message", text)) for id_, text in MESSAGES.items()}
    header = {"Shipper-Lines": ",".join(f"{id_}:0+1" for id_ in records), "Content-Type": "application/x-ndjson"}
    assert httpx.post(process.url, content=ndjson(*records.values()), headers=header, timeout=60).json()["stored"] == 13
    with Stream(store, unique_service) as stream:
        assert {status for status, _ in stream.create(records).values()} == {201}
        differing = {}
        for query in QUERIES:
            theirs = stream.ids({"query_string": {"query": f"message:{query}", "analyze_wildcard": True}})
            ours = {id_.partition("-")[0] for id_ in found_by_collector(process, query)}
            if ours != theirs:
                differing[query] = (ours, theirs)
    assert differing == {}
