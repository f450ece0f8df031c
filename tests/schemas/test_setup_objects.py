"""What `shipper setup` does besides templates: saved objects into Kibana and OpenSearch Dashboards, and files.

Not tried: the import into a live one. The one here is ours, and knows what the products' documentation says.
"""

import json
from pathlib import Path

import pytest

from schemas.build import ROOT
from shipper.commands.setup import Options, setup
from shipper.config import Settings
from shipper.errors import ConfigError
from tests.schemas.fakes import ELASTIC, OPENSEARCH, Kibana, Store, rows, serving
from tests.servers import free_port


@pytest.mark.parametrize(("root", "product", "version"), [(ELASTIC, "kbn", "8.19.0"), (OPENSEARCH, "osd", "7.10.2")])
def test_saved_objects_are_imported_again_and_again(root, product, version):
    """The import has the product's form and header; the oldest version that we name takes every object, twice the same."""
    kibana = Kibana(product, version)
    with serving(Store(root)) as store, serving(kibana) as viewer:
        for _ in range(2):
            text, code = setup(Settings(to=store), Options(kibana=viewer))
            assert code == 0, text
            assert "14 objects" in text
    assert len(kibana.objects) == 14


def test_what_kibana_does_not_take_is_named():
    """A Kibana that is too old answers 200 and takes less: the row says which objects it did not take, and why."""
    with serving(Store(ELASTIC)) as store, serving(Kibana("kbn", "8.5.0")) as viewer:
        text, code = setup(Settings(to=store), Options(kibana=viewer))
    assert code == 1
    assert "lens jsonlog-panel-levels" in text
    assert "more recent version" in text


@pytest.mark.parametrize(
    ("answer", "outcome", "word"),
    [
        ((200, "<html>"), "refused", "check --kibana"),
        ((403, {"message": "Forbidden"}), "refused", "Saved Objects Management"),
        ((503, "Kibana server is not ready yet"), "refused", "not ready yet"),
        (None, "no answer", "127.0.0.1"),
    ],
)
def test_what_is_no_kibana_is_named(answer, outcome, word):
    """A wrong --kibana, one that refuses, one that is not up yet and one that is away: the table says so, and what was done before."""
    with serving(Store(ELASTIC)) as store, serving(lambda *_: answer) as viewer:
        url = viewer if answer else f"http://127.0.0.1:{free_port()}"
        text, code = setup(Settings(to=store), Options(kibana=url))
    table = rows(text)
    assert (code, table["index template jsonlog"][0]) == (1, "installed")
    assert table["saved objects in Kibana"][0] == outcome
    assert word in table["saved objects in Kibana"][1]


def test_a_kibana_below_a_path_is_reached_there():
    """Behind a proxy or in a space of its own, Kibana has a path, and the import goes below it."""
    seen = []

    def answer(method, path, headers, body):
        seen.append(path)
        return 200, {"success": True, "successCount": 14}

    with serving(Store(ELASTIC)) as store, serving(answer) as viewer:
        assert setup(Settings(to=store), Options(kibana=f"{viewer}/kb/s/team/"))[1] == 0
    assert seen == ["/kb/s/team/api/saved_objects/_import?overwrite=true"]


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
    assert {str(path) for path in (tmp_path / "new").rglob("*.*json")} == set(files)
    bodies = {
        request: json.loads(Path(path).read_text())
        for path, request in files.items()
        if f"/{product}/" in path and path.endswith(".json")
    }
    assert bodies == store.asked
    assert list(bodies) == list(store.asked)  # sorted by name they are in the order in which they have to be sent
    kibana = (tmp_path / "new/elasticsearch/kibana.ndjson").read_text()
    assert kibana == (ROOT / "schemas/kibana.ndjson").read_text()


def test_two_exports_do_not_mix(tmp_path):
    """The same export can be written again; another one into the same folder would be installed in nobody's order, and is refused."""
    for _ in range(2):
        assert setup(Settings(), Options(export=tmp_path))[1] == 0
    with pytest.raises(ConfigError, match="not of this export"):
        setup(Settings(), Options(export=tmp_path, profiles=("flat",)))
    with pytest.raises(ConfigError, match="--dry-run and --export"):
        setup(Settings(), Options(export=tmp_path, dry_run=True))
