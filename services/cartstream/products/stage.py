"""Products as the runtime runs them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from cartstream.errors import Refused
from cartstream.events import avro, topics
from cartstream.events.clicks import MAX_ID
from cartstream.events.placement import keys_of_all
from cartstream.events.records import Product
from cartstream.events.times import EventTime, parse_iso
from cartstream.products.step import ProductState, step
from cartstream.runtime.stage import Record, Step

_JSON = b"{"
MAX_NAME = 200


class _Line(msgspec.Struct):
    """A product as a retailer writes it in JSON: the fields of `Product`; `at` in ms or as text in ISO 8601."""

    product_id: str
    at: int | str
    price: float | None = None
    currency: str | None = None
    available: bool | None = None
    name: str | None = None


_decode_line = msgspec.json.Decoder(_Line, strict=False).decode


class ProductsStage:
    """Reads products, writes what changed to every partition of activity.

    Outputs name a partition by a key that lies in it: what names it by its number is no part of a transaction. It tells no time: a feed
    that stands still holds back no reminder.
    """

    name = "products"
    source = topics.PRODUCTS
    sinks: tuple[str, ...] = ()

    def __init__(self, partitions: int) -> None:
        self._everywhere = keys_of_all(partitions)
        self.encode_state = msgspec.msgpack.Encoder().encode
        self._decode_state = msgspec.msgpack.Decoder(ProductState).decode

    def decode(self, record: Record) -> Product:
        """A record without a value says that the product is gone."""
        if not record.value:
            return _sound(Product((record.key or b"").decode(errors="replace"), record.timestamp, available=False))
        if record.value[:1] == _JSON:
            return _sound(_from_json(record.value))
        value = avro.codec().decode(record.value)
        if not isinstance(value, Product):
            raise Refused("wrong_schema", f"a {type(value).__name__} has no place on {topics.PRODUCTS}")
        return _sound(value)

    def key_of(self, event: Product) -> str:
        return event.product_id

    def step(self, state: ProductState | None, event: Product, watermark: EventTime) -> Step[ProductState]:
        return step(state, event, self._everywhere)

    def wake(self, state: ProductState, watermark: EventTime) -> Step[ProductState]:
        return Step(state, changed=False)

    def decode_state(self, raw: bytes) -> ProductState:
        return self._decode_state(raw)


def _from_json(raw: bytes) -> Product:
    try:
        line = _decode_line(raw)
        at: Any = line.at
        return Product(line.product_id, at if isinstance(at, int) else parse_iso(at), line.price, line.currency, line.available, line.name)
    except msgspec.ValidationError as error:
        raise Refused("wrong_schema", "a field has the wrong kind: see docs/detection.md") from error
    except msgspec.DecodeError as error:
        raise Refused("unparseable", "not JSON in UTF-8") from error
    except ValueError as error:
        raise Refused("missing_time", "at is no time in ISO 8601") from error


def _sound(product: Product) -> Product:
    if not product.product_id or len(product.product_id) > MAX_ID:
        raise Refused("missing_id", f"no product id, or one of over {MAX_ID} characters")
    if product.at <= 0:
        raise Refused("missing_time", "without the time from which it is so")
    price = product.price
    if price is not None and not 0 <= price < float("inf"):
        raise Refused("wrong_schema", "the price is no amount")
    return product if product.name is None else replace(product, name=product.name[:MAX_NAME])
