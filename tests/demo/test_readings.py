from __future__ import annotations

from prometheus_client import generate_latest

from cartstream.demo.people import People
from cartstream.demo.readings import Stage, stage_of
from cartstream.events.adapters.recorded import event
from cartstream.events.times import HOUR
from cartstream.runtime.metrics import SenderMetrics, StageMetrics, new_registry
from tests.demo.tales import TEN


def test_a_stage_counts_records_without_watermarks_and_dead_letters() -> None:
    registry = new_registry("sessions", "0")
    metrics = StageMetrics("sessions", registry)
    metrics.consumed("sessions", "clickstream.identified").inc(10)
    metrics.processed("sessions", "control").inc(3)
    metrics.produced("sessions", "activity").inc(5)
    metrics.produced("sessions", "clickstream.identified.dlq").inc(1)
    metrics.dlq("sessions", "unparseable").inc(1)
    metrics.lag("sessions", "0").set(2)
    metrics.lag("sessions", "1").set(4)

    assert stage_of(generate_latest(registry).decode()) == Stage(received=7, sent=5, dlq=1, lag=6)


def test_a_sender_has_sent_what_the_provider_accepted() -> None:
    registry = new_registry("email", "0")
    metrics = SenderMetrics("email", registry)
    metrics.consumed("email", "commands.email").inc(4)
    metrics.sends("email", "accepted", "").inc(3)
    metrics.sends("email", "suppressed", "purchased").inc(1)

    assert stage_of(generate_latest(registry).decode()) == Stage(received=4, sent=3)


def test_a_message_promotes_what_was_bought_if_buying_was_the_last_thing_done_with_a_cart() -> None:
    people = People(
        [
            event(TEN, "d1", "1", "track", "Product Added"),
            event(TEN + 1, "d1", "2", "identify", userId="u", traits={"email": "U@example.test"}),
            event(TEN + HOUR, "d2", "3", "track", "Order Completed", userId="u"),
            event(TEN + 2 * HOUR, "d2", "4", "track", "Product Viewed", userId="u"),
        ]
    )

    assert not people.promotes_bought("u@example.test", "cart_abandonment", TEN + HOUR - 1)
    assert people.promotes_bought("u@example.test", "cart_abandonment", TEN + 3 * HOUR)
    assert people.promotes_bought("u@example.test", "browse_abandonment", TEN + HOUR)
    assert not people.promotes_bought("u@example.test", "browse_abandonment", TEN + 3 * HOUR)
    assert not people.promotes_bought("other@example.test", "cart_abandonment", TEN + 3 * HOUR)
