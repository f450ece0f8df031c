"""`shipper check`: what is missing in a store or differs from what this version would install; `setup` mends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase

from shipper.commands.lifecycle import unattended
from shipper.commands.store import Finding, Json, Store, find_store, open_transport, post, put, table
from shipper.commands.templates import (
    LIFECYCLE,
    PROFILES,
    USUAL,
    Choices,
    bundle,
    check_profiles,
    choices_in,
    chosen,
    differences,
    mapping_of,
    over,
    template_name,
)
from shipper.config import Settings

_BRIEFLY = "filter_path=" + ",".join(
    f"index_templates.{name}" for name in ("name", "index_template.index_patterns", "index_template.priority")
)
_KINDS = {"_component_template": "component template", "_index_template": "index template"}


def check(settings: Settings, profiles: Sequence[str] = USUAL) -> tuple[str, int]:
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
            findings = await survey(store, profiles, Choices())
            findings += await unattended(store)
        finally:
            await transport.close()
        bad = [finding for finding in findings if finding.state not in ("fine", "newer")]
        lines = table([(f.what, f.state, f.detail) for f in findings])
        hint = "\nshipper setup mends what is missing or differs." if any(f.request for f in bad) else ""
        return f"{store.title}\n{lines}{hint}", int(bool(bad))

    return asyncio.run(look())


async def survey(store: Store, profiles: Sequence[str], choices: Choices) -> list[Finding]:
    """
    Look at the templates, and at every stream that they are for.

    Args:
        store: Where.
        profiles: Whose templates.
        choices: What is chosen now; the rest is left as it is.
    """
    findings: dict[str, Finding] = {}  # the profiles share components
    streams: list[Finding] = []
    there = "flat" not in profiles and await store.ask("GET", f"/_index_template/{template_name('flat')}")
    templates = (await store.ask("GET", f"/_index_template?{_BRIEFLY}") or {}).get("index_templates", ())
    for profile in (*profiles, "flat") if there else profiles:
        parts = bundle(store.server.product, profile)
        for path, wanted in parts.items():
            if path not in findings:
                findings[path] = await _part(store, path, wanted, choices)
        if profile != "jsonlog" or not (there or "flat" in profiles):
            streams += _taken_over(templates, parts[f"/_index_template/{template_name(profile)}"])
            streams += [finding async for finding in _streams(store, profile, parts, choices)]
    return [*findings.values(), *streams]


async def _part(store: Store, path: str, wanted: Json, choices: Choices) -> Finding:
    """Look at a component or an index template."""
    _, kind, name = path.split("/")
    what = f"{_KINDS[kind]} {name}"
    answer = await store.ask("GET", path)
    if answer is None:
        return Finding(what, "missing", "", put(path, chosen(store.server.product, path, wanted, choices)), "installed")
    there = answer[f"{kind[1:]}s"][0][kind[1:]]
    if there.get("version", 0) > wanted["version"]:
        return Finding(what, "newer", f"version {there['version']}, left as it is")
    before = choices_in(there, wanted.get("composed_of", ()))
    wanted = chosen(store.server.product, path, wanted, over(choices, before))
    different = sorted(differences(wanted, there))
    if path == LIFECYCLE:  # it is wholly the operator's: what was chosen before has to go
        different += sorted(differences({"template": there["template"]}, {"template": wanted["template"]}))
    if not different:
        return Finding(what, "fine", f"version {there.get('version')}")
    return Finding(what, "differs", _some(different), put(path, wanted), "updated")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# --- streams ---------------------------------------------------------------------------------------------------------


async def _streams(store: Store, profile: str, parts: Json, choices: Choices) -> AsyncIterator[Finding]:
    name = template_name(profile)
    index = parts[f"/_index_template/{name}"]
    (pattern,) = index["index_patterns"]
    answer = await store.ask("GET", f"/_data_stream/{pattern}") or {}
    streams = answer.get("data_streams", ())
    mapping = mapping_of(parts, await _custom(store, name, index, choices)) if streams else {}
    for stream in streams:
        above = await _stronger(store, stream, name, index["priority"])
        yield (
            Finding(f"data stream {stream['name']}", "blocked", above)
            if above
            else await _stream(store, stream, mapping)
        )
    indices = await store.ask("GET", f"/{pattern}/_settings/index.uuid?expand_wildcards=all") or {}
    for plain in sorted(indices):
        if not plain.startswith("."):  # the indices behind a stream begin with a dot
            yield Finding(
                f"index {plain}",
                "blocked",
                "a plain index stands where the data stream should be (something wrote there before the template was "
                "installed): stop the shipper, copy the index with _reindex (op_type create) to a name such as "
                f"{plain.replace('.jsonlog', '_old.jsonlog')} or give it up, delete it, and start the shipper again",
            )


def _taken_over(templates: Sequence[Json], ours: Json) -> list[Finding]:
    """Name the templates of somebody else's that every new stream would come under, since they are stronger than ours."""
    (pattern,) = ours["index_patterns"]
    anybodys = pattern.replace("*", "any")
    own = {template_name(profile) for profile in PROFILES}
    return [
        Finding(
            f"streams {pattern}",
            "blocked",
            f"new ones would be under template {one['name']!r} (priority {one['index_template']['priority']}), not ours "
            f"({ours['priority']}): lower its priority or its pattern",
        )
        for one in templates
        if one["name"] not in own
        and one["index_template"].get("priority", 0) > ours["priority"]
        and any(fnmatchcase(anybodys, theirs) for theirs in one["index_template"]["index_patterns"])
    ]


async def _custom(store: Store, name: str, index: Json, choices: Choices) -> list[Json]:
    """Read the operator's own components that the template is composed of, or will be."""
    answer = await store.ask("GET", f"/_index_template/{name}")
    there = answer["index_templates"][0]["index_template"] if answer else {}
    names = over(choices, choices_in(there, index["composed_of"])).custom or ()
    answers = [await store.ask("GET", f"/_component_template/{one}") for one in names]
    return [one["component_templates"][0]["component_template"] for one in answers if one]


async def _stronger(store: Store, stream: Json, ours: str, priority: int) -> str:
    """Say which template of somebody else's keeps ours from a stream; one that is weaker gives way once ours is there."""
    template = stream.get("template")
    other = None if template in (None, ours) else await store.ask("GET", f"/_index_template/{template}")
    theirs = other["index_templates"][0]["index_template"].get("priority", 0) if other else -1
    if theirs <= priority:
        return ""
    return (
        f"is under template {template!r} (priority {theirs}), not ours ({priority}): lower its priority or its pattern"
    )


async def _stream(store: Store, stream: Json, mapping: Json) -> Finding:
    name = stream["name"]
    what = f"data stream {name}"
    index = stream["indices"][-1]["index_name"]
    answer = await store.ask("GET", f"/{index}/_mapping") or {}
    there = answer.get(index, {}).get("mappings", {})
    different = sorted(differences(mapping, there))
    if not different:
        return Finding(what, "fine")
    detail = f"{index} is mapped otherwise: {_some(different)}"
    done = "rolled over: what comes from now on is mapped anew"
    return Finding(what, "differs", detail, post(f"/{name}/_rollover"), done)
