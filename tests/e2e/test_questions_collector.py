"""The embedded collector answers the questions that its language can ask as the stores do."""

import httpx
import pytest

from tests.e2e.conftest import ship
from tests.e2e.questions import LUCENE

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def collector(start, corpus, tmp_path):
    process = start()
    ship(corpus, process.url, tmp_path / "state", "ours")
    return process


def test_it_answers_as_the_stores_do(collector, corpus):
    """Each question in Lucene's language finds as many records as the files say."""
    ours = {path.name.rpartition(".")[0].rpartition("-")[2].partition(".")[0] for path in corpus.folder.glob("ours/*")}
    wrong = {}
    for text, predicate in LUCENE.items():
        answer = httpx.get(f"{collector.url}/api/search", params={"q": text, "limit": 1}, timeout=60)
        wanted = sum(count for run, (count, _) in corpus.summary(predicate).items() if run in ours)
        total = answer.json().get("total") if answer.is_success else answer.text
        if total != wanted:
            wrong[text] = (total, wanted)
    assert wrong == {}
