"""docs/kibana.md shows queries that are tried, and says what the commands really take."""

import re

from schemas.build import ROOT
from schemas.templates import PLACES
from shipper.commands.store import PRIVILEGES
from tests.e2e.questions import KQL

PAGE = (ROOT / "docs/kibana.md").read_text()


def test_every_query_on_the_page_is_tried():
    """Each of the twenty and more queries is one of those that tests/e2e/test_questions.py asks the stores."""
    queries = re.findall(
        r"^\| .* \| `(.*)` \|$", PAGE.partition("## Questions")[2].partition("Things to know")[0], re.MULTILINE
    )
    assert len(queries) >= 20
    assert [query for query in queries if query not in KQL] == []
    assert len(set(queries)) == len(queries)


def test_the_patterns_and_privileges_are_those_of_the_program():
    """The page names the streams of each profile, and each privilege that the program names."""
    for profile, place in PLACES.items():
        assert f"| `{profile}` | `{place.pattern}` |" in PAGE
    for text in PRIVILEGES.values():
        for word in re.findall(r"[a-z]+(?:[_:/*]+[a-z_]*)+\*?", text):
            assert word.rstrip(":") in PAGE, word
