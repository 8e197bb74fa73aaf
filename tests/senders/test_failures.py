"""Providers that fail, answer late, or not at all."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from cartstream.events import read_model, topics
from cartstream.fakes.failures import Failure
from tests.senders.stage import Stage, command, now_ms, until
from tests.support import RealKafka


@pytest.mark.parametrize(("channel", "status"), [("email", "451"), ("sms", "503"), ("push", "503")])
async def test_a_transient_failure_is_tried_again(stage: Stage, channel: str, status: str) -> None:
    stage.create_topics(channel)
    stage.customer()
    stage.fakes.failures.plan(Failure(channel, status, times=2))
    stage.order(command(channel))

    async with stage.sending(channel):
        (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.attempts) == ("accepted", 3)
    assert len(stage.inbox(channel)) == 1


@pytest.mark.parametrize("channel", ["email", "sms", "push"])
async def test_a_connection_that_breaks_while_connecting_or_idle_is_replaced(stage: Stage, channel: str) -> None:
    stage.create_topics(channel)
    stage.customer()
    stage.order(command(channel))

    async with stage.sending(channel, smtp_messages=1):
        await stage.deliveries(1)
        stage.order(command(channel, 2))
        deliveries = await stage.deliveries(2)

    assert [delivery.status for delivery in deliveries] == ["accepted", "accepted"]


async def test_retries_end_when_the_command_expires(stage: Stage) -> None:
    stage.create_topics("sms")
    stage.customer()
    stage.fakes.failures.plan(Failure("sms", "503", times=0))
    stage.order(command("sms", expires_at=now_ms() + 1_500))

    async with stage.sending("sms"):
        (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.reason) == ("expired", "transient")
    assert delivery.attempts > 1


async def test_retry_after_holds_the_whole_sender(stage: Stage) -> None:
    stage.create_topics("push")
    stage.customer("ada")
    stage.customer("bob")
    stage.fakes.failures.plan(Failure("push", "429", retry_after=1.5, to="ada"))

    async with stage.sending("push"):
        stage.order(command("push", 1, "ada"))
        await until(lambda: stage.registry.get_sample_value("cartstream_send_retries_total", {"channel": "push", "reason": "throttled"}))
        throttled_at = time.monotonic()
        stage.order(command("push", 2, "bob"))
        await until(lambda: len(stage.inbox("push")) == 2)
        waited = time.monotonic() - throttled_at
        deliveries = await stage.deliveries(2)

    assert waited > 1.2
    assert {delivery.status for delivery in deliveries} == {"accepted"}


async def test_retry_after_holds_every_sender_of_the_channel(stage: Stage) -> None:
    stage.create_topics("push")
    stage.customer("ada")
    stage.customer("bob")
    stage.fakes.failures.plan(Failure("push", "429", retry_after=3, to="ada"))

    async with stage.sending("push"), stage.sending("push"):
        stage.order(command("push", 1, "ada"), partition=0)
        await until(lambda: stage.redis.exists(f"{stage.prefix}{{limit:push}}:pause"))
        throttled_at = time.monotonic()
        stage.order(command("push", 2, "bob"), partition=0)
        stage.order(command("push", 3, "bob"), partition=1)
        await until(lambda: stage.inbox("push"))
        waited = time.monotonic() - throttled_at
        await until(lambda: len(stage.inbox("push")) == 3)

    assert waited > 2


async def test_an_sms_whose_answer_is_lost_is_never_sent_again(stage: Stage) -> None:
    stage.create_topics("sms")
    stage.customer()
    stage.fakes.failures.plan(Failure("sms", "accept_then_timeout"))
    stage.order(command("sms"))

    async with stage.sending("sms"):
        (delivery,) = await stage.deliveries()
        stage.order(command("sms"))
        (_, again) = await stage.deliveries(2)

    assert (delivery.status, delivery.reason) == ("ambiguous", "no_answer")
    assert again == delivery
    assert len(stage.inbox("sms")) == 1


async def test_a_mail_whose_answer_is_lost_is_not_sent_again_unless_the_relay_takes_a_key(stage: Stage) -> None:
    stage.create_topics("email")
    stage.customer()
    stage.fakes.failures.plan(Failure("email", "accept_then_reset", times=2))
    stage.order(command("email", 1))

    async with stage.sending("email"):
        await stage.deliveries(1)
    async with stage.sending("email", email_idempotency_header="Idempotency-Key"):
        stage.order(command("email", 2))
        first, second = await stage.deliveries(2)

    assert (first.status, second.status, second.attempts) == ("ambiguous", "accepted", 2)
    assert [message.command_id for message in stage.inbox("email")] == ["email-1", "email-2", "email-2"]


async def test_a_push_whose_answer_is_lost_is_sent_again_under_the_same_topic(stage: Stage) -> None:
    stage.create_topics("push")
    stage.customer()
    stage.fakes.failures.plan(Failure("push", "accept_then_reset"))
    stage.order(command("push"))

    async with stage.sending("push"):
        (delivery,) = await stage.deliveries()

    assert (delivery.status, delivery.attempts) == ("accepted", 2)
    first, second = stage.inbox("push")
    assert stage.fakes.inbox.content(first.n) == stage.fakes.inbox.content(second.n)


@pytest.mark.parametrize(
    ("channel", "failure", "reason"),
    [
        ("push", Failure("push", "410"), "recipient_dead"),
        ("email", Failure("email", "550", text="5.1.1 no such user"), "recipient_dead"),
        ("sms", Failure("sms", "400", code=21610), "opted_out"),
    ],
)
async def test_a_dead_recipient_is_told_to_the_journeys_and_remembered(stage: Stage, channel: str, failure: Failure, reason: str) -> None:
    stage.create_topics(channel)
    stage.customer()
    stage.fakes.failures.plan(failure)
    stage.order(command(channel, 1))

    async with stage.sending(channel):
        (failed,) = await stage.values(topics.SIGNALS, 1)
        stage.order(command(channel, 2))
        first, second = await stage.deliveries(2)

    assert (failed.customer_id, failed.channel, failed.reason) == ("ada", channel, reason)
    assert (first.status, first.reason) == ("failed", reason)
    assert (second.status, second.reason) == ("unreachable", reason)
    assert not stage.inbox(channel)


async def test_a_new_address_of_a_dead_recipient_is_written_to(stage: Stage) -> None:
    stage.create_topics("email")
    stage.customer()
    stage.fakes.failures.plan(Failure("email", "550", text="5.1.1 no such user"))
    stage.order(command("email", 1))

    async with stage.sending("email"):
        await stage.deliveries(1)
        stage.customer(email=stage.sealed("email", "ada.new@example.test"))
        stage.order(command("email", 2))
        _, second = await stage.deliveries(2)

    assert second.status == "accepted"


async def test_a_slow_recipient_blocks_nobody_and_holds_the_offset(stage: Stage) -> None:
    stage.create_topics("push")
    stage.customer("ada")
    stage.customer("bob")
    stage.fakes.failures.plan(Failure("push", "503", times=0, to="ada"))
    stage.order(command("push", 0, "bob"), partition=0)
    stage.order(command("push", 1, "ada"), partition=0)
    stage.order(*(command("push", n, "bob") for n in range(2, 50)), partition=0)

    async with stage.sending("push", send_backoff_s=0.2):
        await stage.deliveries(49)
        await until(lambda: stage.committed("push") == {0: 1})
        stage.fakes.failures.clear()
        await stage.deliveries(50)
        await until(lambda: stage.committed("push") == {0: 50})


async def test_a_wrong_account_stops_the_sender_loudly_until_it_is_put_right(stage: Stage) -> None:
    stage.create_topics("sms")
    stage.customer()
    stage.fakes.failures.plan(Failure("sms", "401", times=0, code=20003))
    stage.order(*(command("sms", n) for n in range(5)))

    async with stage.sending("sms", send_halt_retry_s=0.5):
        await until(lambda: "provider" in (stage.health.readiness() or ""))
        assert not stage.inbox("sms")
        stage.fakes.failures.clear()
        deliveries = await stage.deliveries(5)
        await until(lambda: stage.health.readiness() is None)

    assert {delivery.status for delivery in deliveries} == {"accepted"}


@pytest.mark.parametrize("channel", ["email", "sms", "push"])
async def test_a_command_without_a_template_goes_to_the_dead_letters(stage: Stage, channel: str) -> None:
    stage.create_topics(channel)
    stage.customer()
    stage.order(command(channel, template="no_such"))

    async with stage.sending(channel):
        (delivery,) = await stage.deliveries()
        _, headers = await stage.dead_letter(topics.commands(channel))

    assert (delivery.status, delivery.reason) == ("failed", "no_template")
    assert headers["cs-reason"] == "no_template"


async def test_poison_goes_to_the_dead_letters_as_it_came_and_the_partition_goes_on(stage: Stage) -> None:
    stage.create_topics("sms")
    stage.customer()
    stage.put("commands.sms", b"\x00\x00poison", b"some key", partition=1)
    stage.order(command("sms"), partition=1)

    async with stage.sending("sms"):
        await stage.deliveries(1)
        dead, headers = await stage.dead_letter("commands.sms")

    assert (dead.key(), dead.value()) == (b"some key", b"\x00\x00poison")
    assert headers.pop("cs-timestamp").isdigit()
    assert "no schema id" in headers.pop("cs-detail")
    assert headers == {
        "cs-reason": "bad_header",
        "cs-topic": stage.prefix + "commands.sms",
        "cs-partition": "1",
        "cs-offset": "0",
        "cs-service": "sms",
    }
    assert stage.committed("sms") == {1: 2}


async def test_the_rate_limit_holds_over_two_senders(stage: Stage) -> None:
    stage.create_topics("push")
    stage.customer()
    stage.order(*(command("push", n) for n in range(60)))

    async with stage.sending("push", push_rate=20), stage.sending("push", push_rate=20):
        started = time.monotonic()
        await asyncio.gather(stage.deliveries(60), until(lambda: len(stage.inbox("push")) == 60))

    # A burst of 20, then 20 a second.
    assert time.monotonic() - started > 1.8


async def test_an_unreadable_contact_stops_one_command_and_no_other(stage: Stage) -> None:
    stage.create_topics("sms")
    stage.customer("bob")
    stage.redis.set(stage.prefix + read_model.node_key("ada"), b"\xc1 not msgpack")
    stage.order(command("sms", 1, "ada"), command("sms", 2, "bob"))

    async with stage.sending("sms"):
        by_customer = {delivery.customer_id: delivery for delivery in await stage.deliveries(2)}

    assert (by_customer["ada"].status, by_customer["ada"].reason) == ("failed", "unreadable_contact")
    assert by_customer["bob"].status == "accepted"


async def test_a_command_of_two_megabytes_of_rubbish_goes_to_the_dead_letters_whole(stage: Stage, kafka: RealKafka) -> None:
    kafka.create_topics(stage.topics("sms"), {"max.message.bytes": "3000000"})
    stage.customer()
    rubbish = os.urandom(2_000_000)
    stage.put("commands.sms", rubbish, partition=0)
    stage.order(command("sms"), partition=0)

    async with stage.sending("sms"):
        await stage.deliveries(1)
        dead, _ = await stage.dead_letter("commands.sms")

    assert dead.value() == rubbish
