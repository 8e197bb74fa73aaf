"""Products and detection as processes on real servers, of which one is killed on the way."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from redis import Redis

from cartstream.events import avro, topics
from cartstream.events.placement import partition_of
from cartstream.events.records import Activity, Cart, Item, Product, Signal, Watermark
from cartstream.events.times import DAY, HOUR, MINUTE
from tests.runtime.live import until
from tests.runtime.services import service
from tests.runtime.test_services import PARTITIONS, Shop
from tests.support import RealKafka

T0 = 1_710_000_000_000
SHOPPERS = [f"shopper{number}" for number in range(6)]


@pytest.fixture
def shop(kafka: RealKafka, redis: Redis, redis_url: str, topic_prefix: str) -> Shop:
    return Shop(kafka, redis_url, topic_prefix)


def tell(shop: Shop, topic: str, key: str, value: msgspec.Struct) -> None:
    shop.send(avro.codec().encode(value), key=key.encode(), topic=shop.prefix + topic, partition=partition_of(key, PARTITIONS))


def time_passes(shop: Shop, at: int) -> None:
    mark = avro.codec().encode(Watermark("sessions:0", 1, at))
    for partition in range(PARTITIONS):
        shop.send(mark, key=None, topic=shop.prefix + topics.ACTIVITY, partition=partition)


def said(shop: Shop) -> Counter[tuple[str, str, int]]:
    found = [avro.codec().decode(message.value() or b"") for message in shop.messages(shop.prefix + topics.SIGNALS)]
    return Counter((signal.kind, signal.customer_id, signal.at) for signal in found if isinstance(signal, Signal))


def test_each_shopper_is_told_of_each_price_once_also_when_the_service_is_killed_between(shop: Shop) -> None:
    drops = [Product("shoe", T0 + 2 * HOUR, 8.0), Product("shoe", T0 + 2 * HOUR + DAY, 6.0)]
    expected = Counter(("price_dropped", shopper, drop.at) for shopper in SHOPPERS for drop in drops)
    with service("detection", **shop.environment, watch_products="true") as detection:
        tell(shop, topics.PRODUCTS, "shoe", Product("shoe", T0 - HOUR, 10.0, "EUR", True))
        for shopper in SHOPPERS:
            cart = Cart(T0, [Item("shoe", 1, 10.0)], 10.0, "EUR")
            tell(shop, topics.ACTIVITY, shopper, Activity(f"a-{shopper}", "cart_updated", shopper, T0, T0, "phone", cart=cart))
        time_passes(shop, T0 + MINUTE)
        with service("products", **shop.environment) as products:
            tell(shop, topics.PRODUCTS, "shoe", drops[0])
            time_passes(shop, T0 + 3 * HOUR)
            until(lambda: sum(kind == "price_dropped" for kind, _, _ in said(shop).elements()) == len(SHOPPERS), "the first price")
            products.process.kill()
        with service("products", **shop.environment) as again:
            tell(shop, topics.PRODUCTS, "shoe", drops[1])
            time_passes(shop, T0 + 3 * HOUR + DAY)
            until(lambda: sum(kind == "price_dropped" for kind, _, _ in said(shop).elements()) == 2 * len(SHOPPERS), "the second")
            assert again.stop() == 0
        assert detection.stop() == 0

    assert Counter({key: count for key, count in said(shop).items() if key[0] == "price_dropped"}) == expected
