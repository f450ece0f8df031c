"""How long records are kept: the requests for the data stream lifecycle, ILM and ISM, against a store of ours.

Not tried: ILM and ISM themselves, as no build that can run here has them. The store here does what the documentation of the two and
the source of OpenSearch's plugin say; what is sent is compared with the shapes that those know.
"""

import pytest

from shipper.commands.check import check
from shipper.commands.lifecycle import ilm_policy, ism_policy
from shipper.commands.setup import Options, setup
from shipper.config import Settings
from tests.schemas.fakes import ELASTIC, OPENSEARCH, Lifecycles, serving
from tests.schemas.test_setup import rows

COMPONENT = "PUT /_component_template/jsonlog@lifecycle"
FIRST, SECOND, THIRD = Lifecycles.INDICES


def set_up(store, lifecycle):
    store.asked = {}
    with serving(store) as url:
        text, code = setup(Settings(to=url), Options(lifecycle=lifecycle))
    return rows(text), code


def test_an_age_reaches_the_streams_that_are_there():
    """A template is for new streams only, so the retention is set on the others, too."""
    store = Lifecycles(ELASTIC)
    _, code = set_up(store, "30d")
    assert code == 0
    assert store.asked[COMPONENT]["template"] == {"lifecycle": {"enabled": True, "data_retention": "30d"}}
    assert store.asked["PUT /_data_stream/logs-*.jsonlog*-*/_lifecycle"] == {"data_retention": "30d"}
    set_up(store, "rollover")
    assert store.asked[COMPONENT]["template"] == {"lifecycle": {"enabled": True}}
    assert store.asked["PUT /_data_stream/logs-*.jsonlog*-*/_lifecycle"] == {}


def test_ilm_is_a_policy_and_its_name_in_the_template():
    """With `ilm:` new indices are under the policy and have no other lifecycle, and so do the streams that are there."""
    store = Lifecycles(ELASTIC)
    _, code = set_up(store, "ilm:90d")
    assert code == 0
    assert store.asked["PUT /_ilm/policy/jsonlog"]["policy"]["phases"]["delete"]["min_age"] == "90d"
    settings = {"index": {"lifecycle": {"name": "jsonlog", "prefer_ilm": "true"}}}
    assert store.asked[COMPONENT]["template"] == {"settings": settings}
    assert store.asked["PUT /logs-*.jsonlog*-*/_settings"] == {
        "index.lifecycle.name": "jsonlog",
        "index.lifecycle.prefer_ilm": True,
    }
    assert "lifecycle" not in store.asked["PUT /_index_template/jsonlog"].get("template", {})


def test_ilm_is_left_alone_where_it_is_as_it_should_be_and_updated_where_not():
    """What the server adds to a policy is no difference; another age is."""
    store = Lifecycles(ELASTIC)
    set_up(store, "ilm:90d")
    table, _ = set_up(store, "ilm:90d")
    assert (table["ILM policy jsonlog"][0], "PUT /_ilm/policy/jsonlog" in store.asked) == ("unchanged", False)
    table, _ = set_up(store, "ilm:60d")
    assert table["ILM policy jsonlog"][0] == "updated"
    assert store.asked["PUT /_ilm/policy/jsonlog"]["policy"]["phases"]["delete"]["min_age"] == "60d"


def test_the_way_back_from_ilm():
    """An index under a policy obeys that, whatever its stream says: it is taken off, and the component names it no more."""
    store = Lifecycles(ELASTIC)
    set_up(store, "ilm:90d")
    _, code = set_up(store, "30d")
    assert code == 0
    assert "POST /logs-*.jsonlog*-*/_ilm/remove" in store.asked
    assert store.asked[COMPONENT]["template"] == {"lifecycle": {"enabled": True, "data_retention": "30d"}}


def test_check_misses_a_policy_that_the_templates_name():
    """A policy that somebody deleted leaves indices that nothing rolls over: check says so, and exits 1."""
    store = Lifecycles(ELASTIC)
    set_up(store, "ilm:90d")
    with serving(store) as url:
        assert check(Settings(to=url))[1] == 0
        del store.kept["/_ilm/policy/jsonlog"]
        text, code = check(Settings(to=url))
    assert (code, rows(text)["ILM policy jsonlog"][0]) == (1, "missing")


def test_ism_is_a_policy_that_attaches_itself():
    """On OpenSearch an age becomes a policy with a template of its own, attached to the indices that are there."""
    store = Lifecycles(OPENSEARCH)
    table, code = set_up(store, "30d")
    assert code == 0
    policy = store.asked["PUT /_plugins/_ism/policies/jsonlog"]["policy"]
    assert [state["name"] for state in policy["states"]] == ["write", "delete"]
    assert policy["states"][0]["transitions"][0]["conditions"] == {"min_rollover_age": "30d"}
    assert policy["ism_template"][0]["index_patterns"] == ["logs-*.jsonlog*-*"]
    assert store.under == dict.fromkeys(Lifecycles.INDICES, ("jsonlog", 1))
    assert table["lifecycle of 3 existing indices"][0] == "attached"
    table, _ = set_up(store, "30d")
    assert {row[0] for row in table.values()} == {"unchanged"}
    assert store.version == 1


def test_a_change_of_an_ism_policy_reaches_the_indices_under_it():
    """Another age overwrites the policy under its numbers, and every index of ours is moved to the new version."""
    store = Lifecycles(OPENSEARCH)
    set_up(store, "30d")
    table, code = set_up(store, "60d")
    assert (code, table["ISM policy jsonlog"][0]) == (0, "updated")
    assert store.under == dict.fromkeys(Lifecycles.INDICES, ("jsonlog", 2))
    set_up(store, "rollover")
    assert [state["name"] for state in store.kept["jsonlog"]["policy"]["states"]] == ["write"]


def test_indices_under_another_ism_policy_are_left_to_it():
    """What an operator put under a policy of his own stays there, and the table says so."""
    store = Lifecycles(OPENSEARCH)
    store.under[SECOND] = ("keep-for-ever", 9)
    table, code = set_up(store, "30d")
    assert code == 0
    assert store.under == {FIRST: ("jsonlog", 1), SECOND: ("keep-for-ever", 9), THIRD: ("jsonlog", 1)}
    assert "'keep-for-ever'" in table["lifecycle of 1 existing indices"][1]


def test_what_ism_does_not_take_is_no_success():
    """ISM answers 200 where it attached nothing; the row says which index and why, and the exit code is 1."""
    failed = [{"index_name": FIRST, "index_uuid": "u", "reason": "This index is closed"}]
    said = {"updated_indices": 2, "failures": True, "failed_indices": failed}
    store = Lifecycles(OPENSEARCH, {"POST /_plugins/_ism/add/": (200, said)})
    table, code = set_up(store, "30d")
    assert (code, table["lifecycle of 3 existing indices"][0]) == (1, "refused")
    assert "This index is closed" in str(table)


def test_check_finds_indices_under_no_policy():
    """Once a policy is there, an index that it does not reach is named; a store without one is not asked for more."""
    store = Lifecycles(OPENSEARCH)
    with serving(store) as url:
        setup(Settings(to=url), Options())
        assert "ISM" not in check(Settings(to=url))[0]
        setup(Settings(to=url), Options(lifecycle="30d"))
        assert check(Settings(to=url))[1] == 0
        store.under[SECOND] = None
        text, code = check(Settings(to=url))
    assert (code, SECOND in text) == (1, True)


# What the two know, from the reference of ILM and the plugin's parsers (an unknown key is refused by both).
ILM_ACTIONS = {
    "hot": {
        "set_priority",
        "unfollow",
        "rollover",
        "readonly",
        "downsample",
        "shrink",
        "forcemerge",
        "searchable_snapshot",
    },
    "delete": {"wait_for_snapshot", "delete"},
}
ILM_ROLLOVER = {"max_age", "max_docs", "max_size", "max_primary_shard_size", "max_primary_shard_docs"}
ILM_ROLLOVER |= {"min_age", "min_docs", "min_size", "min_primary_shard_size", "min_primary_shard_docs"}
ISM_POLICY = {"description", "default_state", "states", "error_notification", "ism_template"}
ISM_ROLLOVER = {"min_size", "min_doc_count", "min_index_age", "min_primary_shard_size", "copy_alias"}
ISM_CONDITIONS = {"min_index_age", "min_doc_count", "min_size", "cron", "min_rollover_age"}


@pytest.mark.parametrize("age", [None, "30d"])
def test_policies_have_the_documented_shape(age):
    """Each key of our policies is one that the product knows at that place, and states lead to states that there are."""
    phases = ilm_policy(age)["policy"]["phases"]
    for name, phase in phases.items():
        assert set(phase) <= {"min_age", "actions"}
        assert set(phase["actions"]) <= ILM_ACTIONS[name]
    assert set(phases["hot"]["actions"]["rollover"]) <= ILM_ROLLOVER
    policy = ism_policy(age)["policy"]
    assert set(policy) <= ISM_POLICY
    names = [state["name"] for state in policy["states"]]
    assert policy["default_state"] in names
    for state in policy["states"]:
        assert set(state) == {"name", "actions", "transitions"}
        for action in state["actions"]:
            ((kind, options),) = action.items()
            assert set(options) <= {"rollover": ISM_ROLLOVER, "delete": set()}[kind]
        for way in state["transitions"]:
            assert way["state_name"] in names
            assert set(way) <= {"state_name", "conditions"}
            assert set(way["conditions"]) <= ISM_CONDITIONS
    assert all(set(template) == {"index_patterns", "priority"} for template in policy["ism_template"])
