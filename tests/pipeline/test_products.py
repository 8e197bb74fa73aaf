"""Products meet shoppers, through all stages and on any number of partitions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cartstream.detection import DetectionSettings, DetectionStage
from cartstream.events import avro, topics
from cartstream.events.records import Command, Product, ProductChange, Signal
from cartstream.products.stage import ProductsStage
from cartstream.replay.driver import Pipeline
from cartstream.runtime.settings import load
from cartstream.runtime.store import Wire
from tests.pipeline.shop import HOUR, MINUTE, T0, Event, event, stages

SHOPPERS = 12


def events() -> list[Event]:
    """Everybody puts the shoe into the cart; every third has looked at the hat as well, and every fourth buys."""
    found: list[Event] = []
    for number in range(SHOPPERS):
        device, at = f"d{number}", number * 1_000
        if number % 3 == 0:
            found.append(event(device, at, "Product Viewed", product_id="hat"))
        found.append(event(device, at + 500, "Product Added", product_id="shoe", price=10.0, currency="EUR"))
        if number % 4 == 0:
            found.append(event(device, at + MINUTE, "Order Completed", order_id=f"o{number}"))
    return sorted(found)


def catalogue() -> list[Product]:
    said = [("shoe", -HOUR, 10.0, True), ("hat", -HOUR, 20.0, True), ("shoe", 2 * HOUR, 8.0, True), ("hat", 2 * HOUR, 20.0, False)]
    said += [("hat", 3 * HOUR, 15.0, True), ("shoe", 20 * HOUR, 8.0, False), ("shoe", 30 * HOUR, 8.0, True)]
    return [Product(id, T0 + at, price, "EUR", there, id.title()) for id, at, price, there in said]


def signals(partitions: int, batch_size: int, every: int) -> list[Signal]:
    found = [avro.codec().decode(wire.value) for wire in written(partitions, batch_size, every) if wire.topic == topics.SIGNALS]
    return sorted((signal for signal in found if isinstance(signal, Signal)), key=lambda signal: signal.id)


def written(partitions: int, batch_size: int, every: int, before: Sequence[Event] = ()) -> list[Wire]:
    """All that was published."""
    written: list[Wire] = []
    watching = DetectionStage(load(DetectionSettings, watch_products=True))
    chain = [ProductsStage(partitions), *(watching if stage.name == "detection" else stage for stage in stages())]
    shop = Pipeline(chain, partitions, batch_size, observe=written.append)
    for number, product in enumerate(catalogue()):
        shop.feed(product.product_id, avro.codec().encode(product), topics.PRODUCTS)
        if number % every == 0:
            shop.run()
    for number, (_, key, raw) in enumerate([*before, *events()]):
        shop.feed(key, raw)
        if number % every == 0:
            shop.run()
    shop.run()
    for hours in (1, 12, 25, 40):
        shop.advance(T0 + hours * HOUR)
    return written


def test_shoppers_are_told_of_what_they_want() -> None:
    kinds = [signal.kind for signal in signals(1, 1_000, 1)]

    assert kinds.count("price_dropped") == 9 + 1
    assert kinds.count("back_in_stock") == 9 + 4


@pytest.mark.parametrize("partitions", [1, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 7, 1_000])
def test_partitions_and_batches_change_nothing(partitions: int, batch_size: int) -> None:
    assert signals(partitions, batch_size, 1_000) == signals(1, 1_000, 1)


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_record_of_the_shop_becomes_a_message_with_the_product_and_both_prices(partitions: int) -> None:
    known = event("d1", -MINUTE, "identify", "ada", email="ada@example.test", consent={"email": True})
    commands = [avro.codec().decode(wire.value) for wire in written(partitions, 7, 1, [known]) if wire.topic == topics.commands("email")]

    told = [(command.journey, command.template, command.product) for command in sorted(commands, key=at_of) if command.product is not None]
    assert told == [
        ("price_drop", "price_drop", ProductChange("shoe", 8.0, 10.0, "EUR", "Shoe")),
        ("back_in_stock", "back_in_stock", ProductChange("shoe", 8.0, 8.0, "EUR", "Shoe")),
    ]
    assert all(b"ada@" not in avro.codec().encode(command) for command in commands)


def at_of(command: Command) -> int:
    return command.at
