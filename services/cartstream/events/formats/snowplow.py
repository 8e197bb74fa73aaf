"""Snowplow's enriched events: as tab-separated text, or as the JSON that the Analytics SDKs make of it.

Sources: canonical event model; Snowplow's e-commerce schemas (`com.snowplowanalytics.snowplow.ecommerce`). The action says what happened,
entities attached to it say with which products; `event_id` is the message id, `derived_tstamp` the time. The cart entity has a value and
no products, so nothing is told of a cart but by its additions and removals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from cartstream.errors import Refused
from cartstream.events.formats.moments import read_moment
from cartstream.events.formats.native import Incoming, Native
from cartstream.events.formats.segment import load
from cartstream.events.formats.shopping import Fields, Hit, derived_id, present, renamed, text, track, write
from cartstream.events.formats.snowplow_fields import FIELDS
from cartstream.events.times import EventTime

_COMMERCE = "com.snowplowanalytics.snowplow.ecommerce"
_TIMES = ("derived_tstamp", "true_tstamp", "collector_tstamp")

ACTIONS = {
    "product_view": "Product Viewed",
    "list_view": "Product List Viewed",
    "list_click": "Product Clicked",
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "transaction": "Order Completed",
    "refund": "Order Refunded",
    "promo_view": "Promotion Viewed",
    "promo_click": "Promotion Clicked",
    "trns_error": "Transaction Error",
}
"""`checkout_step` is told apart by its number. A transaction error undoes nothing: there was no order yet."""

_PRODUCT = {
    "name": "name",
    "category": "category",
    "brand": "brand",
    "variant": "variant",
    "price": "price",
    "quantity": "quantity",
    "position": "position",
}
_TRANSACTION = {
    "transaction_id": "order_id",
    "revenue": "total",
    "tax": "tax",
    "shipping": "shipping",
    "discount_amount": "discount",
    "discount_code": "coupon",
    "payment_method": "payment_method",
    "currency": "currency",
}
_REFUND = {"transaction_id": "order_id", "refund_amount": "total", "currency": "currency"}
_CHECKOUT = {"step": "step", "payment_method": "payment_method", "delivery_method": "shipping_method", "coupon_code": "coupon"}
_OLD_ORDER = {"tr_orderid": "order_id", "tr_total": "total", "tr_tax": "tax", "tr_shipping": "shipping", "tr_currency": "currency"}
_PAGE = {"page_url": "url", "page_referrer": "referrer", "page_title": "title"}

Entities = dict[str, list[Fields]]
"""Self-describing data by `<vendor>/<name>`."""


def translate(incoming: Incoming) -> Sequence[Native | Refused]:
    """A `formats.native.Translate`."""
    repairs: list[str] = []
    raw = incoming.value
    if raw.lstrip()[:1] in (b"{", b"\xef"):
        fields = load(raw, repairs)
        entities, action = _from_json(fields)
    else:
        fields = _columns(raw)
        entities, action = _from_columns(fields, repairs)
    if not isinstance(fields.get("event_id"), str) and fields.get("event") is None:
        raise Refused("wrong_schema", "neither event_id nor event: not an enriched event")
    hit = _hit(fields, entities, repairs)
    products = list(_products(entities.get(f"{_COMMERCE}/product", []), repairs))
    return _native(hit._replace(repairs=repairs), fields, entities, action, products)


def _native(hit: Hit, fields: Fields, entities: Entities, action: tuple[str, Fields], products: list[Fields]) -> list[Native]:
    schema, said = action
    if schema == f"{_COMMERCE}/snowplow_ecommerce_action":
        event, properties = _commerce(str(said.get("type")), entities)
        return track(hit, event, properties, products)
    kind, name = fields.get("event"), text(fields.get("event_name"))
    if kind == "page_view":
        return [write(hit, "page", text(fields.get("page_title")))]
    if name == "screen_view":
        return [write(hit, "screen", text(said.get("name")))]
    if kind == "transaction":
        return track(hit, "Order Completed", renamed(fields, _OLD_ORDER))
    if kind == "struct":
        name = text(fields.get("se_action")) or name
    return track(hit, name or text(kind) or "unstruct", {})


def _commerce(kind: str, entities: Entities) -> tuple[str, Fields]:
    def entity(name: str) -> Fields:
        return next(iter(entities.get(f"{_COMMERCE}/{name}", [])), {})

    properties = present({"cart_id": entity("cart").get("cart_id"), "currency": entity("cart").get("currency")})
    if kind == "checkout_step":
        step = renamed(entity("checkout_step"), _CHECKOUT)
        return "Checkout Started" if step.get("step") in (1, "1") else "Checkout Step Completed", properties | step
    if kind == "transaction":
        properties |= renamed(entity("transaction"), _TRANSACTION)
    elif kind == "refund":
        properties |= renamed(entity("refund"), _REFUND)
    return ACTIONS.get(kind, kind), properties


def _hit(fields: Fields, entities: Entities, repairs: list[str]) -> Hit:
    at = _time(fields, repairs)
    session = next(iter(entities.get("com.snowplowanalytics.snowplow/client_session", [])), {})
    device = text(fields.get("domain_userid")) or text(session.get("userId")) or text(fields.get("network_userid"))
    person = next(iter(entities.get(f"{_COMMERCE}/user", [])), {})
    user = text(fields.get("user_id")) or (None if person.get("is_guest") else text(person.get("id")))
    context = {"page": renamed(fields, _PAGE) or None, "device": renamed(fields, {"dvce_type": "type"}) or None}
    if isinstance(person.get("email"), str):
        context["traits"] = {"email": person["email"]}
    id = text(fields.get("event_id")) or derived_id("snowplow", fields)
    return Hit(at, id, device, user, present(context), repairs)


def _time(fields: Fields, repairs: list[str]) -> EventTime:
    for name in _TIMES:
        if fields.get(name) is None:
            continue
        try:
            at, repair = read_moment(fields[name])
        except (ValueError, OverflowError):
            repairs.append("time_unreadable")
            continue
        if repair is not None:
            repairs.append(repair)
        return at
    raise Refused("missing_time", f"none of {', '.join(_TIMES)}")


def _products(entities: list[Fields], repairs: list[str]) -> Iterator[Fields]:
    for product in entities:
        id = text(product.get("id"))
        if id is None:
            repairs.append("item_unusable")
            continue
        yield {"product_id": id} | renamed(product, _PRODUCT | {"currency": "currency"})


def _columns(raw: bytes) -> Fields:
    try:
        columns = raw.decode().rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        raise Refused("unparseable", "not UTF-8") from error
    if len(columns) != len(FIELDS):
        raise Refused("wrong_schema", f"{len(columns)} columns where an enriched event has {len(FIELDS)}")
    return {name: value for name, value in zip(FIELDS, columns, strict=True) if value}


def _from_columns(fields: Fields, repairs: list[str]) -> tuple[Entities, tuple[str, Fields]]:
    entities: Entities = {}
    for column in ("contexts", "derived_contexts"):
        attached = _described(fields.get(column), repairs)[1]
        for entry in attached if isinstance(attached, list) else ():
            schema, content = _described(entry, repairs)
            if isinstance(content, dict):
                entities.setdefault(schema, []).append(content)
    schema, content = _described(_described(fields.get("unstruct_event"), repairs)[1], repairs)
    return entities, (schema, content if isinstance(content, dict) else {})


def _described(value: Any, repairs: list[str]) -> tuple[str, Any]:
    """Of self-describing JSON, `{"schema": "iglu:<vendor>/<name>/jsonschema/<version>", "data"}`: vendor/name, and the content."""
    if value is None:
        return "", None
    try:
        found = orjson.loads(value) if isinstance(value, str) else value
        return "/".join(found["schema"].removeprefix("iglu:").split("/")[:2]), found["data"]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        repairs.append("context_unusable")
        return "", None


def _from_json(fields: Fields) -> tuple[Entities, tuple[str, Fields]]:
    """The SDKs flatten a schema's name: `contexts_<vendor with _>_<name>_<model>`. Only what is used here is looked for."""
    entities: Entities = {}
    for schema in _ENTITIES:
        found = fields.get(f"contexts_{_flat(schema)}_1")
        if isinstance(found, list):
            entities[schema] = [entry for entry in found if isinstance(entry, dict)]
    for schema in (f"{_COMMERCE}/snowplow_ecommerce_action", "com.snowplowanalytics.mobile/screen_view"):
        content = fields.get(f"unstruct_event_{_flat(schema)}_1")
        if isinstance(content, dict):
            return entities, (schema, content)
    return entities, ("", {})


_ENTITIES = (
    *(f"{_COMMERCE}/{name}" for name in ("product", "cart", "checkout_step", "transaction", "refund", "user")),
    "com.snowplowanalytics.snowplow/client_session",
)


def _flat(schema: str) -> str:
    return schema.replace(".", "_").replace("/", "_")
