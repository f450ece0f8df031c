from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.collector import search as search_module
from shipper.collector import store as store_module
from shipper.collector.query import EVERYTHING, Condition
from shipper.collector.records import BodyError, Run
from shipper.collector.search import histogram, search
from shipper.collector.store import CollectorError, QueryTimeout, Store, StoreUnavailable
from tests.collector.conftest import ndjson, record


def total(store: Store) -> int:
    return search(store, EVERYTHING, 1).total


def lines(first: int, count: int) -> bytes:
    return ndjson(*(record(number) for number in range(first, first + count)))


def test_resend_is_stored_once(store: Store) -> None:
    """The same ids a second time are duplicates, whatever the text says."""
    assert store.add(lines(0, 5), (Run("k", 0, 5),)).stored == 5
    again = store.add(lines(7, 8), (Run("k", 2, 8),))
    assert (again.stored, again.duplicates) == (5, 3)
    assert total(store) == 10


def test_repeated_id_in_one_body(store: Store) -> None:
    """An id that stands twice in a body is stored once, the first time."""
    answer = store.add(lines(0, 4), (Run("k", 0, 2), Run("k", 1, 2)))
    assert (answer.stored, answer.duplicates) == (3, 1)


def test_identity_without_ids(store: Store) -> None:
    """Without ids a record is known by run and sequence, and without these it is always new."""
    assert store.add(lines(0, 3)).stored == 3
    assert store.add(lines(1, 3)) == store_module.Stored(1, 2)
    assert store.add(b"{}\n{}\n") == store.add(b"{}\n{}\n") == store_module.Stored(2, 0)
    assert total(store) == 8


def test_bad_body_leaves_nothing(store: Store) -> None:
    """A bad last line undoes all that came before it, and its ids stay free."""
    with pytest.raises(BodyError, match="line 12001"):
        store.add(lines(0, 12_000) + b"nope\n", (Run("k", 0, 12_001),))
    assert total(store) == 0
    assert store.add(lines(0, 10), (Run("k", 0, 10),)).stored == 10


def test_seal_keeps_everything(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that moved to Parquet are found, and known, as before."""
    monkeypatch.setattr(store_module, "SEAL_ROWS", 10)
    for first in range(0, 25, 5):
        store.add(lines(first, 5), (Run("k", first, 5),))
    assert len(list(store.data.glob("records-*.parquet"))) == 2
    found = search(store, EVERYTHING, 100)
    assert [id_ for id_, _ in found.records] == [f"k-{n:x}" for n in reversed(range(25))]
    assert store.add(lines(0, 25), (Run("k", 0, 25),)).duplicates == 25


def test_reopen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is opened again has its records and knows their ids, also after the ranges were rewritten."""
    monkeypatch.setattr(store_module, "SEAL_ROWS", 10)
    for first in range(0, 30, 3):
        store = Store(tmp_path)
        assert store.add(lines(0, first + 3), (Run("k", 0, first + 3),)).stored == 3
        assert total(store) == first + 3
        store.close()


def test_rest_of_a_crash_is_removed(tmp_path: Path) -> None:
    """A Parquet file that was not entered, and one half written, are removed at the start."""
    store = Store(tmp_path)
    store.add(lines(0, 3))
    store.close()
    for name in ("records-00000009.parquet", "records-00000001.parquet.partial"):
        (tmp_path / name).write_bytes(b"rest")
    store = Store(tmp_path)
    assert total(store) == 3
    assert not list(tmp_path.glob("records-*"))
    store.close()


def test_seal_that_fails(store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """When Parquet cannot be written the records stay where they are, and that is said."""
    monkeypatch.setattr(store_module, "SEAL_ROWS", 5)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "_sync", full)
    assert store.add(lines(0, 10)).stored == 10
    assert "No space left" in caplog.text
    monkeypatch.undo()
    assert total(store) == 10


def test_write_that_fails(store: Store) -> None:
    """A write that fails is the store's fault, not the sender's, and nothing is known afterwards that was not stored."""
    store._database.execute("ALTER TABLE recent RENAME TO away")
    with pytest.raises(StoreUnavailable):
        store.add(lines(0, 3), (Run("k", 0, 3),))
    store._database.execute("ALTER TABLE away RENAME TO recent")
    assert store.add(lines(0, 3), (Run("k", 0, 3),)).stored == 3


def test_directory_in_use(tmp_path: Path) -> None:
    """A second store on the same directory is refused by name, and the first goes on."""
    store = Store(tmp_path)
    with pytest.raises(CollectorError, match=f"{tmp_path}.*in use by another collector"):
        Store(tmp_path)
    assert store.add(lines(0, 1)).stored == 1
    store.close()
    Store(tmp_path).close()


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A path that cannot be a directory is named."""
    (tmp_path / "file").touch()
    with pytest.raises(CollectorError, match=r"file/data.*--data"):
        Store(tmp_path / "file" / "data")


def test_damaged_data(tmp_path: Path) -> None:
    """A file that is no database is named, with what to do, and the directory is free again."""
    (tmp_path / "collector.duckdb").write_bytes(b"x" * 20_000)
    for _ in range(2):
        with pytest.raises(CollectorError, match="move the directory away"):
            Store(tmp_path)


def test_slow_search_is_stopped(tmp_path: Path) -> None:
    """A search that takes too long ends with a timeout, and the store goes on."""
    store = Store(tmp_path, timeout_s=0.2)
    store.add(lines(0, 1))
    with pytest.raises(QueryTimeout, match=r"0\.2 s"):
        search(store, Condition("(SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b) > 0"), 1)
    assert store.add(lines(1, 1)).stored == 1
    store.close()


def test_answers_are_bounded_in_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long records come back fewer at a time, but one always does."""
    store.add(ndjson(*(record(n, message="x" * 1_000_000) for n in range(5))))
    monkeypatch.setattr(search_module, "MAX_ANSWER_BYTES", 2_500_000)
    assert len(search(store, EVERYTHING, 5).records) == 2
    monkeypatch.setattr(search_module, "MAX_ANSWER_BYTES", 10)
    found = search(store, EVERYTHING, 5)
    assert (found.total, len(found.records)) == (5, 1)


def test_histogram_adds_up(store: Store) -> None:
    """The buckets are without gaps, cover the records, and add up to them by level."""
    store.add(
        ndjson(
            *(record(n * 60, log={"level": "ERROR" if n % 3 else "INFO"}) for n in range(30)),
            {"@timestamp": "2026-11-22T05:10:00Z"},
        )
    )
    counted = histogram(store, EVERYTHING, None, None)
    times = [at for at, _ in counted.buckets]
    assert times == list(range(times[0], times[-1] + 1, counted.interval_ms))
    assert len(times) <= search_module.MAX_BUCKETS
    sums: dict[str, int] = {}
    for _, levels in counted.buckets:
        for level, count in levels.items():
            sums[level] = sums.get(level, 0) + count
    assert sums == {"ERROR": 20, "INFO": 10, "": 1}


def test_histogram_of_many_levels(store: Store) -> None:
    """Levels that someone made up by the hundred are put together."""
    store.add(ndjson(*(record(n, log={"level": f"L{n}"}) for n in range(200))))
    names = {name for _, levels in histogram(store, EVERYTHING, None, None).buckets for name in levels}
    assert len(names) == search_module.MAX_LEVELS + 1
    assert "(other)" in names


bodies = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 20), st.integers(1, 8)), max_size=6)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(bodies, st.just("reopen")), max_size=8))
def test_store_against_a_model(tmp_path_factory: pytest.TempPathFactory, steps: list[object]) -> None:
    """Whatever is sent, resent, sealed and reopened, the store holds each id once: it behaves as a set."""
    data = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "SEAL_ROWS", 12)
        store, model = Store(data), set[str]()
        for step in steps:
            if step == "reopen":
                store.close()
                store = Store(data)
                continue
            runs = tuple(Run(*run) for run in step)
            sent = [f"{run.key}-{run.first + n:x}" for run in runs for n in range(run.count)]
            answer = store.add(ndjson(*({"id": id_} for id_ in sent)), runs)
            assert answer.stored == len(set(sent) - model)
            assert answer.stored + answer.duplicates == len(sent)
            model |= set(sent)
        assert sorted(id_ for id_, _ in search(store, EVERYTHING, 1000).records) == sorted(model)
        store.close()


def test_text_is_kept_byte_for_byte(store: Store) -> None:
    """The text of a record comes back as it was sent, also where no parser can hold it."""
    texts = [
        '{"a" : 1.0E+2,"a":2}',
        '{"x":"\\ud800","y":"\\u0000"}',
        '{"n":1e400}',
        '{"k":' * 300 + "1" + "}" * 300,
        '{"u":"\u2028é"}',
        "{}",
        '{"z":' + "9" * 400 + "}",
    ]
    store.add(("\n".join(texts) + "\n").encode(), (Run("k", 0, len(texts)),))
    found = dict(search(store, EVERYTHING, 100).records)
    assert [found[f"k-{number:x}"] for number in range(len(texts))] == texts
