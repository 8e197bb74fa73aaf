"""The reference, on stories short enough to work out by hand; and cartstream's and the Python peers' rules against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson
import pytest

from cartstream.events import avro, topics
from cartstream.events.records import Activity, Watermark
from cartstream.events.times import DAY, HOUR, MINUTE, EventTime, iso, parse_iso
from cartstream.replay.driver import Pipeline
from cartstream.runtime.settings import load
from cartstream.runtime.store import Wire
from cartstream.sessions.settings import SessionsSettings
from cartstream.sessions.stage import SessionsStage
from tests.bench.peers.facts import Basket, Fact, Visit, from_activity, from_peer
from tests.bench.peers.python.job import Shopper, apply, decode, pack, unpack
from tests.bench.peers.reference import Referee, Reference
from tests.bench.peers.verdict import compare
from tests.bench.traffic import clicks

START = 1_764_000_000_000
DEVICE = "dev-1"
KINDS = {"session_started", "session_ended", "cart_updated", "cart_emptied", "checkout_started", "exit_signal", "order_placed"}
SHOPS = [(450, 1, 30), (1_000, 1, 8), (600, 2, 2)]


def click(what: str, at: EventTime, product: str | None = None, quantity: int | None = None) -> bytes:
    event = {"messageId": f"m{at}", "anonymousId": DEVICE, "timestamp": iso(START + at)}
    if what == "page":
        return orjson.dumps(event | {"type": "page"})
    properties = {"product_id": product, "price": 2.5, "quantity": quantity, "currency": "EUR"}
    said = {name: value for name, value in properties.items() if value is not None}
    return orjson.dumps(event | {"type": "track", "event": what, "properties": said})


def told_by_the_python_peers(clicks: Iterable[tuple[str, bytes]]) -> list[Fact]:
    shoppers, told = dict[str, bytes](), list[Fact]()
    for customer, value in clicks:
        shopper = unpack(shoppers[customer]) if customer in shoppers else Shopper()
        told += [from_peer(customer.encode(), fact) for fact in apply(shopper, customer, decode(value))]
        shoppers[customer] = pack(shopper)
    return told


def reference(*story: bytes) -> Reference:
    """What a story of one customer leads to; the Python peers agree."""
    referee = Referee()
    for value in story:
        referee.see(b"c-1", value)
    found = referee.finish()
    verdict = compare(told_by_the_python_peers(("c-1", value) for value in story), found.at_the_next_click())
    assert verdict.correct, verdict
    return found


def kinds(found: Reference) -> list[str]:
    return [kind for kind, _ in found.told]


def test_exactly_the_gap_stays_one_session_and_a_millisecond_more_is_another() -> None:
    assert kinds(reference(click("page", 0), click("page", 30 * MINUTE))) == ["session_started"]
    found = reference(click("page", 0), click("page", 30 * MINUTE + 1))
    assert kinds(found) == ["session_started", "session_started"]
    ended = Fact("session_ended", f"{DEVICE}:{START}", "c-1", DEVICE, START + 30 * MINUTE, Visit(START, START, 1, 0, 1, ()), None)
    assert found.endings[ended.name].digest == hash(ended)


def test_no_session_lasts_longer_than_a_day() -> None:
    story = [click("page", 20 * MINUTE * number) for number in range(73)]
    assert kinds(reference(*story[:-1])) == ["session_started"]
    assert kinds(reference(*story)) == ["session_started", "session_started"]
    assert [ending.at for ending in reference(*story).endings.values()] == [START + DAY, START + DAY + 30 * MINUTE]


def test_only_what_changes_the_cart_is_told_of_it() -> None:
    found = reference(
        click("Product Removed", 0, "a"),
        click("Product Added", 1, "a", 2),
        click("Product Removed", 2, "a", 1),
        click("Product Viewed", 3, "a"),
        click("Product Removed", 4, "a", 1),
    )
    assert kinds(found) == ["session_started", "cart_updated", "cart_updated", "cart_emptied"]


def test_a_checkout_is_told_once_until_an_order_or_an_empty_cart() -> None:
    found = reference(
        click("Checkout Started", 0),
        click("Checkout Started", 1),
        click("Order Completed", 2),
        click("Checkout Started", 3),
        click("Product Added", 4, "a"),
        click("Product Removed", 5, "a"),
        click("Checkout Started", 6),
    )
    assert kinds(found).count("checkout_started") == 3


def test_an_order_takes_its_product_and_one_without_takes_all() -> None:
    filled = [click("Product Added", 0, "a", 1), click("Product Added", 1, "b", 3)]
    of_one = Fact(
        "order_placed", "m2", "c-1", DEVICE, START + 2, None,
        Basket(START + 2, (("b", 3, 250),), 750, "EUR"), None, ("a",),
    )  # fmt: skip
    assert reference(*filled, click("Order Completed", 2, "a")).told[of_one.name] == hash(of_one)
    of_all = of_one._replace(basket=None, bought=())
    assert reference(*filled, click("Order Completed", 2)).told[of_all.name] == hash(of_all)


def test_a_session_remembers_the_last_twenty_products_looked_at() -> None:
    story = [click("Product Viewed", at, f"sku-{at}") for at in range(25)]
    story.append(click("Product Viewed", 25, "sku-7"))
    viewed = tuple(f"sku-{number}" for number in (5, 6, *range(8, 25), 7))
    last = Fact("exit_signal", "m26", "c-1", DEVICE, START + 26, Visit(START, START + 26, 27, 0, 0, viewed), None, "unknown")
    assert reference(*story, click("Exit Intent", 26)).told[last.name] == hash(last)


def test_who_waits_for_the_next_click_need_not_end_the_last_session_and_who_has_timers_must() -> None:
    found = reference(click("page", 0), click("page", HOUR))
    first, last = (("session_ended", f"{DEVICE}:{START + at}") for at in (0, HOUR))
    assert first in found.at_the_next_click().required
    assert last in found.at_the_next_click().allowed
    assert last in found.by_watermark(START + HOUR + 30 * MINUTE).required
    assert last in found.by_watermark(START + HOUR + 30 * MINUTE - 1).allowed


def traffic(customers: int, per_second: int, products: int) -> Iterator[tuple[str, bytes]]:
    """Customers are their devices."""
    return clicks(6_000, customers, START, per_second, products=products)


@pytest.mark.parametrize(("customers", "per_second", "products"), SHOPS)
def test_the_python_peers_tell_what_the_reference_says(customers: int, per_second: int, products: int) -> None:
    referee = Referee()
    for customer, value in traffic(customers, per_second, products):
        referee.see(customer.encode(), value)
    told = told_by_the_python_peers(traffic(customers, per_second, products))
    verdict = compare(told, referee.finish().at_the_next_click())
    assert verdict.correct, verdict
    assert {fact.kind for fact in told} == KINDS


@pytest.mark.parametrize(("customers", "per_second", "products"), SHOPS)
def test_cartstreams_sessions_tell_what_the_reference_says(customers: int, per_second: int, products: int) -> None:
    referee, told = Referee(), list[Fact]()

    def hear(output: Wire) -> None:
        if output.topic == topics.ACTIVITY and isinstance(record := avro.codec().decode(output.value), Activity):
            told.append(from_activity(record))

    pipeline = Pipeline([SessionsStage(load(SessionsSettings))], batch_size=500, observe=hear)
    watermark = START
    for number, (customer, value) in enumerate(traffic(customers, per_second, products)):
        referee.see(customer.encode(), value)
        pipeline.feed(customer, value, topics.IDENTIFIED)
        if number % 100 == 0:
            watermark = parse_iso(orjson.loads(value)["timestamp"]) - 1
            pipeline.feed("", avro.codec().encode(Watermark("identity:0", 1, watermark)), topics.IDENTIFIED)
    pipeline.run()
    verdict = compare(told, referee.finish().by_watermark(watermark))
    assert verdict.correct, verdict
    assert {fact.kind for fact in told} == KINDS
