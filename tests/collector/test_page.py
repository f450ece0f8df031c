import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from tests.collector.conftest import Process, ndjson, record

pytestmark = pytest.mark.browser

ARTIFACTS = Path(__file__).parents[2] / ".artifacts"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
EVIL = "<img src=x onerror=document.title='broken'><script>document.title='broken'</script>"
TRACEBACK = """Traceback (most recent call last):
  File "/app/shop/gateway.py", line 41, in request
    answer = self._socket.recv(4096)
TimeoutError: timed out

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/shop/pay.py", line 12, in charge
    raise CardError("declined") from exc
shop.errors.CardError: declined"""


def records() -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC)
    for number in range(240):
        level = (
            "ERROR" if number % 40 == 7 else "WARNING" if number % 9 == 0 else "DEBUG" if number % 7 == 0 else "INFO"
        )
        time = (
            (now - timedelta(seconds=(240 - number) * 11 + number % 13))
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
        fields: dict[str, Any] = {
            "@timestamp": time,
            "log": {"level": level, "logger": "shop.pay" if number % 3 else "shop.web"},
        }
        if level == "ERROR":
            chain = [{"relation": "cause", "type": "TimeoutError", "message": "timed out"}]
            fields["exc"] = {
                "type": "CardError",
                "module": "shop.errors",
                "message": "declined",
                "traceback": TRACEBACK,
                "chain": chain,
            }
        yield record(number, **fields, extra={"order": number, "big": 12345678901234567890, "user": EVIL})
    yield record(
        1000,
        message=EVIL,
        service={"name": EVIL},
        log={"level": EVIL, "logger": EVIL},
        exc={"type": EVIL, "chain": [EVIL, 7, {}]},
        **{"@timestamp": now.isoformat()},
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        reason = "no Chromium is installed (apt-get install chromium)"
        pytest.fail(reason) if os.environ.get("SHIPPER_REQUIRE_PARTS") == "1" else pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, start: Callable[..., Process]) -> Iterator[Any]:
    """The page of a fresh collector; a script error or a violated policy fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(20_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    page.goto(start().url)
    page.wait_for_selector("body[data-ready]")
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def filled(page: Any) -> Any:
    httpx.post(page.url, content=ndjson(*records())).raise_for_status()
    page.reload()
    page.wait_for_selector("[data-record]")
    return page


def shoot(page: Any, name: str) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (1280, 400):
            page.set_viewport_size({"width": width, "height": 800})
            page.screenshot(path=ARTIFACTS / f"collector-{name}-{scheme}-{width}.png")
    page.set_viewport_size({"width": 1280, "height": 800})


def ask(page: Any, query: str) -> None:
    with page.expect_response(lambda answer: "/api/search" in answer.url):
        page.fill("#q", query)
        page.press("#q", "Enter")
    expect(page.locator("body.busy")).to_have_count(0)


def test_empty_page_explains_itself(page: Any) -> None:
    """Without records the page says how to send some, and shows the first one by itself."""
    assert page.url.rstrip("/") in page.inner_text("#command")
    shoot(page, "empty")
    httpx.post(page.url, content=ndjson(record(1))).raise_for_status()
    page.wait_for_selector("[data-record]")
    assert not page.is_visible("#empty")


def test_search_and_expand(filled: Any) -> None:
    """A search shows what matches; an exception opens to its readable traceback, its chain and the whole record."""
    shoot(filled, "records")
    assert filled.inner_text("#total") == "241 records"
    ask(filled, "exc.type:CardError")
    assert filled.inner_text("#total") == "6 records"
    first = filled.locator("[data-record]").first
    first.click()
    assert first.get_attribute("aria-expanded") == "true"
    detail = filled.locator(".detail")
    assert detail.locator(".traceback").inner_text().strip() == TRACEBACK
    assert detail.locator(".traceback .raised").last.inner_text().strip() == "shop.errors.CardError: declined"
    assert detail.locator(".chain").inner_text() == "TimeoutError: timed out"
    assert '"big": 12345678901234567890' in detail.locator(".json").inner_text()
    shoot(filled, "exception")
    filled.set_viewport_size({"width": 400, "height": 800})
    assert filled.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_records_are_never_markup(filled: Any) -> None:
    """Markup in any field is shown as text and runs nothing."""
    ask(filled, "_id:k3v9\\:1000")
    filled.locator("[data-record]").click()
    assert EVIL in filled.locator("td.message").inner_text()
    assert filled.locator("main img, main script").count() == 0
    assert filled.title() == "Logs"


def test_keyboard(filled: Any) -> None:
    """Everything can be reached with the keys: search, go down, open, close."""
    filled.press("body", "/")
    assert filled.evaluate("document.activeElement.id") == "q"
    filled.keyboard.press("ArrowDown")
    filled.keyboard.press("ArrowDown")
    filled.keyboard.press("Enter")
    assert filled.locator("[data-record]").nth(1).get_attribute("aria-expanded") == "true"
    filled.keyboard.press("Escape")
    assert filled.locator(".detail").count() == 0


def test_levels_and_range(filled: Any) -> None:
    """Levels narrow the list, dragging over the histogram narrows the time, and both stand in the address."""
    with filled.expect_response(lambda answer: "level=ERROR" in answer.url):
        filled.click("[data-level=ERROR]")
    expect(filled.locator("#total")).to_have_text("6 records")
    assert filled.locator("[data-record]").count() == 6
    box = filled.locator("#histogram").bounding_box()
    filled.mouse.move(box["x"] + 5, box["y"] + 40)
    filled.mouse.down()
    filled.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    with filled.expect_response(lambda answer: "/api/search" in answer.url and "to=" in answer.url):
        filled.mouse.up()
    expect(filled.locator("#total")).not_to_have_text("6 records")
    assert "level=ERROR" in filled.url
    assert "from=" in filled.url
    filled.reload()
    filled.wait_for_selector("[data-record]")
    assert 0 < filled.locator("[data-record]").count() < 6
    filled.click("#zoom-out")
    expect(filled.locator("#total")).to_have_text("6 records")


def test_query_error_is_shown(filled: Any) -> None:
    """A query that cannot be read says why, where, and leaves the list."""
    ask(filled, "log.level:(error")
    assert "position 17" in filled.inner_text("#error")
    assert filled.locator("[data-record]").count() == 50
    ask(filled, "nothing-like-this")
    assert not filled.is_visible("#error")
    assert filled.is_visible("#nothing")


def test_live(filled: Any) -> None:
    """With Live on, new records appear by themselves, and what is open stays open."""
    filled.locator("[data-record]").first.click()
    filled.click("#live")
    httpx.post(
        filled.url.split("?")[0],
        content=ndjson(record(7000, message="just now", **{"@timestamp": datetime.now(UTC).isoformat()})),
    ).raise_for_status()
    filled.wait_for_selector("text=just now")
    assert filled.locator(".detail").count() == 1
