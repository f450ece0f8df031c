"""
How long records are kept: the data stream lifecycle or ILM on Elasticsearch, ISM on OpenSearch.

A template is for streams to come; those that are there get the same. The one policy of ours is called `jsonlog`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from shipper.commands.store import Finding, Json, Store, post, put
from shipper.commands.templates import LIFECYCLE, differences
from shipper.errors import ConfigError, SinkMisconfigured

POLICY = "jsonlog"
PATTERN = "logs-*.jsonlog*-*"
ISM = "/_plugins/_ism"
_AGE = re.compile(r"[1-9][0-9]*[dhm]")
_MAX_PATH = 3000  # characters; the stores read a first line of 4,096


def check_lifecycle(text: str) -> None:
    """Refuse what is no lifecycle."""
    if text not in ("rollover", "ilm:rollover") and not _AGE.fullmatch(text.removeprefix("ilm:")):
        raise ConfigError(
            f"--lifecycle {text}: give rollover, an age such as 30d, or ilm:30d (Elasticsearch's older way)"
        )


def _age(text: str) -> str | None:
    plain = text.removeprefix("ilm:")
    return None if plain == "rollover" else plain


def lifecycle_component(product: str, text: str) -> Json | None:
    """Say what the component `jsonlog@lifecycle` shall hold; OpenSearch has none."""
    if product == "opensearch":
        if text.startswith("ilm:"):
            raise ConfigError(f"--lifecycle {text}: OpenSearch has no ILM; give an age such as 30d, or rollover")
        return None
    if text.startswith("ilm:"):
        return {"settings": {"index": {"lifecycle": {"name": POLICY, "prefer_ilm": "true"}}}}
    age = _age(text)
    return {"lifecycle": {"enabled": True, **({"data_retention": age} if age else {})}}


def policy(product: str, text: str) -> Finding | None:
    """Build what has to be there before the templates: a policy of ILM or ISM."""
    if product == "opensearch":
        request = put(f"{ISM}/policies/{POLICY}", ism_policy(_age(text)))
        return Finding(f"ISM policy {POLICY}", "missing", text, request, "installed")
    if text.startswith("ilm:"):
        request = put(f"/_ilm/policy/{POLICY}", ilm_policy(_age(text)))
        return Finding(f"ILM policy {POLICY}", "missing", text, request, "installed")
    return None


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
            "ism_template": [{"index_patterns": [PATTERN], "priority": 251}],
        }
    }


# --- what is there ---------------------------------------------------------------------------------------------------


async def before_templates(store: Store, text: str) -> list[Finding]:
    """Look at the policy, where one is asked for."""
    product = store.server.product
    finding = policy(product, text)
    if finding is None:
        return []
    path = finding.request.path if finding.request else ""
    try:
        there = await store.ask("GET", path)
    except SinkMisconfigured as exc:
        if "no handler found" in str(exc):  # a build without the module or the plugin
            raise ConfigError(f"--lifecycle {text}: {store.title} has no {finding.what.split()[0]}") from exc
        raise
    if there is None:
        return [finding]
    body = ism_policy(_age(text)) if product == "opensearch" else ilm_policy(_age(text))
    found = there if product == "opensearch" else there[POLICY]
    if not list(differences(body, found)):
        return [Finding(finding.what, "fine", text)]
    if product == "opensearch":  # it overwrites a policy only if it is told which one
        path += f"?if_seq_no={there['_seq_no']}&if_primary_term={there['_primary_term']}"
    return [replace(finding, state="differs", request=put(path, body), done="updated")]


async def for_streams(store: Store, text: str, before: Sequence[Finding]) -> list[Finding]:
    """
    Look at the streams that are there.

    Args:
        store: Where.
        text: The lifecycle that is asked for.
        before: What was found of the policy.
    """
    answer = await store.ask("GET", f"/_data_stream/{PATTERN}") or {}
    if not answer.get("data_streams"):
        return []
    if store.server.product == "opensearch":
        return await _attach(store, text, is_new=any(one.request for one in before))
    what = "lifecycle of existing streams"
    if text.startswith("ilm:"):
        body = {"index.lifecycle.name": POLICY, "index.lifecycle.prefer_ilm": True}
        return [Finding(what, "differs", text, put(f"/{PATTERN}/_settings", body), "set")]
    age = _age(text)
    body = {"data_retention": age} if age else {}
    findings = [Finding(what, "differs", text, put(f"/_data_stream/{PATTERN}/_lifecycle", body), "set")]
    if await _policy_in_use(store):  # an index under a policy obeys that, whatever the stream says
        away = post(f"/{PATTERN}/_ilm/remove")
        findings.insert(0, Finding("ILM of existing streams", "differs", "takes precedence", away, "removed"))
    return findings


async def _attach(store: Store, text: str, *, is_new: bool) -> list[Finding]:
    """Put the indices behind the streams under the policy; those of another policy are the operator's."""
    explained = await store.ask("GET", f"{ISM}/explain/{PATTERN}") or {}
    under: dict[str | None, list[str]] = {}
    for index, said in sorted(explained.items()):
        if isinstance(said, dict):
            under.setdefault(said.get("index.plugins.index_state_management.policy_id"), []).append(index)
    findings = []
    for verb, indices, done in (
        ("add", under.pop(None, []), "attached"),
        # A change of a policy reaches an index only if it is told.
        ("change_policy", under.pop(POLICY, []) if is_new else [], "changed"),
    ):
        for some in _portions(indices):
            what = f"lifecycle of {len(some)} existing indices"
            request = post(f"{ISM}/{verb}/{','.join(some)}", {"policy_id": POLICY})
            findings.append(Finding(what, "differs", text, request, done))
    under.pop(POLICY, None)
    for other, indices in under.items():
        detail = f"under ISM policy {other!r}, left as they are: {', '.join(indices[:3])}"
        findings.append(Finding(f"lifecycle of {len(indices)} existing indices", "newer", detail))
    return findings


def _portions(names: Sequence[str]) -> list[list[str]]:
    portions: list[list[str]] = []
    for name in names:
        if not portions or sum(len(one) + 1 for one in (*portions[-1], name)) > _MAX_PATH:
            portions.append([])
        portions[-1].append(name)
    return portions


async def unattended(store: Store) -> list[Finding]:
    """Say where a lifecycle was chosen and does not reach: a policy that is gone, an index that is under none."""
    if store.server.product == "opensearch":
        if await store.ask_a_plugin(f"{ISM}/policies/{POLICY}") is None:
            return []  # none was chosen, or there is no such plugin
        explained = await store.ask_a_plugin(f"{ISM}/explain/{PATTERN}") or {}
        alone = [
            index
            for index, said in sorted(explained.items())
            if isinstance(said, dict) and said.get("index.plugins.index_state_management.policy_id", 0) is None
        ]
        detail = f"under no policy: {', '.join(alone[:3])}; shipper setup --lifecycle attaches them"
        return [Finding(f"ISM policy {POLICY}", "differs", detail)] if alone else []
    name = await _policy_in_use(store)
    if name is None or await store.ask("GET", f"/_ilm/policy/{name}") is not None:
        return []
    return [
        Finding(f"ILM policy {name}", "missing", "the templates name it; shipper setup --lifecycle ilm:… installs it")
    ]


async def _policy_in_use(store: Store) -> str | None:
    """Name the ILM policy that new indices get."""
    component = await store.ask("GET", LIFECYCLE)
    parts = component["component_templates"] if component else [{}]
    inner = parts[0].get("component_template", {}).get("template", {})
    name: str | None = inner.get("settings", {}).get("index", {}).get("lifecycle", {}).get("name")
    return name
