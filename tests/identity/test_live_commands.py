"""`erase` and `unlink` on real servers, in one hour of one shop: what becomes of the shoppers in all services."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from cartstream.events.times import iso
from cartstream.identity.preview import NotLinked
from tests.identity.live_shop import Shop, click, shopping
from tests.identity.people import Event, user
from tests.identity.recorded import identity, json_of
from tests.runtime.live import until
from tests.support import RealKafka

UNLINK = ("unlink", "device:device-of-carl", "email:dora@example.test")
ERASE = ("erase", user("user-ann"), "--json")


@pytest.fixture(scope="module")
def shop(kafka: RealKafka, redis_url: str) -> Iterator[Shop]:
    """Ann, Bob, Carl and Dora have filled their carts. Carl once gave Dora's address, so his cart is taken for hers."""
    shop = Shop(kafka, redis_url, f"test-{uuid4().hex[:12]}.")
    with shop.open():
        moment = shop.now
        carl, dora = (_guest(who, moment) for who in ("carl", "dora"))
        wrong = {**carl[0], "messageId": "wrong", "timestamp": iso(moment + 1), "traits": {"email": "dora@example.test"}}
        shop.put(*shopping("ann", moment), *dora, *carl, wrong, *shopping("bob", moment))
        _erase(shop)
        _unlink(shop)
        late = click("ann", moment + 1, 2, type="track", event="Product Added", properties={"product_id": "late-lamp", "price": 1.0})
        shop.put(late, *shopping("eve", shop.now))
        until(lambda: shop.sent("bob") and shop.sent("eve"), "the others' messages", 120)
        yield shop


def test_an_erased_shopper_gets_no_message_and_is_gone_from_all_services(shop: Shop) -> None:
    gone = (b"lamp-of-ann", b"late-lamp", b"user-ann", b"device-of-ann")
    until(lambda: not any(word in shop.stored() for word in gone), "nothing left of her", 60)
    assert (shop.sent("ann"), shop.sent("bob")) == (0, 1)


def test_what_was_taken_for_one_shoppers_is_nobodys_message(shop: Shop) -> None:
    assert (shop.sent("carl"), shop.sent("dora"), shop.sent("bob")) == (0, 0, 1)


def _erase(shop: Shop) -> None:
    until(lambda: b"lamp-of-ann" in shop.stored(), "a cart", 60)
    (said,) = json_of(identity(*ERASE, **shop.env))
    assert (said["partitions"], said["held"]) == (2, {"email": 1, "user_id": 1, "device": 1})
    until(lambda: identity(*ERASE, **shop.env).stdout.count('"done":true'), "the erasure", 60)


def _unlink(shop: Shop) -> None:
    until(lambda: identity(*UNLINK, "--dry-run", **shop.env).exit_code == 0, "the link", 60)
    assert identity(*UNLINK, **shop.env).exit_code == 0
    until(lambda: isinstance(identity(*UNLINK, "--dry-run", **shop.env).exception, NotLinked), "the unlink", 60)


def _guest(who: str, moment: int) -> list[Event]:
    return [{name: value for name, value in event.items() if name != "userId"} for event in shopping(who, moment)]
