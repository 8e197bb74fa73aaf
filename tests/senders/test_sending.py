"""Every channel end to end: a command in, a message at the provider, a delivery out."""

from __future__ import annotations

import email
import email.policy
import json

import pytest

from cartstream.events.read_model import Guard
from tests.senders.stage import Stage, command, until


@pytest.mark.parametrize("channel", ["email", "sms", "push"])
async def test_a_command_becomes_one_message_and_one_delivery(stage: Stage, channel: str) -> None:
    stage.create_topics(channel)
    stage.customer(guard=Guard(order_mark=0, cart_version=7, cart_empty=False))
    stage.order(command(channel))

    async with stage.sending(channel):
        (delivery,) = await stage.deliveries()

    (message,) = stage.inbox(channel)
    assert (message.command_id, message.journey, message.step) == (f"{channel}-1", "cart_abandonment", "reminder")
    assert (delivery.status, delivery.reason, delivery.attempts) == ("accepted", None, 1)
    assert sum(stage.committed(channel).values()) == 1


async def test_a_command_that_comes_twice_is_sent_once_and_its_delivery_told_twice(stage: Stage) -> None:
    stage.create_topics("sms")
    stage.customer()
    stage.order(command("sms"), command("sms"))

    async with stage.sending("sms"):
        first, second = await stage.deliveries(2)

    assert first == second
    assert len(stage.inbox("sms")) == 1


async def test_a_mail_holds_what_the_command_says(stage: Stage) -> None:
    stage.create_topics("email")
    stage.customer()
    stage.order(command("email", offer="SAVE10", template="cart_offer"))

    async with stage.sending("email"):
        await stage.deliveries()

    (message,) = stage.inbox("email")
    raw = stage.fakes.inbox.content(message.n)
    mail = email.message_from_bytes(raw or b"", policy=email.policy.default)
    assert mail["To"] == "ada@example.test"
    assert mail["Message-ID"] == "<email-1@example.test>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    for part in (text.get_content(), html.get_content()):
        assert "SAVE10" in part
        assert "€25.00" in part
        assert "Teapot" in part


async def test_a_push_opens_in_the_browser(stage: Stage) -> None:
    stage.create_topics("push")
    stage.customer()
    stage.order(command("push"))

    async with stage.sending("push"):
        await stage.deliveries()

    (message,) = stage.inbox("push")
    payload = json.loads(stage.fakes.inbox.content(message.n) or b"")
    assert payload["title"] == "Your cart is waiting"
    assert "Teapot" in payload["body"]
    assert len(payload["tag"]) == 32


async def test_thousands_of_commands_are_each_sent_once(stage: Stage) -> None:
    stage.create_topics("push")
    for n in range(20):
        stage.customer(f"c{n}")
    orders = [command("push", n, f"c{n % 20}") for n in range(1_000)]
    stage.order(*orders)

    async with stage.sending("push", send_timeout_s=15):
        deliveries = await stage.deliveries(1_000)

    assert {delivery.command_id for delivery in deliveries} == {order.command_id for order in orders}
    assert len(stage.inbox("push")) == 1_000
    assert sum(stage.committed("push").values()) == 1_000


async def test_a_second_process_takes_over_without_sending_again(stage: Stage) -> None:
    stage.create_topics("sms")
    for n in range(40):
        stage.customer(f"c{n}")
    stage.order(*(command("sms", n, f"c{n}") for n in range(40)))

    async with stage.sending("sms"):
        await until(lambda: len(stage.inbox("sms")) >= 10)
        async with stage.sending("sms"):
            stage.order(*(command("sms", n, f"c{n % 40}") for n in range(40, 80)))
            await until(lambda: len(stage.inbox("sms")) >= 80)
            deliveries = await stage.deliveries(80)

    assert len({delivery.command_id for delivery in deliveries}) == 80
    assert all(delivery.status == "accepted" for delivery in deliveries)
    assert len(stage.inbox("sms")) == 80
