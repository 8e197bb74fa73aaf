"""Google Analytics 4, in the three forms it comes in: Measurement Protocol, BigQuery export rows, and the tag's dataLayer.

Sources: Measurement Protocol reference (payload, events); BigQuery export schema; the recommended e-commerce events. The names follow the
inverse of RudderStack's Segment-to-GA4 mapping. GA4 has no event id and no cart: the id is made of what tells an event from all others (a
purchase: its transaction), the cart is the shopper's. An event of the tag has a time only where its collector adds one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cartstream.errors import Refused
from cartstream.events.formats.moments import read_moment
from cartstream.events.formats.native import Incoming, Native
from cartstream.events.formats.segment import load
from cartstream.events.formats.shopping import TRIGGERS, Fields, Hit, derived_id, present, renamed, text, track, write
from cartstream.events.times import EventTime

NAMES = {
    "search": "Products Searched",
    "view_search_results": "Products Searched",
    "view_item_list": "Product List Viewed",
    "select_item": "Product Clicked",
    "view_item": "Product Viewed",
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "view_cart": "Cart Viewed",
    "add_to_wishlist": "Product Added to Wishlist",
    "begin_checkout": "Checkout Started",
    "add_shipping_info": "Checkout Step Completed",
    "add_payment_info": "Payment Info Entered",
    "purchase": "Order Completed",
    "refund": "Order Refunded",
    "view_promotion": "Promotion Viewed",
    "select_promotion": "Promotion Clicked",
    "exit_intent": "Exit Intent",
}
"""Any other event is a track event under its own name: it shows that the shopper is there."""

_PARAMS = {
    "transaction_id": "order_id",
    "currency": "currency",
    "value": "value",
    "tax": "tax",
    "shipping": "shipping",
    "coupon": "coupon",
    "affiliation": "affiliation",
    "shipping_tier": "shipping_method",
    "payment_type": "payment_method",
    "search_term": "query",
    "item_list_id": "list_id",
    "item_list_name": "list_name",
    "trigger": "trigger",
    "dwell_ms": "dwell_ms",
    "scroll_pct": "scroll_pct",
}
_ITEM = {
    "item_name": "name",
    "item_brand": "brand",
    "item_category": "category",
    "item_variant": "variant",
    "price": "price",
    "quantity": "quantity",
    "coupon": "coupon",
    "index": "position",
}
_PAGE = {"page_location": "url", "page_referrer": "referrer", "page_title": "title"}
_PEOPLE = frozenset({"login", "sign_up"})
_MICROSECONDS = (1e14, 1e17)


def translate(incoming: Incoming) -> Sequence[Native | Refused]:
    """A `formats.native.Translate`."""
    repairs: list[str] = []
    payload = load(incoming.value, repairs)
    if isinstance(payload.get("events"), list):
        return list(_protocol(payload, incoming, repairs))
    if isinstance(payload.get("event_name"), str):
        return _export(payload, incoming, repairs)
    if isinstance(payload.get("event"), str):
        return _layer(payload, incoming, repairs)
    raise Refused("wrong_schema", "none of events (Measurement Protocol), event_name (BigQuery export), event (dataLayer)")


def _protocol(payload: Fields, incoming: Incoming, repairs: list[str]) -> Iterator[Native | Refused]:
    """Up to 25 events of one client. Without timestamp_micros an event happened when it was sent: when Kafka took it."""
    if not payload["events"]:
        raise Refused("wrong_schema", "a payload without events")
    device = text(payload.get("client_id")) or text(payload.get("app_instance_id"))
    granted = {name: said == "GRANTED" for name, said in _object(payload.get("consent")).items() if said in ("GRANTED", "DENIED")}
    context = ({"consent": {"categoryPreferences": granted}} if granted else {}) | _machine(payload)
    for number, event in enumerate(payload["events"]):
        found = list(repairs)
        try:
            if not isinstance(event, dict) or not isinstance(event.get("name"), str):
                raise Refused("wrong_schema", "an event is an object with a name")
            said = event.get("timestamp_micros", payload.get("timestamp_micros"))
            at = _time(said, incoming, found)
            id = derived_id("ga4", device, at, event["name"], number, event)
            hit = Hit(at, id, device, text(payload.get("user_id")), context, found)
            yield from _events(hit, event["name"], _object(event.get("params")))
        except Refused as refused:
            yield refused


def _export(row: Fields, incoming: Incoming, repairs: list[str]) -> list[Native]:
    params = {entry["key"]: _typed(entry.get("value")) for entry in _objects(row.get("event_params")) if isinstance(entry.get("key"), str)}
    commerce = _object(row.get("ecommerce"))
    amount = commerce.get("refund_value" if row["event_name"] == "refund" else "purchase_revenue")
    params = {"transaction_id": commerce.get("transaction_id"), "value": amount} | present(params)
    if isinstance(row.get("items"), list):
        params["items"] = row["items"]
    device = text(row.get("user_pseudo_id"))
    at = _time(row.get("event_timestamp"), incoming, repairs)
    place = [row.get(name) for name in ("event_bundle_sequence_id", "batch_page_id", "batch_ordering_id", "batch_event_index")]
    id = derived_id("ga4", device, row.get("event_timestamp"), row["event_name"], *place, row.get("event_params"), row.get("items"))
    return _events(Hit(at, id, device, text(row.get("user_id")), _machine(row), repairs), row["event_name"], params)


def _machine(said: Fields) -> Fields:
    """The device's category, as context."""
    category = _object(said.get("device")).get("category")
    return {"device": {"type": category}} if isinstance(category, str) else {}


def _layer(push: Fields, incoming: Incoming, repairs: list[str]) -> list[Native]:
    """What the page said to the tag, with what its collector knows beside it: `client_id`, `user_id`, `timestamp`."""
    device = text(push.get("client_id")) or text(push.get("clientId"))
    if device is None and incoming.key:
        device = incoming.key.decode(errors="replace")
        repairs.append("id_from_key")
    at = _moment(push.get("timestamp", push.get("gtm.start")), incoming, repairs)
    params = push | _object(push.get("ecommerce")) | _object(push.get("eventModel"))
    user = text(push.get("user_id")) or text(push.get("userId"))
    id = derived_id("ga4", device, at, push["event"], push)
    return _events(Hit(at, id, device, user, {}, repairs), push["event"], params)


def _events(hit: Hit, name: str, params: Fields) -> list[Native]:
    found = list(hit.repairs)
    products = list(_products(params.get("items"), found))
    page = renamed(params, _PAGE)
    hit = hit._replace(repairs=found, context=hit.context | ({"page": page} if page else {}))
    if name in ("page_view", "screen_view"):
        title = params.get("page_title" if name == "page_view" else "screen_name", params.get("firebase_screen"))
        return [write(hit, "page" if name == "page_view" else "screen", text(title))]
    if name in _PEOPLE and hit.user is not None:
        return [write(hit, "identify")]
    properties = {ours: value for ours, value in renamed(params, _PARAMS).items() if value != "(not set)"}
    if "order_id" in properties:
        properties["order_id"] = text(properties["order_id"])
    if name == "purchase":
        properties = present(properties | {"total": properties.pop("value", None)})
        if properties.get("order_id") is not None:
            hit = hit._replace(message_id=derived_id("ga4", hit.device or hit.user, name, properties["order_id"]))
    elif name == "exit_intent":
        properties["trigger"] = TRIGGERS.get(str(properties.get("trigger")), properties.get("trigger"))
    return track(hit, NAMES.get(name, name), present(properties), products)


def _products(items: Any, repairs: list[str]) -> Iterator[Fields]:
    for item in items if isinstance(items, list) else ():
        id = (text(item.get("item_id")) or text(item.get("item_name"))) if isinstance(item, dict) else None
        if id is None:
            repairs.append("item_unusable")
            continue
        yield {"product_id": id} | {name: _whole(value) for name, value in renamed(item, _ITEM).items() if value != "(not set)"}


def _whole(value: Any) -> Any:
    """Exports to JSON write whole numbers as text, and nothing else that is all digits is of use here."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16 else value


def _time(value: Any, incoming: Incoming, repairs: list[str]) -> EventTime:
    """A number of microseconds, also as text."""
    try:
        number = int(value) if isinstance(value, str) else value
        at, _ = read_moment(number)
    except (ValueError, OverflowError):
        return _moment(None if value is None else "", incoming, repairs)
    if not _MICROSECONDS[0] <= number < _MICROSECONDS[1]:
        repairs.append("time_unit")
    return at


def _moment(value: Any, incoming: Incoming, repairs: list[str]) -> EventTime:
    """A time in any spelling; none, or an unreadable one: when Kafka took the record."""
    if value is not None:
        try:
            at, repair = read_moment(value)
        except (ValueError, OverflowError):
            repairs.append("time_unreadable")
        else:
            repairs += [repair] if repair else []
            return at
    if incoming.at <= 0:
        raise Refused("missing_time", "no time in the event, and none of its record")
    repairs.append("time_from_record")
    return incoming.at


def _typed(value: Any) -> Any:
    """Of BigQuery's four columns the one that is filled; JSON exports write whole numbers as text."""
    columns = _object(value)
    if columns.get("int_value") is not None:
        try:
            return int(columns["int_value"])
        except (TypeError, ValueError):
            return None
    return next((columns[name] for name in ("double_value", "float_value", "string_value") if columns.get(name) is not None), None)


def _object(value: Any) -> Fields:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Fields]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
