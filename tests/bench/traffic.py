"""Synthetic clicks for benchmarks: native events of about 430 bytes, from a fixed number of devices."""

from __future__ import annotations

import random
from collections.abc import Iterator

import orjson

from cartstream.events.times import iso

_KINDS: tuple[str, ...] = (
    ("page",) * 60 + ("Product Viewed",) * 25 + ("Product Added",) * 6 + ("Product Removed",) * 2 + ("Exit Intent",) * 3
)
_KINDS += ("Checkout Started",) * 2 + ("Order Completed",) + ("identify",)


def clicks(
    count: int, devices: int, start: int, per_second: int = 500, seed: int = 1, products: int = 5_000, whole_carts: bool = False
) -> Iterator[tuple[str, bytes]]:
    """(device, event): page and product views mostly, one identify in a hundred; event time moves on evenly from `start` (ms).

    An order is for one product, in the cart or not, so carts only grow; with `whole_carts` for all that is in it."""
    chance = random.Random(seed)
    for number in range(count):
        device = f"dev-{int(chance.random() * devices):08d}"
        yield device, _event(device, f"sku-{number % products}", start + number * 1000 // per_second, chance, whole_carts)


def _event(device: str, product: str, at: int, chance: random.Random, whole_carts: bool) -> bytes:
    kind = chance.choice(_KINDS)
    event = {
        "type": kind if kind in ("page", "identify") else "track",
        "messageId": f"{chance.getrandbits(128):032x}",
        "anonymousId": device,
        "timestamp": iso(at),
        "context": {
            "page": {"url": f"https://shop.example/p/{product}", "referrer": "https://shop.example/", "title": "Some product title"},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
            "locale": "en-GB",
            "timezone": "Europe/London",
        },
    }
    if kind == "identify":
        event |= {"userId": f"user-{device[4:]}", "traits": {"email": f"{device}@example.test", "consent": {"email": True}}}
    elif kind == "Order Completed" and whole_carts:
        event |= {"event": kind, "properties": {"currency": "EUR"}}
    elif kind != "page":
        event |= {"event": kind, "properties": {"product_id": product, "price": 19.99, "quantity": 1, "currency": "EUR"}}
    return orjson.dumps(event)
