"""`shipper setup` and `shipper check` against the real stores, and against servers of ours where one has to refuse."""

import copy
import json
import subprocess
import sys

import pytest

from schemas.build import ROOT
from shipper.commands.check import check
from shipper.commands.setup import Options, setup
from shipper.commands.templates import PROFILES, USUAL, differences
from shipper.config import Settings
from shipper.errors import ConfigError, SinkMisconfigured
from tests.schemas.fakes import ELASTIC, OPENSEARCH, Store, rows, serving
from tests.schemas.records import MINIMAL, changed

NAMES = {profile: "jsonlog" if profile == "jsonlog" else f"jsonlog-{profile}" for profile in PROFILES}
MAPPINGS = "/_component_template/jsonlog@mappings"
INDEX = "/_index_template/jsonlog"


def committed(kind, profile="jsonlog"):
    suffix = "" if profile == "jsonlog" else f"-{profile}"
    return json.loads((ROOT / f"schemas/{kind}{suffix}.json").read_text())


class Place:
    """A real store without our templates, and one stream in it."""

    def __init__(self, store, service):
        self.store = store
        self.settings = Settings(to=store.url)
        self.stream = f"logs-{service}.jsonlog-default"
        self.bundle = committed(store.kind)

    def ask(self, method, path, body=None):
        status, answer = self.store.call(method, path, body)
        assert status in (200, 201), (method, path, answer)
        return answer

    def installed(self, path=INDEX):
        kind = path.split("/")[1][1:]
        there = self.ask("GET", path)[f"{kind}s"][0][kind]
        return {key: value for key, value in there.items() if "_date" not in key}

    def install(self, bundle):
        for path, body in bundle.items():
            self.ask("PUT", path, body)

    def setup(self, **options):
        return setup(self.settings, Options(**options))

    def check(self, *profiles):
        return check(self.settings, profiles or USUAL)


def emptied(store):
    """The store without any stream and template of ours: the tests before have left theirs, and check looks at them all."""
    for stream in store.call("GET", "/_data_stream/*")[1]["data_streams"]:
        store.call("DELETE", f"/_data_stream/{stream['name']}")
    forget(store)
    return store


def forget(store):
    """No later test shall find what was put here."""
    for name in (*NAMES.values(), "other"):
        store.call("DELETE", f"/_index_template/{name}")
    store.call("DELETE", "/_component_template/*")


@pytest.fixture
def place(store, unique_service):
    it = Place(emptied(store), unique_service)
    yield it
    store.call("DELETE", f"/_data_stream/{it.stream}")
    store.call("DELETE", f"/{it.stream}")
    forget(store)


@pytest.mark.server
def test_everything_is_installed_once(place):
    """On an empty store check names what is missing, setup installs it, and both find nothing to do afterwards."""
    paths = {path for profile in PROFILES for path in committed(place.store.kind, profile)}
    names = {path[1:].replace("_component_template/", "component template ") for path in paths}
    names = {name.replace("_index_template/", "index template ") for name in names}
    text, code = place.check(*PROFILES)
    assert code == 1
    assert {what: row[0] for what, row in rows(text).items()} == dict.fromkeys(names, "missing")
    text, code = place.setup(profiles=PROFILES)
    assert code == 0
    assert {row[0] for row in rows(text).values()} == {"installed"}
    before = {path: place.installed(path) for path in paths}
    text, code = place.setup(profiles=PROFILES)
    assert code == 0
    assert {row[0] for row in rows(text).values()} == {"unchanged"}
    assert {path: place.installed(path) for path in paths} == before
    assert place.check(*PROFILES)[1] == 0


@pytest.mark.server
def test_records_do_not_make_a_stream_differ(place):
    """After records with new fields in `extra` the stream is as it should be: check is content, setup rolls nothing over."""
    assert place.setup()[1] == 0
    place.ask("PUT", f"/_data_stream/{place.stream}")
    place.ask("POST", f"/{place.stream}/_create/1?refresh=true", changed(MINIMAL, ("extra", {"user": "ann", "n": 1})))
    assert place.check() == (place.check()[0], 0)
    assert {row[0] for row in rows(place.setup()[0]).values()} == {"unchanged"}


def older(bundle):
    """The bundle as an earlier version might have had it: one field is not there yet."""
    bundle = {path: {**copy.deepcopy(body), "version": 0} for path, body in bundle.items()}
    del bundle[MAPPINGS]["template"]["mappings"]["properties"]["trace"]
    return bundle


@pytest.mark.server
def test_an_older_template_is_brought_up_to_date(place):
    """A stream under an older template is rolled over, once, and says so; its records stay, and new ones are mapped anew."""
    place.setup()
    place.install(older(place.bundle))
    place.ask("PUT", f"/_data_stream/{place.stream}")
    record = changed(MINIMAL, ("trace.id", "abc"))
    place.ask("POST", f"/{place.stream}/_create/1?refresh=true", record)
    text, code = place.check()
    assert (code, rows(text)["component template jsonlog@mappings"][0]) == (1, "differs")
    assert "trace.properties.id.type" in rows(text)[f"data stream {place.stream}"][1]

    text, code = place.setup(dry_run=True)
    assert code == 0
    assert rows(text)["component template jsonlog@mappings"][0] == "would be updated"
    assert place.installed()["version"] == 0

    text, code = place.setup()
    assert code == 0
    assert rows(text)["component template jsonlog@mappings"][0] == "updated"
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
    place.setup()
    place.install({path: {**body, "version": 999} for path, body in older(place.bundle).items()})
    assert rows(place.setup()[0])["index template jsonlog"][0] == "newer"
    assert {place.installed(path)["version"] for path in place.bundle} == {999}
    assert place.check()[1] == 0


@pytest.mark.server
def test_an_edited_template_is_noticed(place):
    """A change by hand is found though the version is the same, and what somebody added of his own is no difference."""
    place.setup()
    edited = copy.deepcopy(place.bundle[MAPPINGS])
    edited["template"]["mappings"]["properties"]["msecs"]["type"] = "long"
    place.ask("PUT", MAPPINGS, edited)
    text, code = place.check()
    name = "component template jsonlog@mappings"
    assert (code, rows(text)[name]) == (1, ["differs", "template.mappings.properties.msecs.type"])
    more = copy.deepcopy(place.bundle[MAPPINGS])
    more["template"]["mappings"]["properties"]["mine"] = {"type": "keyword"}
    place.ask("PUT", MAPPINGS, more)
    assert place.check()[1] == 0


@pytest.mark.server
def test_a_component_of_the_operator_is_composed_on_request(place):
    """`--custom` puts the operator's component last, an upgrade keeps it, its word counts, and `none` takes it out again."""
    mine = {"template": {"mappings": {"properties": {"message": {"type": "keyword"}, "team": {"type": "keyword"}}}}}
    place.ask("PUT", "/_component_template/mine", mine)
    ours = place.bundle[INDEX]["composed_of"]
    assert place.setup(custom=["mine"])[1] == 0
    assert place.installed()["composed_of"] == [*ours, "mine"]
    place.ask("PUT", f"/_data_stream/{place.stream}")
    place.ask("POST", f"/{place.stream}/_create/1?refresh=true", {**MINIMAL, "team": "a"})
    found = place.ask("POST", f"/{place.stream}/_search", {"query": {"term": {"team": "a"}}})
    assert len(found["hits"]["hits"]) == 1
    assert {row[0] for row in rows(place.setup()[0]).values()} == {"unchanged"}
    assert place.check()[1] == 0
    text, code = place.setup(custom=["none"])
    assert (code, place.installed()["composed_of"]) == (0, ours)
    assert rows(text)[f"data stream {place.stream}"][0].startswith("rolled over")
    assert place.check()[1] == 0


@pytest.mark.server
def test_a_component_that_is_not_there_yet(place):
    """Elasticsearch composes `logs@custom` once it is there; OpenSearch refuses a name that is nobody's, and the row says so."""
    text, code = place.setup(custom=["logs@custom"])
    if place.store.kind == "elasticsearch":
        assert (code, place.installed()["ignore_missing_component_templates"]) == (0, ["logs@custom"])
        assert place.check()[1] == 0
    else:
        assert (code, rows(text)["index template jsonlog"][0]) == (1, "refused")
        assert "logs@custom" in rows(text)["index template jsonlog"][1]


@pytest.mark.server
def test_extras_at_the_top_level_on_request(place):
    """Profile `flat` takes the streams of `jsonlog` over: they are rolled over, and any field is searchable from then on."""
    assert place.setup()[1] == 0
    place.ask("PUT", f"/_data_stream/{place.stream}")
    text, code = place.setup(profiles=("flat",))
    assert (code, rows(text)[f"data stream {place.stream}"][0].partition(":")[0]) == (0, "rolled over")
    place.ask("POST", f"/{place.stream}/_create/1?refresh=true", {**MINIMAL, "order": 17.5, "exc": {"type": "E"}})
    for query in ({"range": {"order": {"gt": 17}}}, {"term": {"error.type": "E"}}, {"term": {"log.level": "info"}}):
        found = place.ask("POST", f"/{place.stream}/_search", {"query": query})
        assert len(found["hits"]["hits"]) == 1, query
    assert {row[0] for row in rows(place.setup()[0]).values()} == {"unchanged"}  # without being asked for it again
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
    """A template of another team that is stronger than ours is named; one that is weaker is none of our business."""
    other = {**place.bundle[INDEX], "index_patterns": [place.stream], "priority": 900, "composed_of": []}
    place.setup()
    place.ask("PUT", "/_index_template/other", other)
    place.ask("PUT", f"/_data_stream/{place.stream}")
    text, code = place.setup()
    assert (code, rows(text)[f"data stream {place.stream}"][0]) == (1, "blocked")
    assert "'other' (priority 900)" in text
    place.ask("PUT", "/_index_template/other", {**other, "priority": 7})
    text, code = place.setup()
    assert (code, rows(text)[f"data stream {place.stream}"][0].partition(":")[0]) == (0, "rolled over")
    place.store.call("DELETE", f"/_data_stream/{place.stream}")


@pytest.mark.server
def test_a_stronger_template_is_named_before_there_is_a_stream(place):
    """A template of another team that every new stream would come under is named by setup and check, one of a single stream is not."""
    other = {"index_patterns": ["logs-*-*"], "priority": 252, "data_stream": {}}
    place.ask("PUT", "/_index_template/other", other)
    for text, code in (place.setup(profiles=("jsonlog",)), place.check("jsonlog")):
        assert (code, rows(text)["streams logs-*.jsonlog-*"][0]) == (1, "blocked")
        assert "'other' (priority 252), not ours (251)" in text
    for weaker in ({**other, "priority": 250}, {**other, "index_patterns": ["logs-one.jsonlog-*"]}):
        place.ask("PUT", "/_index_template/other", weaker)
        assert place.check("jsonlog")[1] == 0


@pytest.mark.server
@pytest.mark.parametrize(
    ("kind", "lifecycle", "what"), [("elasticsearch", "ilm:30d", "ILM"), ("opensearch", "30d", "ISM")]
)
def test_a_lifecycle_that_the_server_has_not(request, kind, lifecycle, what):
    """The builds that run here have neither ILM nor ISM: setup says so in a sentence, and changes nothing."""
    server = emptied(request.getfixturevalue(kind))
    with pytest.raises(ConfigError, match=f"--lifecycle {lifecycle}: .* has no {what}"):
        setup(Settings(to=server.url), Options(lifecycle=lifecycle))
    assert server.call("GET", "/_index_template/jsonlog*")[1]["index_templates"] == []


@pytest.fixture
def elastic(elasticsearch, unique_service):
    it = Place(emptied(elasticsearch), unique_service)
    yield it
    elasticsearch.call("DELETE", f"/_data_stream/{it.stream}")
    forget(elasticsearch)


@pytest.mark.server
def test_retention_is_set_and_an_upgrade_keeps_it(elastic):
    """On Elasticsearch an age goes into a component, and a setup without the option leaves it as it is."""

    def lifecycle():
        return elastic.installed("/_component_template/jsonlog@lifecycle")["template"]["lifecycle"]

    text, code = elastic.setup(lifecycle="30d")
    assert (code, lifecycle()["data_retention"]) == (0, "30d"), text
    elastic.install({path: body for path, body in older(elastic.bundle).items() if "lifecycle" not in path})
    assert rows(elastic.setup()[0])["component template jsonlog@mappings"][0] == "updated"
    assert lifecycle()["data_retention"] == "30d"
    assert elastic.check()[1] == 0
    elastic.setup(lifecycle="rollover")
    assert "data_retention" not in lifecycle()


@pytest.mark.server
def test_logsdb_is_set_and_an_upgrade_keeps_it(elastic):
    """In a stream in logsdb mode records are found and come back to the letter; a setup without the option leaves it so."""
    settings = "/_component_template/jsonlog@settings"
    text, code = elastic.setup(index_mode="logsdb", lifecycle="30d")
    assert code == 0, text
    elastic.install({path: body for path, body in older(elastic.bundle).items() if "@mappings" in path})
    assert rows(elastic.setup(lifecycle="60d")[0])["component template jsonlog@mappings"][0] == "updated"
    assert elastic.installed(settings)["template"]["settings"]["index"]["mode"] == "logsdb"
    assert elastic.check()[1] == 0
    record = changed(MINIMAL, ("extra", {"z": 1.0, "a": [2, 1, 1, None]}), ("host.name", "h"))
    elastic.ask("PUT", f"/_data_stream/{elastic.stream}")
    elastic.ask("POST", f"/{elastic.stream}/_create/1?refresh=true", record)
    found = elastic.ask("POST", f"/{elastic.stream}/_search", {"query": {"term": {"host.name": "h"}}})
    assert [hit["_source"] for hit in found["hits"]["hits"]] == [record]
    elastic.setup(index_mode="standard")
    assert elastic.installed(settings)["template"]["settings"]["index"]["mode"] == "standard"


# --- stores of ours --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("root", "word"), [(ELASTIC, "manage_index_templates"), (OPENSEARCH, "index_template/*")])
def test_a_refusal_says_what_the_user_has_to_be_allowed(root, word):
    """403 on a change is a row of the table and exit 1; 403 on looking ends it; both name the privileges."""
    with serving(Store(root, {"PUT /_index_template": (403, {"error": "security_exception"})})) as url:
        text, code = setup(Settings(to=url), Options(profiles=("jsonlog", "ecs")))
    assert code == 1
    refused = [what for what, row in rows(text).items() if row[0] == "refused"]
    assert refused == ["index template jsonlog", "index template jsonlog-ecs"]
    assert "HTTP 403" in text
    assert word in text
    with (
        serving(Store(root, {"GET /_component_template": (403, {})})) as url,
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


# --- the command and how it compares ---------------------------------------------------------------------------------


def test_the_command_prints_the_table_and_exits_with_its_code(tmp_path):
    """From the shell: check on a store without templates exits 1 and says what mends it, a wrong option exits 2."""
    with serving(Store(ELASTIC)) as url:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "shipper", "check", "--to", url], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 1
    assert rows(done.stdout)["component template jsonlog@settings"] == ["missing"]
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
    assert list(differences({"l": [{"x": 1}]}, {"l": [{"x": 1, "y": 2}]})) == []
    assert list(differences({"l": [{"x": 1}]}, {"l": [{"x": 1}, {"y": 2}]})) == ["l.length"]
