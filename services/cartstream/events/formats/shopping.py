"""What the formats of analytics tools have in common: a hit, with products, becomes the native events of Segment's e-commerce spec."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from cartstream.errors import Refused
from cartstream.events.formats.native import Native
from cartstream.events.times import EventTime, iso

Fields = dict[str, Any]

_ONE_PRODUCT = frozenset({"Product Viewed", "Product Clicked", "Product Added", "Product Removed", "Product Added to Wishlist"})
_COUNTED = frozenset({"Product Added", "Product Removed"})

TRIGGERS = {"mouseleave": "pointer_top_exit", "back": "back_press", "scroll_up": "scroll_up_fast"}
"""Names of exit hints that others use, as ours."""


class Hit(NamedTuple):
    """What a format says of one event, whatever it is called. Without a device, `user` must be there."""

    at: EventTime
    message_id: str
    device: str | None
    user: str | None
    context: Fields
    repairs: Sequence[str] = ()


def track(hit: Hit, name: str, properties: Fields, products: Sequence[Fields] = ()) -> list[Native]:
    """An event with one product in Segment's form becomes one for each of the hit's products; any other takes them as a list."""
    if name not in _ONE_PRODUCT:
        return [write(hit, "track", name, properties=properties | ({"products": list(products)} if products else {}))]
    if name in _COUNTED:
        products = [{"quantity": 1} | product for product in products]
    count = len(products)
    ids = [f"{hit.message_id}.{number}" for number in range(1, count + 1)] if count > 1 else [hit.message_id]
    return [
        write(hit._replace(message_id=id, repairs=hit.repairs if id is ids[0] else ()), "track", name, properties=properties | product)
        for id, product in zip(ids, products or [{}], strict=True)
    ]


def write(hit: Hit, type: str, name: str | None = None, **fields: Any) -> Native:
    """One native event. Raises Refused."""
    if hit.device is None and hit.user is None:
        raise Refused("missing_id", "neither a device nor a user")
    event = {
        "type": type,
        "event" if type == "track" else "name": name,
        "messageId": hit.message_id,
        "anonymousId": hit.device,
        "userId": hit.user,
        "timestamp": iso(hit.at),
        "context": present(hit.context) or None,
        **fields,
    }
    try:
        return Native(orjson.dumps(present(event)), tuple(dict.fromkeys(hit.repairs)))
    except orjson.JSONEncodeError as error:
        raise Refused("unparseable", "nested too deeply, or a number beyond 64 bits") from error


def derived_id(*parts: Any) -> str:
    """32 hex characters that depend on nothing but the parts, in order. Raises Refused."""
    try:
        return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
    except orjson.JSONEncodeError as error:
        raise Refused("unparseable", "nested too deeply") from error


def present(fields: Fields) -> Fields:
    """Without what is None."""
    return {name: value for name, value in fields.items() if value is not None}


def renamed(source: Fields, names: dict[str, str]) -> Fields:
    """Those fields of `source` that are there, under our names."""
    return {ours: source[theirs] for theirs, ours in names.items() if source.get(theirs) is not None}


def text(value: Any) -> str | None:
    """An id as text; None for what names nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    named = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return named if named.strip() and named != "(not set)" else None
