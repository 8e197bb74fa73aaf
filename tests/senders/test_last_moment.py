"""What is looked at just before a message goes out."""

from __future__ import annotations

from typing import Any

import pytest

from cartstream.events.read_model import ERASED, Contact, Guard
from tests.senders.stage import Stage, command, now_ms
from tests.support.contacts import keep_contact

FULL = Guard(order_mark=0, cart_version=7, cart_empty=False)


@pytest.mark.parametrize(
    ("guard", "found", "status", "reason"),
    [
        ("purchase", Guard(order_mark=1, cart_version=7, cart_empty=False), "suppressed", "purchased"),
        ("cart", Guard(order_mark=1, cart_version=7, cart_empty=True), "suppressed", "purchased"),
        ("cart", Guard(order_mark=0, cart_version=7, cart_empty=True), "suppressed", "cart_empty"),
        ("cart", Guard(order_mark=0, cart_version=8, cart_empty=False), "suppressed", "cart_changed"),
        ("cart", FULL, "accepted", None),
        ("cart", None, "accepted", None),
        ("purchase", Guard(order_mark=0, cart_version=8, cart_empty=True), "accepted", None),
        ("none", Guard(order_mark=1, cart_version=8, cart_empty=True), "accepted", None),
    ],
)
async def test_a_purchase_or_a_changed_cart_stops_a_message(
    stage: Stage, guard: str, found: Guard | None, status: str, reason: str
) -> None:
    stage.create_topics("sms")
    stage.customer(guard=found)
    stage.order(command("sms", guard=guard))

    async with stage.sending("sms"):
        (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.reason) == (status, reason)
    assert len(stage.inbox("sms")) == (status == "accepted")


@pytest.mark.parametrize(
    ("contact", "status", "reason"),
    [
        ({"consent": {"email": True, "sms": False}}, "suppressed", "no_consent"),
        ({"consent": {}}, "suppressed", "no_consent"),
        ({"merged_into": ERASED}, "suppressed", "erased"),
        ({"guard": Guard(merged_into=ERASED)}, "suppressed", "erased"),
        ({"phone": None}, "unreachable", "no_address"),
        (None, "unreachable", "no_contact"),
    ],
)
async def test_who_cannot_or_must_not_be_reached_is_not(stage: Stage, contact: dict[str, Any] | None, status: str, reason: str) -> None:
    stage.create_topics("sms")
    if contact is not None:
        stage.customer(**contact)
    stage.order(command("sms"))

    async with stage.sending("sms"):
        (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.reason) == (status, reason)
    assert not stage.inbox("sms")


async def test_an_expired_command_is_not_sent(stage: Stage) -> None:
    stage.create_topics("sms")
    stage.customer()
    stage.order(command("sms", expires_at=now_ms() - 1))

    async with stage.sending("sms"):
        (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.reason) == ("expired", None)
    assert not stage.inbox("sms")


async def test_a_merged_customer_is_reached_at_the_survivors_address(stage: Stage) -> None:
    stage.create_topics("email")
    keep_contact(stage.redis, stage.prefix, "ada", Contact(merged_into="bob"))
    stage.customer("bob", guard=FULL)
    stage.order(command("email"))

    async with stage.sending("email"):
        await stage.deliveries()

    (message,) = stage.inbox("email")
    assert message.to == "bob@example.test"


@pytest.mark.parametrize("buyer", ["ada", "bob"])
async def test_a_purchase_on_either_side_of_a_merge_stops_a_message(stage: Stage, buyer: str) -> None:
    stage.create_topics("email")
    keep_contact(stage.redis, stage.prefix, "ada", Contact(merged_into="bob"))
    stage.customer("bob", guard=FULL)
    stage.guard(Guard(order_mark=9, cart_version=7, cart_empty=False), buyer)
    stage.order(command("email"))

    async with stage.sending("email"):
        (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.reason) == ("suppressed", "purchased")


async def test_a_circle_of_merges_ends(stage: Stage) -> None:
    stage.create_topics("email")
    for one, other in (("ada", "bob"), ("bob", "ada")):
        keep_contact(stage.redis, stage.prefix, one, Contact(merged_into=other))
    stage.order(command("email"))

    async with stage.sending("email"):
        (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.reason) == ("unreachable", "merge_chain")
