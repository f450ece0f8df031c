"""
Settings: one YAML file, every key also from the environment (`SHIPPER_…`), the common ones from the command line.

The command line beats the environment, which beats the file. An unknown key in the file is an error that names the key and
the line; a variable that is nearly one of ours is pointed out (other programs may own `SHIPPER_…` variables, too).
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from shipper.core.enrich import merge
from shipper.core.routing import check_template
from shipper.errors import ConfigError

_PREFIX = "SHIPPER_"


class Settings(BaseSettings):
    """Everything that can be set. Names with a unit are numbers in that unit."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    path: Annotated[list[str], NoDecode] = Field(
        default=[], description="Globs of the files to ship, or folders (`*.jsonl` in them)."
    )
    to: str = Field(default="", description="URL of the store or endpoint.")
    sink: Literal[
        "auto", "elasticsearch", "http", "json_array", "json_each", "loki", "splunk", "datadog", "otlp", "victorialogs"
    ] = Field(default="auto", description="What stands at the URL; `auto` asks it.")
    http_method: Literal["POST", "PUT", "PATCH"] = Field(default="POST", description="Method for an HTTP endpoint.")
    http_path: str | None = Field(
        default=None, description="Path, and query, of an HTTP endpoint, in place of the usual one of its kind."
    )
    http_headers: dict[str, str] = Field(default={}, description="Sent with each request to an HTTP endpoint.")
    http_statuses: list[int] = Field(
        default=[], description="Statuses by which an HTTP endpoint says that it has taken everything; none: any 2xx."
    )
    user: str | None = Field(default=None, description="User of the store, in place of one in the URL.")
    password: str | None = Field(default=None, repr=False, description="Password of `user`.")
    password_file: Path | None = Field(
        default=None, description="File with the password; read again when it is not accepted."
    )
    api_key: str | None = Field(
        default=None,
        repr=False,
        description="API key of Elasticsearch: as it was given out, or id and key with a colon.",
    )
    api_key_file: Path | None = Field(
        default=None, description="File with the API key; read again when it is not accepted."
    )
    bearer_token: str | None = Field(default=None, repr=False, description="Token for `Authorization: Bearer`.")
    bearer_token_file: Path | None = Field(
        default=None, description="File with the token; read again when it is not accepted."
    )
    tls_ca: Path | None = Field(
        default=None, description="Certificates of the authorities that are trusted, in place of the system's."
    )
    tls_certificate: Path | None = Field(default=None, description="Our own certificate, where the store asks for one.")
    tls_key: Path | None = Field(default=None, description="Its key, where that is not in the same file.")
    tls_verify: bool = Field(
        default=True, description="Verify the store's certificate. Off: whoever is in between can read and change all."
    )
    proxy: str | None = Field(
        default=None,
        description="URL of an HTTP proxy; without it `HTTPS_PROXY` and `NO_PROXY` of the environment hold.",
    )
    index: str | None = Field(
        default=None,
        description="Plain indices in place of data streams: a name, in which fields of the records and a date may stand.",
    )
    pipeline: str | None = Field(default=None, description="Ingest pipeline that the store sends the records through.")
    routing: str | None = Field(default=None, description="Routing value of all records.")
    compression: Literal["auto", "none", "gzip", "zstd"] = Field(
        default="auto",
        description="How request bodies are compressed; `auto`: gzip for a store that is not on this machine.",
    )
    state: Path | None = Field(
        default=None, description="Folder of checkpoint and dead letters; default: `.shipper` beside the files."
    )
    template: bool = Field(
        default=True, description="Make sure of index template and data stream before the first write to a stream."
    )
    dataset: str | None = Field(
        default=None, description="Dataset of the data stream in place of the service name; fields may stand in it."
    )
    namespace: str | None = Field(
        default=None, description="Namespace of the data stream in place of the environment; fields may stand in it."
    )
    max_targets: int = Field(
        default=256,
        ge=1,
        description="Names of streams or indices that fields of records may choose, for all files together.",
    )
    finished: Literal["keep", "delete", "archive"] = Field(
        default="keep",
        description="What happens to a file of jsonlog whose writer has ended, once all is acknowledged.",
    )
    archive: Path | None = Field(default=None, description="Folder of the archive, for `finished: archive`.")
    archive_compression: Literal["gzip", "zstd"] = Field(
        default="gzip", description="How archived files are compressed."
    )
    finished_nolock_s: float | None = Field(
        default=None,
        ge=60,
        description="Seconds without a change after which a file without lock counts as finished; default: never.",
    )
    forget_s: float = Field(
        default=7 * 86400.0, ge=60, description="How long the checkpoint remembers a file that is gone."
    )
    batch_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, description="Bytes of lines in one request.")
    batch_records: int = Field(default=10_000, ge=1, description="Records in one request.")
    linger_s: float = Field(default=0.05, ge=0, le=60, description="The longest that a record waits for others.")
    workers: int = Field(default=1, ge=1, le=64, description="Processes that share the files of jsonlog.")
    in_flight: int = Field(default=3, ge=1, le=64, description="Requests at once.")
    ordered: bool = Field(
        default=False, description="Deliver the records of each file in order: one request at once for each file."
    )
    in_flight_bytes: int = Field(
        default=12 * 1024 * 1024,
        ge=64 * 1024,
        description="Bytes that are read and not acknowledged; then reading waits.",
    )
    max_line_bytes: int = Field(
        default=1024 * 1024, ge=1024, description="A longer line is cut into a record with its head."
    )
    bad_lines: Literal["wrap", "dead_letter"] = Field(
        default="wrap",
        description="What becomes of a line that is no JSON object: the message of a record, or a dead letter.",
    )
    fields: dict[str, Any] = Field(
        default={}, description="Added to each record that does not have them; dotted names stand for objects."
    )
    stream_fields: bool = Field(default=False, description="Add `data_stream.*` and `event.dataset` to each record.")
    watch: Literal["auto", "inotify", "poll"] = Field(
        default="auto",
        description="How is learnt what changes: from the kernel, or by looking; `auto` looks on network file systems.",
    )
    poll_interval_s: float = Field(
        default=0.1, ge=0.01, le=60, description="How often is looked for new lines and files."
    )
    timeout_s: float = Field(default=60.0, gt=0, description="The longest wait for the store in one request.")
    drain_s: float = Field(
        default=25.0, ge=0, description="After SIGTERM: the longest that writers and unshipped records are waited for."
    )

    dead_letters_bytes: int = Field(
        default=1024 * 1024 * 1024,
        ge=1024,
        description="The most that the dead-letter file may hold; then nothing is passed over until there is room in it.",
    )
    once_timeout_s: float = Field(
        default=0.0, ge=0, description="With `--once`: the longest that it may take; 0 for as long as it takes."
    )
    metrics: str | None = Field(
        default=None, description="Address for metrics, health and readiness over HTTP, such as `127.0.0.1:9101`."
    )

    @field_validator("path", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        """Accept one glob, several with commas between them, a JSON list, or a list."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            try:
                return json.loads(value)
            except ValueError:
                pass  # a glob may begin with a bracket
        return [piece.strip() for piece in value.split(",") if piece.strip()]

    @field_validator("index", "dataset", "namespace")
    @classmethod
    def _check_template(cls, value: str | None, info: ValidationInfo) -> str | None:
        return value if value is None else check_template(value, alone=info.field_name == "index")

    @field_validator("fields")
    @classmethod
    def _nest(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Make objects of dotted names, and make sure that JSON can hold the values."""
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as exc:
            raise ValueError(f"not to be written as JSON: {exc}") from exc
        fields: dict[str, Any] = {}
        for name, inner in value.items():
            if not all(name.split(".")):
                raise ValueError(f"{name!r} is not the name of a field")
            nested = inner
            for key in reversed(name.split(".")):
                nested = {key: nested}
            fields = merge(fields, nested)
        return fields

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the command line and the environment; the file is merged in below both by `load_settings`."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings


def load_settings(file: Path | None, given: dict[str, Any]) -> Settings:
    """
    Put the settings together.

    Args:
        file: A YAML file, None for none.
        given: What was said on the command line; None stands for not said.

    Raises:
        ConfigError: Something is wrong; the message names the key and where it stands.
    """
    said = {key: value for key, value in given.items() if value is not None}
    in_file, lines = _read_yaml(file) if file is not None else ({}, {})
    from_env = {key for key in Settings.model_fields if os.environ.get(f"{_PREFIX}{key.upper()}")}
    merged = {**{key: value for key, value in in_file.items() if key not in from_env}, **said}
    try:
        return Settings(**merged)
    except ValidationError as exc:
        raise ConfigError(_explain(exc, said, from_env, file, lines)) from exc


def suspicious_variables() -> list[str]:
    """Return a sentence for each environment variable that is probably a misspelt one of ours."""
    known = [f"{_PREFIX}{key.upper()}" for key in Settings.model_fields]
    found = [name for name in os.environ if name.startswith(_PREFIX) and name not in known]
    near = {name: difflib.get_close_matches(name, known, n=1, cutoff=0.85) for name in found}
    return [f"{name} is not a setting; did you mean {match[0]}?" for name, match in near.items() if match]


def _nearest(key: str) -> str:
    match = difflib.get_close_matches(str(key), Settings.model_fields, n=1)
    return f"; did you mean {match[0]!r}?" if match else f"; known are {', '.join(Settings.model_fields)}"


def _read_yaml(file: Path) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read {file}: {getattr(exc, 'strerror', None) or exc}") from exc
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"{file} is not YAML: {' '.join(str(exc).split())}") from exc
    if node is None:
        return {}, {}
    if not isinstance(node, yaml.MappingNode) or not isinstance(values, dict):
        raise ConfigError(f"{file}: expected keys and values such as 'path: logs/*.jsonl'")
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if key.value in lines:
            raise ConfigError(f"{file}:{key.start_mark.line + 1}: {key.value!r} stands here for the second time")
        if key.value not in Settings.model_fields:
            raise ConfigError(f"{file}:{key.start_mark.line + 1}: unknown key {key.value!r}{_nearest(key.value)}")
        lines[key.value] = key.start_mark.line + 1
    return {key: value for key, value in values.items() if value is not None}, lines


def _explain(
    exc: ValidationError, said: dict[str, Any], from_env: set[str], file: Path | None, lines: dict[str, int]
) -> str:
    sentences = []
    for error in exc.errors():
        key = str(error["loc"][0]) if error["loc"] else "settings"
        if key in said:
            where = f"--{key.replace('_', '-')}"
        elif key in from_env:
            where = f"{_PREFIX}{key.upper()}"
        elif key in lines:
            where = f"{file}:{lines[key]}: {key}"
        else:
            where = key
        sentences.append(f"{where}: {_wording(error)} (got {error.get('input')!r})")
    return "; ".join(sentences)


# What is wrong with a value, in the words of this program; the names are pydantic's.
_WORDINGS = {
    "literal_error": "must be {expected}",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "path_type": "must be a path",
    "list_type": "must be a list, or texts with commas between them",
    "dict_type": "must be keys with values",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}


def _wording(error: Mapping[str, Any]) -> str:
    words = _WORDINGS.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix("Value error, ")
    return words.format(**error.get("ctx", {}))
