"""
What a profile needs in a store, with what the operator chose; and how what is there differs from it. Pure.

A template is compared by what it says, not by its version alone: somebody may have edited it. What a store adds by itself does
not count as a difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from shipper.errors import ConfigError
from shipper.resources import load_schema
from shipper.sinks.elasticsearch import TEMPLATE

Json = dict[str, Any]

PROFILES = ("jsonlog", "ecs", "foreign", "flat")
USUAL = ("jsonlog", "ecs", "foreign")
"""What is set up where nothing is said: `flat` takes over the streams of `jsonlog`."""
SETTINGS = "/_component_template/jsonlog@settings"
LIFECYCLE = "/_component_template/jsonlog@lifecycle"
# Found by words and phrases alike: not worth a rollover.
_ALIKE = {"match_only_text": "text"}
# What an index shows of its mapping; defaults such as date_detection it leaves out.
_COMPARED = ("properties", "dynamic", "dynamic_templates", "subobjects")


@dataclass(frozen=True, slots=True)
class Choices:
    """
    What an operator may choose; None leaves it as it is, in an installed template too.

    Args:
        lifecycle: What stands in the component `jsonlog@lifecycle`.
        mode: `standard` or `logsdb`.
        custom: Component templates of the operator's, composed after ours.
    """

    lifecycle: Json | None = None
    mode: str | None = None
    custom: tuple[str, ...] | None = None


def check_profiles(profiles: Sequence[str]) -> None:
    """Refuse a profile that does not exist."""
    for name in profiles:
        if name not in PROFILES:
            raise ConfigError(f"--profile {name}: there is no such profile; take one of {', '.join(PROFILES)}")


def template_name(profile: str) -> str:
    """Name the index template of a profile."""
    return TEMPLATE if profile == "jsonlog" else f"{TEMPLATE}-{profile}"


def bundle(product: str, profile: str) -> Json:
    """Read what a profile needs: the bodies to PUT, in order, each under its path."""
    return load_schema(product if profile == "jsonlog" else f"{product}-{profile}")


def chosen(product: str, path: str, body: Json, choices: Choices) -> Json:
    """Give a body of the bundle what the operator has chosen."""
    body = deepcopy(body)
    if path == SETTINGS and choices.mode is not None:
        body["template"]["settings"]["index"]["mode"] = choices.mode
    if path == LIFECYCLE and choices.lifecycle is not None:
        body["template"] = choices.lifecycle
    if choices.custom and "composed_of" in body:
        body["composed_of"] += choices.custom
        if product == "elasticsearch":  # OpenSearch cannot be told that one may not be there yet
            body["ignore_missing_component_templates"] = list(choices.custom)
    return body


def choices_in(there: Json, ours: Sequence[str]) -> Choices:
    """
    Read what was chosen for something that is installed.

    Args:
        there: A component or an index template.
        ours: What ours is composed of.
    """
    template = there.get("template", {})
    is_logsdb = template.get("settings", {}).get("index", {}).get("mode") == "logsdb"
    custom = tuple(name for name in there.get("composed_of", ()) if name not in ours)
    return Choices(template, "logsdb" if is_logsdb else None, custom)


def over(first: Choices, then: Choices) -> Choices:
    """Let what is chosen now take the place of what was chosen before."""

    def pick(now: Any, before: Any) -> Any:
        return before if now is None else now

    return Choices(pick(first.lifecycle, then.lifecycle), pick(first.mode, then.mode), pick(first.custom, then.custom))


def mapping_of(parts: Json, custom: Sequence[Json]) -> Json:
    """
    Give the mapping that a stream shall have, as far as an index shows it.

    Args:
        parts: The bundle of its profile.
        custom: The operator's components, whose word counts where they say something else.
    """
    (mapping,) = (body["template"]["mappings"] for body in parts.values() if "mappings" in body.get("template", {}))
    for component in custom:
        mapping = _merged(mapping, component.get("template", {}).get("mappings", {}))
    own_rules = any("dynamic_templates" in c.get("template", {}).get("mappings", {}) for c in custom)
    names = [name for name in _COMPARED if not (own_rules and name == "dynamic_templates")]
    return {name: mapping[name] for name in names if name in mapping}


def _merged(first: Json, then: Json) -> Json:
    result = dict(first)
    for key, value in then.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        is_field = both and isinstance(value.get("type"), str) and "properties" not in value  # replaced as a whole
        result[key] = _merged(result[key], value) if both and not is_field else value
    return result


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
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{name}.{number}")
        yield f"{name}.length", str(len(value))
    elif isinstance(value, list):
        yield name, json.dumps([str(inner) for inner in value])
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield name, _ALIKE.get(text, text)
