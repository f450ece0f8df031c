"""
`shipper check`: what is missing in a store or differs from what this version would install. `setup` mends what is found here.

A template is compared by what it says, not by its version alone: somebody may have edited it. What a store adds by itself does
not count as a difference.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from shipper.config import Settings
from shipper.core.model import Request, Response
from shipper.errors import ConfigError, SinkMisconfigured
from shipper.resources import load_schema
from shipper.sinks.detect import find_sink
from shipper.sinks.elasticsearch import TEMPLATE, ElasticsearchSink, Server, problem
from shipper.transport import Transport, check_url

Json = dict[str, Any]
State = Literal["fine", "missing", "differs", "newer", "blocked"]

PROFILES = ("jsonlog", "ecs", "foreign")
JSON_HEADERS = (("content-type", "application/json"),)
PRIVILEGES = {
    "elasticsearch": "cluster privileges monitor and manage_index_templates (manage_ilm for --lifecycle ilm:…), "
    "index privileges manage and view_index_metadata on logs-*.jsonlog*-*",
    "opensearch": "cluster permissions cluster_monitor, cluster:admin/opendistro/ism/* (for --lifecycle) and "
    "indices:admin/index_template/*, index permissions manage and indices:monitor/* on logs-*.jsonlog*-*",
}
# Found by words and phrases alike: not worth a rollover.
_ALIKE = {"match_only_text": "text"}
# What an index shows of its mapping; defaults such as date_detection it leaves out.
_COMPARED = ("properties", "dynamic", "dynamic_templates", "subobjects")


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was looked at.

    Args:
        what: Its name, for people.
        state: How it is.
        detail: What is missing or differs, or what to do.
        request: What mends it; None where only an operator can.
        done: What is said when that has been done.
    """

    what: str
    state: State
    detail: str = ""
    request: Request | None = None
    done: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """A store that answers: the way to it, and what it says it is."""

    transport: Transport
    server: Server

    async def ask(self, method: str, path: str) -> Json | None:
        """
        Ask for something that may be absent.

        Returns:
            The answer, None where there is no such thing.

        Raises:
            SinkUnavailable: No usable answer came.
            SinkMisconfigured: It was refused; the message says what the user has to be allowed.
        """
        response = await self.transport.send(Request(method, path))
        if response.status == 404:
            return None
        if response.status != 200:
            raise refusal(response, f"{method} {path}", PRIVILEGES[self.server.product])
        loaded: Json = json.loads(response.body)
        return loaded


def refusal(response: Response, what: str, privileges: str) -> Exception:
    """Turn an answer that is not good into an error that says what the user has to be allowed."""
    error = problem(response, what)
    if response.status in (401, 403):
        return SinkMisconfigured(f"{error}; the user in the URL needs: {privileges}")
    return error


def check(settings: Settings, profiles: Sequence[str]) -> tuple[str, int]:
    """
    Look for what is missing in a store or differs.

    Args:
        settings: `to` says where.
        profiles: Whose templates are looked at.

    Returns:
        A table, and the exit code: 0 when all is as it should be, else 1.

    Raises:
        ConfigError: The URL is missing, wrong or no store's, or there is no such profile.
        SinkError: The store does not answer, or refuses.
    """
    check_profiles(profiles)

    async def look() -> tuple[str, int]:
        transport = open_transport(settings, settings.to)
        try:
            store = await find_store(transport)
            findings = await survey(store, profiles, {})
        finally:
            await transport.close()
        bad = [finding for finding in findings if finding.state not in ("fine", "newer")]
        lines = table([(f.what, f.state, f.detail) for f in findings])
        hint = "\nshipper setup mends what is missing or differs." if any(f.request for f in bad) else ""
        return f"{store.server.name} at {transport.url}\n{lines}{hint}", int(bool(bad))

    return asyncio.run(look())


def check_profiles(profiles: Sequence[str]) -> None:
    """Refuse a profile that does not exist."""
    for name in profiles:
        if name not in PROFILES:
            raise ConfigError(f"--profile {name}: there is no such profile; take one of {', '.join(PROFILES)}")


def open_transport(settings: Settings, url: str, option: str = "--to") -> Transport:
    """Open the way to a URL, or say what is wrong with it."""
    if not url:
        raise ConfigError(f"nowhere to look: give {option} http://… (or SHIPPER_TO)")
    try:
        check_url(url)
    except ConfigError as exc:
        raise ConfigError(str(exc).replace("--to", option, 1)) from exc
    return Transport(url, timeout_s=settings.timeout_s)


async def find_store(transport: Transport) -> Store:
    """Ask what stands at the URL; anything but a store has no templates."""
    sink = await find_sink(transport, kind="auto", compression="none", template=True, emit=lambda _: None)
    if not isinstance(sink, ElasticsearchSink):
        raise ConfigError(f"{transport.url} is {sink.kind}, where there is nothing to set up")
    return Store(transport, sink.server)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Write rows in columns; the last column is as long as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = ("  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


# --- what is there ---------------------------------------------------------------------------------------------------


async def survey(store: Store, profiles: Sequence[str], chosen: Json) -> list[Finding]:
    """
    Look at the templates, and at every stream that they are for.

    Args:
        store: Where.
        profiles: Whose templates.
        chosen: What `with_choices` takes; what is not in it is left as it is.
    """
    findings = []
    for profile in profiles:
        wanted = template_of(store.server.product, profile)
        findings.append(await _template(store, profile, wanted, chosen))
        findings += [finding async for finding in _streams(store, profile, wanted)]
    return findings


def template_name(profile: str) -> str:
    """Name the template of a profile."""
    return TEMPLATE if profile == "jsonlog" else f"{TEMPLATE}-{profile}"


def template_of(product: str, profile: str) -> Json:
    """Read the template of a profile for a product."""
    return load_schema(product if profile == "jsonlog" else f"{product}-{profile}")


def with_choices(template: Json, choices: Json) -> Json:
    """
    Give a template what the operator has chosen.

    Args:
        template: As it is in `schemas/`.
        choices: `lifecycle`, of which `stream` stands beside the mappings and `index` among the settings, and `mode`.
    """
    result = deepcopy(template)
    inner = result["template"]
    lifecycle = choices.get("lifecycle")
    if lifecycle is not None:
        inner.pop("lifecycle", None)
        if lifecycle.get("stream"):
            inner["lifecycle"] = lifecycle["stream"]
        inner["settings"]["index"] |= lifecycle.get("index", {})
    if "mode" in choices:
        inner["settings"]["index"]["mode"] = choices["mode"]
    return result


async def _template(store: Store, profile: str, wanted: Json, chosen: Json) -> Finding:
    name = template_name(profile)
    what = f"index template {name}"
    answer = await store.ask("GET", f"/_index_template/{name}")
    if answer is None:
        return Finding(what, "missing", "", put(f"/_index_template/{name}", with_choices(wanted, chosen)), "installed")
    there = answer["index_templates"][0]["index_template"]
    if there.get("version", 0) > wanted["version"]:
        return Finding(what, "newer", f"version {there['version']}, left as it is")
    before = _choices_of(there)
    wanted = with_choices(wanted, {**before, **chosen})
    different = sorted({*differences(wanted, there), *differences(before, _choices_of(wanted))})
    if not different:
        return Finding(what, "fine", f"version {there.get('version')}")
    detail = ", ".join(different[:3]) + (f" and {len(different) - 3} more" if len(different) > 3 else "")
    return Finding(what, "differs", detail, put(f"/_index_template/{name}", wanted), "updated")


def _choices_of(there: Json) -> Json:
    """Read what was chosen for an installed template: an upgrade must not change when records are deleted, or how they are kept."""
    inner = there.get("template", {})
    settings = inner.get("settings", {}).get("index", {})
    index = {"lifecycle": settings["lifecycle"]} if "lifecycle" in settings else {}
    mode = {"mode": "logsdb"} if settings.get("mode") == "logsdb" else {}
    return {"lifecycle": {"stream": inner.get("lifecycle"), "index": index}, **mode}


async def _streams(store: Store, profile: str, wanted: Json) -> Any:
    (pattern,) = wanted["index_patterns"]
    answer = await store.ask("GET", f"/_data_stream/{pattern}") or {}
    for stream in answer.get("data_streams", ()):
        yield await _stream(store, stream, template_name(profile), wanted)
    indices = await store.ask("GET", f"/{pattern}/_settings/index.uuid?expand_wildcards=all") or {}
    for index in sorted(indices):
        if not index.startswith("."):  # the indices behind a stream begin with a dot
            yield Finding(
                f"index {index}",
                "blocked",
                "a plain index stands where the data stream should be (something wrote there before the template was "
                "installed): stop the shipper, copy the index with _reindex (op_type create) to a name such as "
                f"{index.replace('.jsonlog', '_old.jsonlog')} or give it up, delete it, and start the shipper again",
            )


async def _stream(store: Store, stream: Json, template: str, wanted: Json) -> Finding:
    name = stream["name"]
    what = f"data stream {name}"
    if stream.get("template") != template:
        detail = (
            f"is under template {stream.get('template')!r}, not {template!r}: lower that one's priority or its pattern"
        )
        return Finding(what, "blocked", detail)
    index = stream["indices"][-1]["index_name"]
    answer = await store.ask("GET", f"/{index}/_mapping") or {}
    there = answer.get(index, {}).get("mappings", {})
    mapping = {key: value for key, value in wanted["template"]["mappings"].items() if key in _COMPARED}
    different = sorted(differences(mapping, there))
    if not different:
        return Finding(what, "fine")
    detail = f"{index} is mapped otherwise: {', '.join(different[:3])}"
    done = "rolled over: what comes from now on is mapped anew"
    return Finding(what, "differs", detail, Request("POST", f"/{name}/_rollover"), done)


def put(path: str, body: Json) -> Request:
    """Build a PUT of JSON."""
    return Request("PUT", path, json.dumps(body).encode(), JSON_HEADERS)


def differences(wanted: Json, there: Json) -> Iterator[str]:
    """Name every value that is wanted and not there, by its dotted name; what is there besides does not count."""
    found = dict(_leaves(there))
    # OpenSearch leaves `"type": "object"` out once such a field has properties.
    return (name for name, value in _leaves(wanted) if found.get(name, _unsaid(name)) != value)


def _unsaid(name: str) -> str | None:
    """Return what a store means by leaving *name* out."""
    return "object" if name.endswith(".type") else None


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Give the values below *value*, as the stores write them back: dotted names or objects, numbers or texts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        yield name, json.dumps([sorted(_leaves(inner)) for inner in value])
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield name, _ALIKE.get(text, text)
