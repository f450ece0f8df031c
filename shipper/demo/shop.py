"""A small shop: a real WSGI application that logs with nothing but `logging`, and fails now and then as shops do."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

log = logging.getLogger("shop")
_pay_log = logging.getLogger("shop.pay")

Environ = dict[str, Any]
Start = Callable[[str, list[tuple[str, str]]], object]
Answer = tuple[int, dict[str, Any]]

_PRICES = {"book": 12.5, "lamp": 39.9, "chair": 120.0, "desk": 340.0}


class CardError(Exception):
    """The payment failed; what the bank said is the cause."""


class OutOfStock(LookupError):
    """Nothing is left of an item."""


def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Answer one request, and log what a shop would."""
    query = {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    view = _VIEWS.get(environ.get("PATH_INFO", "/"), _not_found)
    try:
        status, body = view(query)
    except OutOfStock as exc:
        log.warning("out of stock: %s", exc, extra={"item": str(exc)})
        status, body = 409, {"error": "out of stock"}
    except Exception:
        log.exception("request failed", extra={"path": environ.get("PATH_INFO"), "user": query.get("user")})
        status, body = 500, {"error": "internal error"}
    data = json.dumps(body).encode()
    start_response(
        f"{status} {_PHRASES[status]}", [("content-type", "application/json"), ("content-length", str(len(data)))]
    )
    return [data]


def _home(query: dict[str, str]) -> Answer:
    log.info("catalogue shown", extra={"items": len(_PRICES), "user": query.get("user")})
    return 200, {"items": _PRICES}


def _search(query: dict[str, str]) -> Answer:
    text = query.get("q", "")
    started = time.perf_counter()
    time.sleep(min(len(text), 40) / 1000)  # a long question takes longer
    found = [item for item in _PRICES if text in item]
    log.info(
        "search for %r found %d",
        text,
        len(found),
        extra={"search_ms": round((time.perf_counter() - started) * 1000, 2)},
    )
    return 200, {"found": found}


def _order(query: dict[str, str]) -> Answer:
    item, user = query.get("item", "book"), query.get("user", "anonymous")
    price = _price(item)
    _charge(query.get("card", "ok"), price)
    log.info("order placed", extra={"item": item, "amount": price, "user": user, "paid": True})
    return 201, {"ordered": item}


def _report(query: dict[str, str]) -> Answer:
    seconds = float(query.get("seconds", "0"))
    log.info("report started", extra={"seconds": seconds})
    time.sleep(seconds)
    log.info("report finished")
    return 200, {"report": "done"}


def _healthz(query: dict[str, str]) -> Answer:
    del query
    return 200, {"status": "ok"}


def _not_found(query: dict[str, str]) -> Answer:
    del query
    return 404, {"error": "not found"}


def _price(item: str) -> float:
    try:
        return _PRICES[item]
    except KeyError as exc:
        raise OutOfStock(item) from exc


def _charge(card: str, amount: float) -> None:
    try:
        _ask_bank(card)
    except TimeoutError as exc:
        _pay_log.error("the bank does not answer", extra={"amount": amount, "bank": "first"})
        raise CardError(f"charge of {amount} declined") from exc


def _ask_bank(card: str) -> None:
    if card == "slow":
        raise TimeoutError("no answer from the bank within 2 s")
    if card == "broken":
        accounts: dict[str, str] = {}
        log.debug("account %s", accounts["main"])


_VIEWS: dict[str, Callable[[dict[str, str]], Answer]] = {
    "/": _home,
    "/search": _search,
    "/order": _order,
    "/report": _report,
    "/healthz": _healthz,
}
_PHRASES = {200: "OK", 201: "Created", 404: "Not Found", 409: "Conflict", 500: "Internal Server Error"}
