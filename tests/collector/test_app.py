import gzip
import zlib

import orjson
import pytest
import zstandard

from shipper.collector import inflate
from shipper.collector.app import create_app
from shipper.collector.inflate import MAX_BODY_BYTES
from shipper.collector.store import Store
from tests.collector.conftest import Client, ndjson, record


def test_send_and_find(client: Client) -> None:
    """A record that was sent is found, with its id, under both addresses."""
    assert client.send(ndjson(record(1)), shipper_lines="k:1a0+1").json() == {"stored": 1, "duplicates": 0}
    assert client("POST", "/api/records", content=ndjson(record(1)), headers={"Shipper-Lines": "k:1a0+1"}).json() == {
        "stored": 0,
        "duplicates": 1,
    }
    answer = client("GET", "/api/search")
    assert answer.json() == {"total": 1, "records": [{**record(1), "_id": "k-1a0"}]}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("gzip", lambda body: gzip.compress(body[:7]) + gzip.compress(body[7:])),
        ("zstd", zstandard.compress),
        ("ZSTD", lambda body: zstandard.compress(body[:7]) + zstandard.compress(body[7:])),
        ("identity", bytes),
    ],
)
def test_encodings(client: Client, encoding: str, pack) -> None:
    """gzip, zstd and plain bodies are read, several members and frames too."""
    body = ndjson(*(record(n) for n in range(3000)))
    assert client.send(pack(body), content_encoding=encoding).json() == {"stored": 3000, "duplicates": 0}


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"{}", 415),
        ("gzip, gzip", b"{}", 415),
        ("gzip", b"{}", 400),
        ("gzip", gzip.compress(b"{}\n")[:-3], 400),
        ("gzip", gzip.compress(b"{}\n") + b"rest", 400),
        ("zstd", b"{}", 400),
        ("zstd", zstandard.compress(b"{}\n" * 9000)[:-3], 400),
        ("zstd", zstandard.compress(b"{}\n") + b"rest", 400),
    ],
)
def test_bad_encodings(client: Client, encoding: str, body: bytes, status: int) -> None:
    """What cannot be unpacked is refused, and nothing of it is stored."""
    answer = client.send(body, content_encoding=encoding)
    assert (answer.status_code, set(answer.json())) == (status, {"error"})
    assert client.ids() == []


def bomb(pack: str) -> bytes:
    if pack == "zstd":
        return zstandard.compress(b" " * (MAX_BODY_BYTES + 1))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b" " * 2**20) for _ in range(MAX_BODY_BYTES // 2**20 + 1)) + packer.flush()


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_bombs(client: Client, encoding: str) -> None:
    """A small body that unpacks to more than the limit is refused with 413."""
    packed = bomb(encoding)
    assert len(packed) < 2**20
    assert client.send(packed, content_encoding=encoding).status_code == 413


def test_large_plain_body(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain body over the limit is refused while it is read."""
    monkeypatch.setattr("shipper.collector.app.MAX_BODY_BYTES", 100)
    assert client.send(b"{}\n" * 50).status_code == 413


@pytest.mark.parametrize(
    ("body", "lines", "names"),
    [
        (b"{}\nnope\n", None, "line 2"),
        (b"{}\n[]\n", None, "line 2"),
        (b'{}\n{}\n{"a":"\xff"}\n', None, "line 3"),
        (b"{}\n", "k:0+2", "counts 2 lines, the body has 1"),
        (b"", "k:0+1", "counts 1 lines, the body has 0"),
        (b"{}\n", "rubbish", "Shipper-Lines"),
        (b"{}\n", "", "Shipper-Lines"),
        (b"\xef\xbb\xbf{}\n", None, "line 1"),
    ],
)
def test_bad_bodies(client: Client, body: bytes, lines: str | None, names: str) -> None:
    """A bad body is refused with what is wrong and where, and nothing of it is stored."""
    answer = client.send(body, **({} if lines is None else {"shipper_lines": lines}))
    assert answer.status_code == 400
    assert names in answer.json()["error"]
    assert client.ids() == []


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n \n"])
def test_nothing_sent(client: Client, body: bytes) -> None:
    """A body without records is fine."""
    assert client.send(body).json() == {"stored": 0, "duplicates": 0}


def test_hostile_records_beside_good_ones(client: Client) -> None:
    """Records that are awkward in every way are stored beside good ones, and all of them are found."""
    awkward = [
        b'{"@timestamp":17,"message":"a"}', b'{"@timestamp":"9999-12-31T23:59:59Z"}', b'{"log":"x","message":{"a":1}}', b'{"message":"\\u0000\\ud800"}',
        b'{"n":' + b"9" * 4000 + b"}", b'{"a":' * 300 + b"1" + b"}" * 300, b'{"message":"' + b"m" * 2**20 + b'"}', b'{"a.\\"b":{"\':--":1}}', b"{}",
        b'{"_id":"mine"}', b'{"event":{"sequence":-5},"run":""}', b'{"run":"' + b"r" * 600 + b'","event":{"sequence":1}}', b'{"run":"\\ud800 :,","event":{"sequence":1}}',
    ]  # fmt: skip
    body = b"\n".join([orjson.dumps(record(1)), *awkward, orjson.dumps(record(2))])
    assert client.send(body).json()["stored"] == len(awkward) + 2
    ids = client.ids()
    assert len(set(ids)) == len(awkward) + 2
    assert all(len(id_.encode()) <= 512 for id_ in ids)
    assert "mine" not in ids


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("limit=9999999999999999999", "limit"), ("from=yesterday", "from"), ("to=", None), ("to=13", "to"),
        ("from=now&to=now-1h", "from"), ("q=a:", "q: at position 3"), ("q=" + "(" * 60, "q: at position"), ("level=ERROR", None),
    ],
)  # fmt: skip
def test_wrong_parameters(client: Client, query: str, names: str | None) -> None:
    """A parameter that cannot be read is named."""
    answer = client("GET", f"/api/search?{query}")
    assert answer.status_code == (400 if names else 200)
    assert names is None or answer.json()["error"].startswith(names)


def test_filters(client: Client) -> None:
    """Time and level narrow a search: from is included, to is not, levels are repeated or listed."""
    client.send(ndjson(*(record(n, log={"level": ["INFO", "ERROR", "DEBUG"][n % 3]}) for n in range(6))))
    assert client.ids() == [f"k3v9:{n}" for n in (5, 4, 3, 2, 1, 0)]
    assert client.ids(**{"from": "2026-11-22T05:00:02.220Z", "to": "2026-11-22T05:00:04.220Z"}) == ["k3v9:3", "k3v9:2"]
    assert client.ids(level="error") == ["k3v9:4", "k3v9:1"]
    assert (
        client.ids(level=["ERROR", "INFO"])
        == client.ids(level="ERROR,INFO")
        == ["k3v9:4", "k3v9:3", "k3v9:1", "k3v9:0"]
    )
    assert client("GET", "/api/search?limit=2&q=charge").json()["total"] == 6


def test_histogram(client: Client) -> None:
    """The histogram has the form that the design promises and is empty without records."""
    assert client("GET", "/api/histogram").json()["buckets"] == []
    client.send(ndjson(record(0), record(59, log={"level": "ERROR"})))
    answer = client(
        "GET", "/api/histogram", params={"from": "2026-11-22T05:00:00Z", "to": "2026-11-22T05:01:00Z"}
    ).json()
    assert answer["interval_ms"] == 1000
    assert len(answer["buckets"]) == 60
    assert answer["buckets"][0] == {"time": "2026-11-22T05:00:00.000Z", "count": 1, "levels": {"INFO": 1}}
    assert answer["buckets"][59] == {"time": "2026-11-22T05:00:59.000Z", "count": 1, "levels": {"ERROR": 1}}


@pytest.mark.parametrize(
    "window", [{"from": "0001-01-01", "to": "9999-12-31"}, {"to": "9999-12-31"}, {"from": "0001-01-01"}]
)
def test_histogram_of_all_time(client: Client, window: dict[str, str]) -> None:
    """However long the time range, the number of buckets is bounded."""
    client.send(ndjson(record(0)))
    buckets = client("GET", "/api/histogram", params=window).json()["buckets"]
    assert sum(bucket["count"] for bucket in buckets) == 1
    assert len(buckets) <= 130


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8089", "127.0.0.1.evil.example", "", "127.0.0.1:8089.evil.example"]
)
def test_foreign_host(client: Client, host: str) -> None:
    """A request that names another host is refused: a page of that name may have been pointed here."""
    assert client("GET", "/api/search", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8089", "127.0.0.1:1", "[::1]:8089", "[::1]", "collector:8089", "logs.example:8089"]
)
def test_own_host(store: Store, host: str) -> None:
    """Addresses, local names and the name it was bound to are its own."""
    client = Client(create_app(store, names=frozenset({"logs.example"})))
    assert client("GET", "/healthz", headers={"Host": host}).json() == {"status": "ok"}


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8089", "http://127.0.0.1:9999"])
def test_foreign_origin(client: Client, origin: str) -> None:
    """Another web page can neither send nor ask, and no answer ever allows it to."""
    for method in ("POST", "GET", "OPTIONS"):
        answer = client(
            method, "/api/records" if method == "POST" else "/api/search", content=b"{}", headers={"Origin": origin}
        )
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    assert client.ids() == []
    assert client("POST", "/", content=b"{}", headers={"Origin": "http://127.0.0.1:8089"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/healthz", "/nowhere", "/api/search?limit=0"])
def test_security_headers(client: Client, path: str) -> None:
    """Every answer, errors too, forbids scripts from elsewhere."""
    headers = client("GET", path).headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_errors_are_json(client: Client) -> None:
    """Unknown addresses and methods are answered in JSON as well."""
    assert client("GET", "/nowhere").json() == {"error": "Not Found"}
    assert client("DELETE", "/api/search").status_code == 405


def test_store_that_cannot_write(client: Client, store: Store) -> None:
    """A write that fails is answered with 503, so that the sender keeps the records and tries again."""
    store._database.execute("DROP TABLE spans")
    answer = client.send(ndjson(record(1)))
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert client.ids() == []


def test_every_encoding_has_its_limit() -> None:
    """Nothing is unpacked by a function that does not know the limit."""
    assert set(inflate.INFLATE) == {"gzip", "x-gzip", "zstd", "identity", ""}
