"""
`shipper setup`: index templates, lifecycle, and what people open in Kibana; installed or brought up to date, safe to repeat.

Everything is looked at before anything is changed, and each thing that is as it should be is left alone.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shipper.commands.check import (
    JSON_HEADERS,
    PRIVILEGES,
    PROFILES,
    Finding,
    Json,
    Store,
    check_profiles,
    find_store,
    open_transport,
    put,
    refusal,
    survey,
    table,
    template_name,
    template_of,
    with_choices,
)
from shipper.config import Settings
from shipper.core.model import Request
from shipper.errors import ConfigError, SinkMisconfigured
from shipper.resources import read_schema
from shipper.transport import Transport

POLICY = "jsonlog"
OBJECTS = {"elasticsearch": "kibana.ndjson", "opensearch": "opensearch-dashboards.ndjson"}
VIEWERS = {"elasticsearch": "Kibana", "opensearch": "OpenSearch Dashboards"}
KIBANA_PRIVILEGES = (
    "the feature privilege Saved Objects Management: All (in OpenSearch Dashboards: write access to the tenant)"
)
_AGE = re.compile(r"[1-9][0-9]*[dhm]")
_BOUNDARY = "jsonlog-shipper-saved-objects"
_PATTERN = "logs-*.jsonlog*-*"


@dataclass(frozen=True, slots=True)
class Options:
    """
    What shall be set up.

    Args:
        profiles: Whose templates.
        lifecycle: `rollover`, an age such as `30d`, `ilm:` and an age, or None to leave it as it is.
        index_mode: `standard` or `logsdb`, or None to leave it as it is.
        kibana: URL of Kibana or OpenSearch Dashboards; None leaves it out.
        dry_run: Change nothing.
        export: Write files into this folder, and ask nobody.
    """

    profiles: Sequence[str] = ("jsonlog",)
    lifecycle: str | None = None
    index_mode: str | None = None
    kibana: str | None = None
    dry_run: bool = False
    export: Path | None = None


def setup(settings: Settings, options: Options = Options()) -> tuple[str, int]:
    """
    Install what a store and its Kibana need, or write it as files.

    Args:
        settings: `to` says where.
        options: What.

    Returns:
        A table of what was done, and the exit code: 0, or 1 where something is left for the operator to do.

    Raises:
        ConfigError: The URL is missing, wrong or no store's, or an option is.
        SinkError: The store does not answer, or does not let anybody look.
    """
    check_profiles(options.profiles)
    if options.lifecycle is not None:
        _check_lifecycle(options.lifecycle)
    if options.index_mode not in (None, "standard", "logsdb"):
        raise ConfigError(f"--index-mode {options.index_mode}: give standard or logsdb")
    if options.export is not None:
        return _export(options, options.export), 0
    return asyncio.run(_setup(settings, options))


async def _setup(settings: Settings, options: Options) -> tuple[str, int]:
    transport = open_transport(settings, settings.to)
    viewer = open_transport(settings, options.kibana, "--kibana") if options.kibana else None
    try:
        store = await find_store(transport)
        product = store.server.product
        before, chosen = _choices(product, options)
        findings = [await _policy(store, finding) for finding in before]
        findings += await survey(store, options.profiles, chosen)
        if options.lifecycle is not None and any(finding.what.startswith("data stream") for finding in findings):
            findings.append(_existing(product, options.lifecycle))
        rows = [await _mend(transport, finding, PRIVILEGES[product], dry_run=options.dry_run) for finding in findings]
        if viewer is not None:
            objects = _import(product)
            rows.append(await _mend(viewer, objects, KIBANA_PRIVILEGES, dry_run=options.dry_run))
    finally:
        await transport.close()
        if viewer is not None:
            await viewer.close()
    failed = any(outcome in ("blocked", "refused") for _, outcome, _ in rows)
    return f"{store.server.name} at {transport.url}\n{table(rows)}", int(failed)


async def _mend(transport: Transport, finding: Finding, privileges: str, *, dry_run: bool) -> tuple[str, str, str]:
    """Do what mends a finding; a refusal is a row of the table, as the other things can still be done."""
    if finding.request is None:
        return finding.what, "unchanged" if finding.state == "fine" else finding.state, finding.detail
    if dry_run:
        return finding.what, f"would be {finding.done}", finding.detail
    response = await transport.send(finding.request)
    said = response.body.decode("utf-8", "replace")
    if response.status not in (200, 201):
        what = f"{finding.request.method} {transport.url}{finding.request.path}"
        return finding.what, "refused", str(refusal(response, what, privileges))
    if "/_import" in finding.request.path:
        return finding.what, *_imported(transport, said, finding.done)
    return finding.what, finding.done, finding.detail


# --- lifecycle -------------------------------------------------------------------------------------------------------


def _check_lifecycle(text: str) -> None:
    if text != "rollover" and not _AGE.fullmatch(text.removeprefix("ilm:")):
        raise ConfigError(
            f"--lifecycle {text}: give rollover, an age such as 30d, or ilm:30d (Elasticsearch's older way)"
        )


def _choices(product: str, options: Options) -> tuple[list[Finding], Json]:
    """Say what has to be installed before the templates, and what is chosen for them."""
    before, lifecycle = _lifecycle(product, options.lifecycle)
    chosen: Json = {} if lifecycle is None else {"lifecycle": lifecycle}
    if options.index_mode is None:
        return before, chosen
    if product == "opensearch":
        raise ConfigError(f"--index-mode {options.index_mode}: OpenSearch has no index modes")
    return before, {**chosen, "mode": options.index_mode}


def _lifecycle(product: str, text: str | None) -> tuple[list[Finding], Json | None]:
    """Say what has to be installed before the templates, and what they shall say."""
    if text is None:
        return [], None
    age = None if text == "rollover" else text.removeprefix("ilm:")
    if product == "opensearch":
        if text.startswith("ilm:"):
            raise ConfigError(f"--lifecycle {text}: OpenSearch has no ILM; give an age such as 30d, or rollover")
        path = f"/_plugins/_ism/policies/{POLICY}"
        return [Finding(f"ISM policy {POLICY}", "differs", text, put(path, ism_policy(age)), "installed")], {}
    if text.startswith("ilm:"):
        policy = Finding(
            f"ILM policy {POLICY}", "differs", text, put(f"/_ilm/policy/{POLICY}", ilm_policy(age)), "installed"
        )
        return [policy], {"index": {"lifecycle": {"name": POLICY, "prefer_ilm": "true"}}}
    return [], {"stream": {"enabled": True, **({"data_retention": age} if age else {})}}


async def _policy(store: Store, finding: Finding) -> Finding:
    """OpenSearch overwrites a policy only if it is told which one it overwrites."""
    assert finding.request is not None
    there = await store.ask("GET", finding.request.path) if store.server.product == "opensearch" else None
    if there is None:
        return finding
    path = f"{finding.request.path}?if_seq_no={there['_seq_no']}&if_primary_term={there['_primary_term']}"
    return replace(finding, request=replace(finding.request, path=path), done="updated")


def _existing(product: str, text: str) -> Finding:
    """Give the streams that are there already the same lifecycle: a template is for new ones only."""
    what = "lifecycle of existing streams"
    if product == "opensearch":
        body: Json = {"policy_id": POLICY}
        request = Request("POST", f"/_plugins/_ism/add/{_PATTERN}", json.dumps(body).encode(), JSON_HEADERS)
        return Finding(what, "differs", text, request, "attached")
    if text.startswith("ilm:"):
        return Finding(what, "differs", text, put(f"/{_PATTERN}/_settings", {"index.lifecycle.name": POLICY}), "set")
    body = {} if text == "rollover" else {"data_retention": text}
    return Finding(what, "differs", text, put(f"/_data_stream/{_PATTERN}/_lifecycle", body), "set")


def ilm_policy(age: str | None) -> Json:
    """Give an ILM policy that rolls over, and deletes what is older than *age*."""
    rollover = {"rollover": {"max_primary_shard_size": "50gb", "max_age": "30d"}}
    delete = {"delete": {"min_age": age, "actions": {"delete": {}}}} if age else {}
    return {"policy": {"phases": {"hot": {"actions": rollover}, **delete}}}


def ism_policy(age: str | None) -> Json:
    """Give an ISM policy that rolls over, and deletes what is older than *age*; it attaches itself to new indices."""
    write: Json = {
        "name": "write",
        "actions": [{"rollover": {"min_primary_shard_size": "50gb", "min_index_age": "30d"}}],
        "transitions": [{"state_name": "delete", "conditions": {"min_rollover_age": age}}] if age else [],
    }
    delete: Json = {"name": "delete", "actions": [{"delete": {}}], "transitions": []}
    return {
        "policy": {
            "description": "Streams of jsonlog-shipper",
            "default_state": "write",
            "states": [write, delete] if age else [write],
            "ism_template": [{"index_patterns": [_PATTERN], "priority": 251}],
        }
    }


# --- Kibana, OpenSearch Dashboards -----------------------------------------------------------------------------------


def _import(product: str) -> Finding:
    """Build the import of the saved objects, which replaces those of the same ids."""
    name = OBJECTS[product]
    body = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: application/ndjson\r\n\r\n{read_schema(name)}\r\n--{_BOUNDARY}--\r\n"
    )
    headers = (
        ("content-type", f"multipart/form-data; boundary={_BOUNDARY}"),
        ("osd-xsrf" if product == "opensearch" else "kbn-xsrf", "true"),
    )
    request = Request("POST", "/api/saved_objects/_import?overwrite=true", body.encode(), headers)
    return Finding(f"saved objects in {VIEWERS[product]}", "missing", name, request, "imported")


def _imported(transport: Transport, said: str, done: str) -> tuple[str, str]:
    """Read the answer to an import: 200 even where not a single object was taken."""
    try:
        answer = json.loads(said)
        count, good = int(answer["successCount"]), bool(answer["success"])
    except (ValueError, KeyError, TypeError):
        raise SinkMisconfigured(
            f"{transport.url} does not answer like Kibana or OpenSearch Dashboards: {said[:200]!r}; check --kibana"
        ) from None
    if good:
        return done, f"{count} objects"
    errors = [f"{one.get('type')} {one.get('id')}: {json.dumps(one.get('error'))}" for one in answer.get("errors", ())]
    return "refused", f"{count} objects were taken, not these: " + "; ".join(errors)[:1000]


# --- files -----------------------------------------------------------------------------------------------------------


def _export(options: Options, folder: Path) -> str:
    """Write what would be sent as files, for those who install by other means."""
    files: dict[str, tuple[str, str]] = {}
    for product, name in OBJECTS.items():
        if product == "opensearch" and ((options.lifecycle or "").startswith("ilm:") or options.index_mode):
            continue
        before, chosen = _choices(product, options)
        for finding in before:
            assert finding.request is not None
            kind = finding.what.partition(" ")[0].lower()
            text = json.dumps(json.loads(finding.request.body), indent=2) + "\n"
            files[f"{product}-{kind}-policy.json"] = (f"PUT {finding.request.path}", text)
        for profile in options.profiles:
            body = with_choices(template_of(product, profile), chosen)
            text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
            template = template_name(profile)
            files[f"{product}-template-{template}.json"] = (f"PUT /_index_template/{template}", text)
        files[name] = (f"POST /api/saved_objects/_import?overwrite=true to {VIEWERS[product]}", read_schema(name))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (_, text) in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"--export {folder}: cannot be written: {exc}") from exc
    return table([(str(folder / name), use) for name, (use, _) in files.items()])


__all__ = ["PROFILES", "Options", "ilm_policy", "ism_policy", "setup"]
