"""From a shopper's clicks and the shop's products to messages at the providers, through every service, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cartstream.detection.intent.command import encode
from cartstream.detection.intent.live import live_features
from cartstream.detection.intent.model import Axis, IntentModel, Term, load_model
from cartstream.detection.state import DetectionState
from cartstream.events.records import ProductChange
from cartstream.events.times import HOUR
from tests.pipeline.live_shop import LiveShop, live_shop
from tests.runtime.live import until
from tests.support import RealKafka

PHONE = {"userAgent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Mobile Safari/537.36"}
WAIT_SECONDS = 90.0
pytestmark = pytest.mark.timeout(600)


def with_device() -> IntentModel:
    """The package's model, and on a phone 0.75 more: so its score shows whether the device is known."""
    shipped = load_model("shipped")
    device = Axis("device", values=["desktop", "mobile", "tablet"])
    return replace(shipped, axes=[*shipped.axes, device], terms=[*shipped.terms, Term(["device"], [0.0, -0.5, 0.75, 0.0])])


@pytest.fixture(scope="module")
def shop(kafka: RealKafka, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveShop]:
    model: Path = tmp_path_factory.mktemp("model") / "model.json"
    model.write_bytes(encode(with_device()))
    with live_shop(kafka, redis_url, f"test-{uuid4().hex[:12]}.", watch_products="1", detection_intent_model=str(model)) as shop:
        shop.happens(
            "identify",
            userId="ada",
            traits={"email": "ada@example.test", "phone": "+12025550123", "consent": {"email": True, "sms": True}},
        )
        shop.says(shop.clock.now() - HOUR, product_id="teapot", price=10.0, name="Teapot")
        for _ in range(8):
            shop.happens("page")
        shop.happens("Product Viewed", properties={"product_id": "teapot", "price": 10.0, "currency": "EUR"})
        shop.happens("Product Added", properties={"product_id": "teapot", "price": 10.0, "currency": "EUR", "name": "Teapot"})
        yield shop


def test_a_sessions_hint_is_scored_by_the_model_and_becomes_a_message(shop: LiveShop) -> None:
    shop.happens("Exit Intent", properties={"trigger": "pointer_top_exit", "dwell_ms": 20_000}, context=PHONE)
    (message,) = until(lambda: shop.messages("exit_intent"), "the nudge", WAIT_SECONDS)

    (signal,), (activity,) = shop.signals("exit_intent"), shop.exits()
    assert activity.exit is not None
    assert activity.session is not None
    assert signal.score is not None
    model, known = with_device(), DetectionState(activity.customer_id)
    explained = model.explain(live_features(known, activity, activity.exit, activity.session))
    assert activity.exit.device == "mobile"
    assert signal.score == pytest.approx(explained.probability, abs=1e-4)
    assert signal.score >= model.threshold
    assert signal.contributions["device"] == 0.75
    assert 1 / (1 + exp(-sum(signal.contributions.values()))) == pytest.approx(signal.score, abs=2e-3)
    assert (message["channel"], message["to"], message["step"]) == ("sms", "+12025550123", "nudge")


def test_a_record_of_the_topic_products_becomes_a_mail_with_the_old_and_the_new_price(shop: LiveShop) -> None:
    dropped_at = shop.clock.now()
    shop.says(dropped_at, product_id="teapot", price=8.0)
    (message,) = until(lambda: shop.messages("price_drop"), "the price drop", WAIT_SECONDS)

    (signal,) = shop.signals("price_dropped")
    assert (signal.at, signal.product) == (dropped_at, ProductChange("teapot", 8.0, 10.0, "EUR", "Teapot"))
    assert (message["channel"], message["to"], message["step"]) == ("email", "ada@example.test", "alert")
    assert message["subject"] == "Teapot costs less now"
    assert "Was €10.00, now €8.00" in shop.mail(message["n"])
