from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cartstream.errors import Refused
from cartstream.events import avro, topics
from cartstream.events.placement import keys_of_all, partition_of
from cartstream.events.records import Merge, Product
from cartstream.products.stage import ProductsStage
from cartstream.runtime.stage import Record
from tests.detection.harness import Partition

T0 = 1_710_000_000_000


def record(value: bytes, key: bytes | None = b"shoe") -> Record:
    return Record(topics.PRODUCTS, 0, 0, key, value)


def told(*said: Product, partitions: int = 1) -> list[Product]:
    running = Partition(ProductsStage(partitions))
    running.feed(*said)
    found: list[Product] = running.published(topics.ACTIVITY)
    return found


def said(after: int, price: float | None = 10.0, there: bool | None = True, currency: str | None = "EUR") -> Product:
    return Product("shoe", T0 + after, price, currency, there)


@pytest.mark.parametrize("partitions", [1, 3, 8, 64])
def test_every_partition_has_a_key_of_its_own(partitions: int) -> None:
    assert [partition_of(key, partitions) for key in keys_of_all(partitions)] == list(range(partitions))


def test_what_changed_goes_to_every_partition_in_the_transaction() -> None:
    running = Partition(ProductsStage(3))
    running.feed(said(0), said(1, 8.0))

    assert [(output.key, output.partition) for output in running.outputs] == [(key, -1) for key in keys_of_all(3)]


@pytest.mark.parametrize(
    ("first", "second", "change"),
    [
        (said(0), said(1, 8.0), said(1, 8.0)),
        (said(0), said(1, None, False), said(1, 10.0, False)),
        (said(0), said(1, 8.0, None, None), said(1, 8.0)),
    ],
    ids=["price", "stock", "price, and what is not said is as it was"],
)
def test_a_change_says_what_it_was_before(first: Product, second: Product, change: Product) -> None:
    assert told(first, second) == [msgspec.structs.replace(change, previous_price=10.0, previous_available=True)]


def test_another_currency_has_no_price_before() -> None:
    assert [product.previous_price for product in told(said(0), said(1, 8.0, True, "USD"))] == [None]


@pytest.mark.parametrize("second", [said(1), said(0, 8.0), said(-1, 8.0)], ids=["nothing new", "the same moment", "from before"])
def test_what_says_nothing_new_goes_nowhere(second: Product) -> None:
    assert told(said(0), second) == []


def test_of_what_is_first_heard_of_only_that_it_is_out_of_stock_matters() -> None:
    assert told(said(0)) == []
    assert told(said(0, there=False)) == [said(0, there=False)]


@pytest.mark.parametrize(
    ("value", "product"),
    [
        (b'{"product_id": "shoe", "at": "2024-03-09T16:00:00Z", "price": "9.50"}', Product("shoe", T0, 9.5)),
        (b'{"product_id": "shoe", "at": 1710000000000, "available": false}', Product("shoe", T0, available=False)),
        (avro.codec().encode(said(0)), said(0)),
    ],
)
def test_a_product_is_written_in_json_or_avro(value: bytes, product: Product) -> None:
    assert ProductsStage(1).decode(record(value)) == product


def test_a_record_without_a_value_says_that_the_product_is_gone() -> None:
    class Deleted:
        def headers(self) -> None:
            return None

        def timestamp(self) -> tuple[int, int]:
            return 1, T0

    gone = Record(topics.PRODUCTS, 0, 0, b"shoe", b"", Deleted())
    assert ProductsStage(1).decode(gone) == Product("shoe", T0, available=False)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "unparseable"),
        (b"\xff", "bad_header"),
        (avro.codec().encode(Merge("a", "b", 1, "e", "email")), "wrong_schema"),
        (b'{"product_id": "shoe", "at": 1, "price": []}', "wrong_schema"),
        (b'{"product_id": "shoe", "at": 1, "price": -1}', "wrong_schema"),
        (b'{"product_id": "", "at": 1}', "missing_id"),
        (b'{"product_id": "shoe", "at": "soon"}', "missing_time"),
        (b'{"product_id": "shoe", "at": 0}', "missing_time"),
        (b"", "missing_time"),
    ],
)
def test_what_cannot_be_used_is_refused(value: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        ProductsStage(1).decode(record(value))
    assert refused.value.reason == reason


def test_a_state_is_read_as_it_was_stored() -> None:
    stage = ProductsStage(1)
    state: Any = stage.step(None, said(0), 0).state
    assert stage.decode_state(stage.encode_state(state)) == state
