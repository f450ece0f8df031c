"""Settings: where they come from, who wins, and errors that name the key and its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.config import Settings, load_settings, suspicious_variables
from shipper.errors import ConfigError
from tests.fakes import REPOSITORY


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in Settings.model_fields:
        monkeypatch.delenv(f"SHIPPER_{key.upper()}", raising=False)


def write(folder: Path, text: str) -> Path:
    file = folder / "shipper.yaml"
    file.write_text(text)
    return file


def test_who_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line beats the environment, which beats the file, which beats the default."""
    file = write(tmp_path, "to: http://file\nsink: http\ncompression: gzip\npath: [a, b]\n")
    monkeypatch.setenv("SHIPPER_TO", "http://env")
    monkeypatch.setenv("SHIPPER_SINK", "elasticsearch")
    got = load_settings(file, {"to": "http://line", "sink": None})
    assert (got.to, got.sink, got.compression, got.finished) == ("http://line", "elasticsearch", "gzip", "keep")
    assert got.path == ["a", "b"]


VALUES = {
    "path": ("a.jsonl,b/*.jsonl", ["a.jsonl", "b/*.jsonl"]), "to": ("http://h", "http://h"), "sink": ("http", "http"),
    "compression": ("zstd", "zstd"), "state": ("/s", Path("/s")), "template": ("false", False), "dataset": ("d", "d"),
    "namespace": ("n", "n"), "finished": ("delete", "delete"), "drain_s": ("3", 3.0),
    "archive": ("/a", Path("/a")), "archive_compression": ("zstd", "zstd"), "finished_nolock_s": ("3600", 3600.0),
    "watch": ("poll", "poll"), "bad_lines": ("dead_letter", "dead_letter"), "fields": ('{"a.b": 1, "a": {"c": 2}}', {"a": {"b": 1, "c": 2}}),
    "metrics": ("127.0.0.1:0", "127.0.0.1:0"), "once_timeout_s": ("3", 3.0), "ordered": ("true", True),
    "tls_verify": ("false", False), "index": ("app-{service.name}", "app-{service.name}"), "http_method": ("PUT", "PUT"), "http_path": ("/x", "/x"),
    "http_headers": ('{"a": "b"}', {"a": "b"}), "http_statuses": ("[201, 204]", [201, 204]),
    **dict.fromkeys(("user", "password", "api_key", "bearer_token", "proxy", "pipeline", "routing"), ("x", "x")),
    **{f"{key}_file": ("/x", Path("/x")) for key in ("password", "api_key", "bearer_token")},
    **{f"tls_{key}": ("/x", Path("/x")) for key in ("ca", "certificate", "key")},
}  # fmt: skip


@pytest.mark.parametrize("key", list(Settings.model_fields))
def test_each_key_comes_from_each_place(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting can stand in the file and in the environment."""
    text, value = VALUES.get(key, (None, None))
    if text is None:
        value = Settings.model_fields[key].default * 2
        text = str(value)
    assert getattr(load_settings(write(tmp_path, f"{key}: {text}\n"), {}), key) == value
    monkeypatch.setenv(f"SHIPPER_{key.upper()}", text)
    assert getattr(load_settings(None, {}), key) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("a", ["a"]), ("a, b,", ["a", "b"]), ('["a,b", "c"]', ["a,b", "c"]), ("[ab]*.log", ["[ab]*.log"])],
)
def test_paths_in_a_variable(text: str, value: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One glob, several with commas, or a JSON list."""
    monkeypatch.setenv("SHIPPER_PATH", text)
    assert load_settings(None, {}).path == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("to: http://h\npaht: x\n", ":2: unknown key 'paht'; did you mean 'path'?"),
        ("zzz: 1\n", ":1: unknown key 'zzz'; known are path, to, sink"),
        ("yes: 1\n", ":1: unknown key 'yes'"),
        ("1.50: x\n", ":1: unknown key '1.50'"),
        ("null: x\n", ":1: unknown key 'null'"),
        ("to: a\n# no\nto: b\n", ":3: 'to' stands here for the second time"),
        ("to: [\n", "is not YAML"),
        ("to: http://h: x\n", "is not YAML.*line 1"),
        ("\0", "is not YAML"),
        ("- a\n", "expected keys and values"),
        ("just text\n", "expected keys and values"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("sink: kafka\n", r":1: sink: .*'auto', 'elasticsearch', 'http', .* or 'victorialogs'.*got 'kafka'"),
        ("fields: {a..b: 1}\n", r":1: fields: .*'a..b' is not the name of a field"),
        ("fields: {a: .nan}\n", r":1: fields: .*JSON"),
        ("fields: {a: 2020-01-01}\n", r":1: fields: .*JSON"),
        ("path: {a: b}\n", r":1: path: .*list"),
        ("? [a]\n: b\n", "is not YAML|unknown key"),
        ("? {a: b}\n: b\n", "is not YAML|unknown key"),
        ("<<: {to: x}\n", "unknown key '<<'"),
        ("to: *nothing\n", "is not YAML"),
        ("to: !!python/object:os.system x\n", "is not YAML"),
    ],
)
def test_errors_in_the_file(text: str, message: str, tmp_path: Path) -> None:
    """Each error in the file is one sentence with the file, the line and the key."""
    file = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(file, {})
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=40) | st.text(alphabet="abto:[]{}-\n \"'&*!?<>|%@1.", max_size=30).map(str.encode))
def test_any_file_is_settings_or_a_clear_error(tmp_path: Path, data: bytes) -> None:
    """Whatever bytes stand in the file, the outcome is settings or a ConfigError of one line."""
    file = tmp_path / "any.yaml"
    file.write_bytes(data)
    try:
        load_settings(file, {})
    except ConfigError as exc:
        assert "\n" not in str(exc)  # noqa: PT017 (either outcome is right)


def test_errors_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error on the command line names the option, one in the environment the variable, a missing file itself."""
    with pytest.raises(ConfigError, match=r"--compression: .*got 'lzma'"):
        load_settings(None, {"compression": "lzma"})
    monkeypatch.setenv("SHIPPER_LINGER_S", "-1")
    with pytest.raises(ConfigError, match=r"SHIPPER_LINGER_S: .*got '-1'"):
        load_settings(None, {})
    for file in (tmp_path / "nowhere.yaml", tmp_path):
        with pytest.raises(ConfigError, match=f"cannot read {re.escape(str(file))}: "):
            load_settings(file, {})


def test_misspelt_variables_are_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is nearly ours gets a hint, one that is not is left alone."""
    monkeypatch.setenv("SHIPPER_PATHS", "x")
    monkeypatch.setenv("SHIPPER_HOME", "x")
    monkeypatch.setenv("SHIPPER_COMPRESION", "x")
    said = " ".join(suspicious_variables())
    assert "SHIPPER_PATHS is not a setting; did you mean SHIPPER_PATH?" in said
    assert "SHIPPER_COMPRESSION" in said
    assert "SHIPPER_HOME" not in said


def test_an_empty_file_is_fine(tmp_path: Path) -> None:
    """A file without keys, or with keys without values, leaves the defaults."""
    defaults: Any = load_settings(None, {})
    assert (
        load_settings(write(tmp_path, "# nothing\n"), {})
        == load_settings(write(tmp_path, "to:\nstate: null\n"), {})
        == defaults
    )


@pytest.mark.parametrize("key", list(Settings.model_fields))
def test_each_setting_is_documented(key: str) -> None:
    """Every setting has a description in the code and a place in docs/configuration.md."""
    assert Settings.model_fields[key].description
    assert f"`{key}`" in (REPOSITORY / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("in_flight: many", "in_flight: must be a whole number (got 'many')"),
        ("in_flight: 1.5", "in_flight: must be a whole number (got 1.5)"),
        ("in_flight: 0", "in_flight: must be at least 1 (got 0)"),
        ("linger_s: 99", "linger_s: must be at most 60.0 (got 99)"),
        ("linger_s: soon", "linger_s: must be a number (got 'soon')"),
        ("timeout_s: 0", "timeout_s: must be more than 0.0 (got 0)"),
        ("template: perhaps", "template: must be true or false (got 'perhaps')"),
        (
            "sink: kafka",
            "sink: must be 'auto', 'elasticsearch', 'http', 'json_array', 'json_each', 'loki', 'splunk', 'datadog', 'otlp' or 'victorialogs' (got 'kafka')",
        ),
        ("to: [a]", "to: must be text (got ['a'])"),
        ("path: 3", "path: must be a list, or texts with commas between them (got 3)"),
        ("state: [1]", "state: must be a path (got [1])"),
    ],
)
def test_wrong_values_in_our_own_words(text: str, words: str, tmp_path: Path) -> None:
    """What is wrong with a value is said in a few plain words, with the place, the key and the value."""
    file = write(tmp_path, text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(file, {})
    assert str(caught.value) == f"{file}:1: {words}"
