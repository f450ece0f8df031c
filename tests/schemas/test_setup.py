"""`shipper setup` and `shipper check` against the real stores, and against servers of ours for what cannot run here.

Not tried: the import into a live Kibana or OpenSearch Dashboards. The one here is ours, and knows what their documentation says.
"""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.build import ROOT
from schemas.fields import PROFILES
from shipper.commands.check import check, differences
from shipper.commands.setup import Options, setup
from shipper.config import Settings
from shipper.errors import ConfigError, SinkMisconfigured
from tests.schemas.fakes import Kibana, serving
from tests.schemas.records import MINIMAL, changed

TEMPLATES = {"jsonlog": "jsonlog", "ecs": "jsonlog-ecs", "foreign": "jsonlog-foreign"}


def rows(text):
    """The rows of the table: what, outcome, detail."""
    lines = [line.split("  ") for line in text.splitlines()]
    return {parts[0]: [part.strip() for part in parts[1:] if part] for parts in lines if len(parts) > 1}


def committed(kind, profile="jsonlog"):
    suffix = "" if profile == "jsonlog" else f"-{profile}"
    return json.loads((ROOT / f"schemas/{kind}{suffix}.json").read_text())


class Place:
    """A real store without our templates, and one stream in it."""

    def __init__(self, store, service):
        self.store = store
        self.settings = Settings(to=store.url)
        self.stream = f"logs-{service}.jsonlog-default"
        self.template = committed(store.kind)

    def ask(self, method, path, body=None):
        status, answer = self.store.call(method, path, body)
        assert status in (200, 201), (method, path, answer)
        return answer

    def installed(self, name="jsonlog"):
        there = self.ask("GET", f"/_index_template/{name}")["index_templates"][0]["index_template"]
        return {key: value for key, value in there.items() if "_date" not in key}

    def setup(self, **options):
        return setup(self.settings, Options(**options))

    def check(self, *profiles):
        return check(self.settings, profiles or ("jsonlog",))


def emptied(store):
    """The store without any stream and template of ours: the tests before have left theirs, and check looks at them all."""
    for stream in store.call("GET", "/_data_stream/*")[1]["data_streams"]:
        store.call("DELETE", f"/_data_stream/{stream['name']}")
    for name in TEMPLATES.values():
        store.call("DELETE", f"/_index_template/{name}")
    return store


@pytest.fixture
def place(store, unique_service):
    it = Place(emptied(store), unique_service)
    yield it
    store.call("DELETE", f"/_data_stream/{it.stream}")
    store.call("DELETE", f"/{it.stream}")
    for name in TEMPLATES.values():  # no later test shall find what was put here
        store.call("DELETE", f"/_index_template/{name}")


@pytest.mark.server
def test_everything_is_installed_once(place):
    """On an empty store check names what is missing, setup installs it, and both find nothing to do afterwards."""
    text, code = place.check(*PROFILES)
    assert code == 1
    assert {what: row[0] for what, row in rows(text).items()} == {
        f"index template {name}": "missing" for name in TEMPLATES.values()
    }
    text, code = place.setup(profiles=PROFILES)
    assert code == 0
    assert {row[0] for row in rows(text).values()} == {"installed"}
    before = {name: place.installed(name) for name in TEMPLATES.values()}
    text, code = place.setup(profiles=PROFILES)
    assert code == 0
    assert {row[0] for row in rows(text).values()} == {"unchanged"}
    assert {name: place.installed(name) for name in TEMPLATES.values()} == before
    assert place.check(*PROFILES)[1] == 0


@pytest.mark.server
def test_records_do_not_make_a_stream_differ(place):
    """After records with new fields in `extra` the stream is as it should be: check is content, setup rolls nothing over."""
    assert place.setup()[1] == 0
    place.ask("PUT", f"/_data_stream/{place.stream}")
    place.ask("POST", f"/{place.stream}/_create/1?refresh=true", changed(MINIMAL, ("extra", {"user": "ann", "n": 1})))
    assert place.check() == (place.check()[0], 0)
    assert {row[0] for row in rows(place.setup()[0]).values()} == {"unchanged"}


def older(template):
    """The template as an earlier version might have had it: one field is not there yet."""
    template = copy.deepcopy(template)
    del template["template"]["mappings"]["properties"]["trace"]
    template["version"] = 0
    return template


@pytest.mark.server
def test_an_older_template_is_brought_up_to_date(place):
    """A stream under an older template is rolled over, once, and says so; its records stay, and new ones are mapped anew."""
    place.ask("PUT", "/_index_template/jsonlog", older(place.template))
    place.ask("PUT", f"/_data_stream/{place.stream}")
    record = changed(MINIMAL, ("trace.id", "abc"))
    place.ask("POST", f"/{place.stream}/_create/1?refresh=true", record)
    text, code = place.check()
    assert (code, rows(text)["index template jsonlog"][0]) == (1, "differs")
    assert "trace.properties.id.type" in rows(text)[f"data stream {place.stream}"][1]

    text, code = place.setup(dry_run=True)
    assert code == 0
    assert rows(text)["index template jsonlog"][0] == "would be updated"
    assert place.installed()["version"] == 0

    text, code = place.setup()
    assert code == 0
    assert rows(text)["index template jsonlog"][0] == "updated"
    assert rows(text)[f"data stream {place.stream}"][0].startswith("rolled over")
    assert place.check()[1] == 0
    assert {row[0] for row in rows(place.setup()[0]).values()} == {"unchanged"}
    place.ask("POST", f"/{place.stream}/_create/2?refresh=true", record)
    found = place.ask("POST", f"/{place.stream}/_search", {"query": {"term": {"trace.id": "abc"}}})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["2"]
    assert place.ask("POST", f"/{place.stream}/_search", {})["hits"]["total"]["value"] == 2


@pytest.mark.server
def test_a_newer_template_is_left_alone(place):
    """What a later version installed is not put back, and not called wrong."""
    place.ask("PUT", "/_index_template/jsonlog", {**older(place.template), "version": 999})
    assert rows(place.setup()[0])["index template jsonlog"][0] == "newer"
    assert place.installed()["version"] == 999
    assert place.check()[1] == 0


@pytest.mark.server
def test_an_edited_template_is_noticed(place):
    """A change by hand is found though the version is the same, and what somebody added of his own is no difference."""
    edited = copy.deepcopy(place.template)
    edited["template"]["mappings"]["properties"]["msecs"]["type"] = "long"
    place.ask("PUT", "/_index_template/jsonlog", edited)
    text, code = place.check()
    assert (code, rows(text)["index template jsonlog"]) == (1, ["differs", "template.mappings.properties.msecs.type"])
    more = copy.deepcopy(place.template)
    more["template"]["mappings"]["properties"]["mine"] = {"type": "keyword"}
    place.ask("PUT", "/_index_template/jsonlog", more)
    assert place.check()[1] == 0


@pytest.mark.server
def test_a_plain_index_in_the_way_is_explained(place):
    """An index where the stream should be is named, with the way out, and makes setup exit 1; nothing is deleted."""
    place.ask("PUT", f"/{place.stream}")
    place.setup()
    text, code = place.setup()
    outcome, detail = rows(text)[f"index {place.stream}"]
    assert (code, outcome) == (1, "blocked")
    assert "_reindex" in detail
    place.ask("GET", f"/{place.stream}")


@pytest.mark.server
def test_a_stream_under_another_template_is_explained(place):
    """A template of another team that is stronger than ours is named."""
    other = {**place.template, "index_patterns": [place.stream], "priority": 900}
    place.setup()
    place.ask("PUT", "/_index_template/other", other)
    place.ask("PUT", f"/_data_stream/{place.stream}")
    text, code = place.setup()
    place.store.call("DELETE", f"/_data_stream/{place.stream}")
    place.store.call("DELETE", "/_index_template/other")
    assert (code, rows(text)[f"data stream {place.stream}"][0]) == (1, "blocked")
    assert "'other'" in text


@pytest.mark.server
def test_retention_is_set_and_an_upgrade_keeps_it(elasticsearch, unique_service):
    """On Elasticsearch an age goes into the template, and a setup without the option leaves it as it is."""
    place = Place(emptied(elasticsearch), unique_service)

    def retention():
        return place.installed()["template"]["lifecycle"]["data_retention"]

    text, code = place.setup(lifecycle="30d")
    assert (code, retention()) == (0, "30d"), text
    place.ask("PUT", "/_index_template/jsonlog", older(place.installed()))
    assert rows(place.setup()[0])["index template jsonlog"][0] == "updated"
    assert retention() == "30d"
    assert place.check()[1] == 0
    place.setup(lifecycle="rollover")
    assert "data_retention" not in place.installed()["template"]["lifecycle"]
    place.store.call("DELETE", "/_index_template/jsonlog")


@pytest.mark.server
def test_logsdb_is_set_and_an_upgrade_keeps_it(elasticsearch, unique_service):
    """In a stream in logsdb mode records are found and come back to the letter; a setup without the option leaves it so."""
    place = Place(emptied(elasticsearch), unique_service)
    text, code = place.setup(index_mode="logsdb", lifecycle="30d")
    assert code == 0, text
    place.ask("PUT", "/_index_template/jsonlog", older(place.installed()))
    assert rows(place.setup(lifecycle="60d")[0])["index template jsonlog"][0] == "updated"
    there = place.installed()["template"]
    assert (there["settings"]["index"]["mode"], there["lifecycle"]["data_retention"]) == ("logsdb", "60d")
    assert place.check()[1] == 0
    record = changed(MINIMAL, ("extra", {"z": 1.0, "a": [2, 1, 1, None]}), ("host.name", "h"))
    place.ask("PUT", f"/_data_stream/{place.stream}")
    place.ask("POST", f"/{place.stream}/_create/1?refresh=true", record)
    found = place.ask("POST", f"/{place.stream}/_search", {"query": {"term": {"host.name": "h"}}})
    assert [hit["_source"] for hit in found["hits"]["hits"]] == [record]
    place.store.call("DELETE", f"/_data_stream/{place.stream}")
    place.setup(index_mode="standard")
    assert place.installed()["template"]["settings"]["index"]["mode"] == "standard"
    place.store.call("DELETE", "/_index_template/jsonlog")


# --- stores of ours --------------------------------------------------------------------------------------------------

ELASTIC = {"version": {"number": "9.5.3", "lucene_version": "10", "build_flavor": "default"}}
OPENSEARCH = {"version": {"number": "3.8.0", "distribution": "opensearch"}}


class Store:
    """Says that it is a store, has nothing, takes everything, and keeps what was asked; *answers* come first."""

    def __init__(self, root, answers=None):
        self.root = root
        self.answers = answers or {}
        self.asked = {}

    def __call__(self, method, path, headers, body):
        if path == "/":
            return 200, self.root
        if method != "GET":
            self.asked[f"{method} {path}"] = json.loads(body) if body else None
        for start, answer in self.answers.items():
            if f"{method} {path}".startswith(start):
                return answer
        return (404, {}) if method == "GET" else (200, {"acknowledged": True})


STREAMS = {"data_streams": [{"name": "logs-a.jsonlog-b", "template": "jsonlog", "indices": [{"index_name": ".ds-1"}]}]}


def test_an_age_reaches_the_streams_that_are_there():
    """A template is for new streams only, so the retention is set on the others one by one."""
    store = Store(ELASTIC, {"GET /_data_stream/": (200, STREAMS)})
    with serving(store) as url:
        text, code = setup(Settings(to=url), Options(lifecycle="30d"))
    assert code == 0, text
    assert store.asked["PUT /_data_stream/logs-*.jsonlog*-*/_lifecycle"] == {"data_retention": "30d"}


def test_ilm_is_a_policy_and_its_name_in_the_template():
    """With `ilm:` the template names the policy and has no other lifecycle, and so do the streams that are there."""
    store = Store(ELASTIC, {"GET /_data_stream/": (200, STREAMS)})
    with serving(store) as url:
        text, code = setup(Settings(to=url), Options(lifecycle="ilm:90d"))
    assert code == 0, text
    assert store.asked["PUT /_ilm/policy/jsonlog"]["policy"]["phases"]["delete"]["min_age"] == "90d"
    template = store.asked["PUT /_index_template/jsonlog"]["template"]
    assert template["settings"]["index"]["lifecycle"] == {"name": "jsonlog", "prefer_ilm": "true"}
    assert "lifecycle" not in template
    assert store.asked["PUT /logs-*.jsonlog*-*/_settings"] == {"index.lifecycle.name": "jsonlog"}


def test_ism_is_a_policy_that_attaches_itself():
    """On OpenSearch an age becomes a policy with a template of its own, attached to the streams that are there; again: replaced."""
    there = {"GET /_data_stream/": (200, STREAMS)}
    store = Store(OPENSEARCH, there)
    with serving(store) as url:
        text, code = setup(Settings(to=url), Options(lifecycle="30d"))
        assert code == 0, text
        policy = store.asked["PUT /_plugins/_ism/policies/jsonlog"]["policy"]
        assert [state["name"] for state in policy["states"]] == ["write", "delete"]
        assert policy["states"][0]["transitions"][0]["conditions"] == {"min_rollover_age": "30d"}
        assert policy["ism_template"][0]["index_patterns"] == ["logs-*.jsonlog*-*"]
        assert store.asked["POST /_plugins/_ism/add/logs-*.jsonlog*-*"] == {"policy_id": "jsonlog"}
        store.answers = {**there, "GET /_plugins/_ism/policies/": (200, {"_seq_no": 7, "_primary_term": 2})}
        text, _ = setup(Settings(to=url), Options(lifecycle="rollover"))
    assert rows(text)["ISM policy jsonlog"][0] == "updated"
    again = store.asked["PUT /_plugins/_ism/policies/jsonlog?if_seq_no=7&if_primary_term=2"]["policy"]
    assert [state["name"] for state in again["states"]] == ["write"]


@pytest.mark.parametrize(("root", "word"), [(ELASTIC, "manage_index_templates"), (OPENSEARCH, "index_template/*")])
def test_a_refusal_says_what_the_user_has_to_be_allowed(root, word):
    """403 on a change is a row of the table and exit 1; 403 on looking ends it; both name the privileges."""
    with serving(Store(root, {"PUT /_index_template": (403, {"error": "security_exception"})})) as url:
        text, code = setup(Settings(to=url), Options(profiles=("jsonlog", "ecs")))
    assert code == 1
    assert [row[0] for row in rows(text).values()] == ["refused", "refused"]
    assert "HTTP 403" in text
    assert word in text
    with (
        serving(Store(root, {"GET /_index_template": (403, {})})) as url,
        pytest.raises(SinkMisconfigured, match="needs"),
    ):
        setup(Settings(to=url), Options())


def test_options_that_are_wrong_are_named():
    """An unknown profile or lifecycle, a URL that is none, and a server that is no store: each gets one sentence."""
    for options, word in (
        (Options(profiles=("otel",)), "--profile otel"),
        (Options(lifecycle="soon"), "--lifecycle soon"),
        (Options(lifecycle="30"), "--lifecycle 30"),
        (Options(index_mode="fast"), "--index-mode fast"),
    ):
        with pytest.raises(ConfigError, match=word):
            setup(Settings(to="http://127.0.0.1:9"), options)
    with pytest.raises(ConfigError, match="--to"):
        setup(Settings(to=""), Options())
    with serving(Store(ELASTIC)) as url, pytest.raises(ConfigError, match="--kibana localhost:5601"):
        setup(Settings(to=url), Options(kibana="localhost:5601"))
    with serving(Store(OPENSEARCH)) as url, pytest.raises(ConfigError, match="no ILM"):
        setup(Settings(to=url), Options(lifecycle="ilm:30d"))
    with serving(Store(OPENSEARCH)) as url, pytest.raises(ConfigError, match="no index modes"):
        setup(Settings(to=url), Options(index_mode="logsdb"))
    with serving(lambda *_: (200, "hello")) as url, pytest.raises(ConfigError, match="nothing to set up"):
        check(Settings(to=url), ("jsonlog",))


# --- Kibana ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("root", "product", "version"), [(ELASTIC, "kbn", "8.19.0"), (OPENSEARCH, "osd", "7.10.2")])
def test_saved_objects_are_imported_again_and_again(root, product, version):
    """The import has the product's form and header; the oldest version that we name takes every object, twice the same."""
    kibana = Kibana(product, version)
    with serving(Store(root)) as store, serving(kibana) as viewer:
        for _ in range(2):
            text, code = setup(Settings(to=store), Options(kibana=viewer))
            assert code == 0, text
            assert "13 objects" in text
    assert len(kibana.objects) == 13


def test_what_kibana_does_not_take_is_named():
    """A Kibana that is too old answers 200 and takes less: the row says which objects it did not take, and why."""
    with serving(Store(ELASTIC)) as store, serving(Kibana("kbn", "8.5.0")) as viewer:
        text, code = setup(Settings(to=store), Options(kibana=viewer))
    assert code == 1
    assert "lens jsonlog-panel-levels" in text
    assert "more recent version" in text


def test_what_is_no_kibana_is_named():
    """A wrong --kibana is told from one that refuses, and one that is not up yet is no success either."""
    with serving(Store(ELASTIC)) as store:
        with serving(lambda *_: (200, "<html>")) as viewer, pytest.raises(SinkMisconfigured, match="check --kibana"):
            setup(Settings(to=store), Options(kibana=viewer))
        with serving(lambda *_: (403, {"message": "Forbidden"})) as viewer:
            text, code = setup(Settings(to=store), Options(kibana=viewer))
            assert (code, "Saved Objects Management" in text) == (1, True)
        with serving(lambda *_: (503, "Kibana server is not ready yet")) as viewer:
            text, code = setup(Settings(to=store), Options(kibana=viewer))
            assert (code, "not ready yet" in text) == (1, True)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("root", "product"), [(ELASTIC, "elasticsearch"), (OPENSEARCH, "opensearch")])
def test_exported_files_are_what_would_be_sent(tmp_path, root, product):
    """Each file is the body of the request that stands beside it in the table, for both products, asking nobody."""
    store = Store(root)
    options = {"lifecycle": "30d", "profiles": ("jsonlog", "foreign")}
    with serving(store) as url:
        setup(Settings(to=url), Options(**options))
    text, code = setup(Settings(), Options(**options, export=tmp_path / "new"))
    assert code == 0
    files = {line.split("  ")[0].strip(): line.split("  ")[-1].strip() for line in text.splitlines()}
    assert {str(path) for path in (tmp_path / "new").iterdir()} == set(files)
    bodies = {
        request: json.loads(Path(path).read_text())
        for path, request in files.items()
        if f"{product}-" in path and path.endswith(".json")
    }
    assert bodies == store.asked
    kibana = (tmp_path / "new/kibana.ndjson").read_text()
    assert kibana == (ROOT / "schemas/kibana.ndjson").read_text()


def test_the_command_prints_the_table_and_exits_with_its_code(tmp_path):
    """From the shell: check on a store without templates exits 1 and says what mends it, a wrong option exits 2."""
    with serving(Store(ELASTIC)) as url:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "shipper", "check", "--to", url], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 1
    assert "index template jsonlog  missing" in done.stdout
    assert "shipper setup mends" in done.stdout
    wrong = [sys.executable, "-P", "-m", "shipper", "setup", "--to", url, "--profile", "otel"]
    done = subprocess.run(wrong, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "--profile otel" in done.stderr


def test_a_difference_is_what_is_wanted_and_not_there():
    """Values are compared as the stores write them back: numbers as text, dotted names as objects, additions not at all."""
    assert list(differences({"a": {"b": 1, "c": True}}, {"a.b": "1", "a": {"c": "true", "d": 2}})) == []
    assert list(differences({"a": {"b": 1}, "l": [{"x": 1, "y": 2}]}, {"a": {"b": 2}, "l": [{"y": 2, "x": 1}]})) == [
        "a.b"
    ]
    assert list(differences({"l": [1, 2]}, {"l": [2, 1]})) == ["l"]
