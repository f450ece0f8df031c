"""
`shipper setup`: index templates, lifecycle, and what people open in Kibana; installed or brought up to date, safe to repeat.

Everything is looked at before anything is changed, and each thing that is as it should be is left alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper.commands.check import survey
from shipper.commands.lifecycle import ISM, before_templates, check_lifecycle, for_streams, lifecycle_component, policy
from shipper.commands.store import PRIVILEGES, Finding, Json, find_store, open_transport, refusal, table
from shipper.commands.templates import USUAL, Choices, bundle, check_profiles, chosen
from shipper.config import Settings
from shipper.core.model import Request
from shipper.errors import ConfigError, SinkError
from shipper.resources import read_schema
from shipper.transport import Transport

OBJECTS = {"elasticsearch": "kibana.ndjson", "opensearch": "opensearch-dashboards.ndjson"}
VIEWERS = {"elasticsearch": "Kibana", "opensearch": "OpenSearch Dashboards"}
KIBANA_PRIVILEGES = (
    "the feature privilege Saved Objects Management: All (in OpenSearch Dashboards: write access to the tenant)"
)
_BOUNDARY = "jsonlog-shipper-saved-objects"


@dataclass(frozen=True, slots=True)
class Options:
    """
    What shall be set up.

    Args:
        profiles: Whose templates.
        lifecycle: `rollover`, an age such as `30d`, `ilm:` and an age, or None to leave it as it is.
        index_mode: `standard` or `logsdb`, or None to leave it as it is.
        custom: Component templates of the operator's, composed after ours; `none` alone for none; None as it is.
        kibana: URL of Kibana or OpenSearch Dashboards; None leaves it out.
        dry_run: Change nothing.
        export: Write files into this folder, and ask nobody.
    """

    profiles: Sequence[str] = USUAL
    lifecycle: str | None = None
    index_mode: str | None = None
    custom: Sequence[str] | None = None
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
        check_lifecycle(options.lifecycle)
    if options.index_mode not in (None, "standard", "logsdb"):
        raise ConfigError(f"--index-mode {options.index_mode}: give standard or logsdb")
    if options.export is not None:
        if options.dry_run:
            raise ConfigError("--dry-run and --export: give one of them, an export changes nothing in a store")
        return _export(options, options.export), 0
    return asyncio.run(_setup(settings, options))


async def _setup(settings: Settings, options: Options) -> tuple[str, int]:
    transport = open_transport(settings, settings.to)
    viewer = open_transport(settings, options.kibana, "--kibana") if options.kibana else None
    try:
        store = await find_store(transport)
        product = store.server.product
        choices = _choices(product, options)
        before = after = list[Finding]()
        if options.lifecycle is not None:
            before = await before_templates(store, options.lifecycle)
            after = await for_streams(store, options.lifecycle, before)
        findings = [*before, *await survey(store, options.profiles, choices), *after]
        rows = [await _mend(transport, finding, PRIVILEGES[product], dry_run=options.dry_run) for finding in findings]
        if viewer is not None:
            objects = _import(product)
            rows.append(await _mend(viewer, objects, KIBANA_PRIVILEGES, dry_run=options.dry_run))
    finally:
        await transport.close()
        if viewer is not None:
            await viewer.close()
    failed = any(outcome in ("blocked", "refused", "no answer") for _, outcome, _ in rows)
    return f"{store.title}\n{table(rows)}", int(failed)


def _choices(product: str, options: Options) -> Choices:
    if product == "opensearch" and options.index_mode is not None:
        raise ConfigError(f"--index-mode {options.index_mode}: OpenSearch has no index modes")
    custom = None if options.custom is None else tuple(name for name in options.custom if name != "none")
    component = None if options.lifecycle is None else lifecycle_component(product, options.lifecycle)
    return Choices(component, options.index_mode, custom)


async def _mend(transport: Transport, finding: Finding, privileges: str, *, dry_run: bool) -> tuple[str, str, str]:
    """Do what mends a finding; what fails is a row of the table, which says what was done before it, and goes on after it."""
    if finding.request is None:
        return finding.what, "unchanged" if finding.state == "fine" else finding.state, finding.detail
    if dry_run:
        return finding.what, f"would be {finding.done}", finding.detail
    return finding.what, *await _ask(transport, finding, finding.request, privileges)


async def _ask(transport: Transport, finding: Finding, request: Request, privileges: str) -> tuple[str, str]:
    """Send what mends a finding; the outcome and the detail of its row."""
    try:
        response = await transport.send(request)
    except SinkError as exc:
        return "no answer", str(exc)
    said = response.body.decode("utf-8", "replace")
    if response.status not in (200, 201):
        return "refused", str(refusal(response, f"{request.method} {transport.url}{request.path}", privileges))
    if "/_import" in request.path:
        return _imported(transport, said, finding.done)
    if request.path.startswith((f"{ISM}/add", f"{ISM}/change")) and '"failures":true' in said.replace(" ", ""):
        return "refused", said[:1000]  # 200 even where not a single index was taken
    return finding.done, finding.detail


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
        wrong = f"{transport.url} does not answer like Kibana or OpenSearch Dashboards: {said[:200]!r}; check --kibana"
        return "refused", wrong
    if good:
        return done, f"{count} objects"
    errors = [f"{one.get('type')} {one.get('id')}: {json.dumps(one.get('error'))}" for one in answer.get("errors", ())]
    return "refused", f"{count} objects were taken, not these: " + "; ".join(errors)[:1000]


# --- files -----------------------------------------------------------------------------------------------------------


def _export(options: Options, folder: Path) -> str:
    """Write what would be sent as files, in order and a folder for each product, for those who install by other means."""
    files: list[tuple[str, str, str]] = []
    for product, name in OBJECTS.items():
        if product == "opensearch" and ((options.lifecycle or "").startswith("ilm:") or options.index_mode):
            continue
        bodies = _requests(product, options)
        for number, (path, body) in enumerate(bodies.items(), 1):
            text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
            file = f"{product}/{number:02}-{path.strip('/').replace('/', '-').strip('_')}.json"
            files.append((file, f"PUT {path}", text))
        files.append(
            (
                f"{product}/{name}",
                f"POST /api/saved_objects/_import?overwrite=true to {VIEWERS[product]}",
                read_schema(name),
            )
        )
    others = {path for product in OBJECTS for path in (folder / product).glob("*") if path.is_file()}
    if others := others - {folder / file for file, _, _ in files}:
        # A mixture of two exports would be installed in an order that is neither's.
        raise ConfigError(f"--export {folder}: holds {min(others)}, which is not of this export; give an empty folder")
    try:
        for file, _, text in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"--export {folder}: cannot be written: {exc}") from exc
    return table([(str(folder / file), use) for file, use, _ in files])


def _requests(product: str, options: Options) -> Json:
    """Give every body that an empty store is sent, under its path."""
    choices = _choices(product, options)
    first = policy(product, options.lifecycle) if options.lifecycle else None
    bodies: Json = {first.request.path: json.loads(first.request.body)} if first and first.request else {}
    for profile in options.profiles:
        for path, body in bundle(product, profile).items():
            bodies[path] = chosen(product, path, body, choices)
    return bodies
