from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartstream.detection import DetectionStage
from cartstream.detection.exit_intent import TRIGGER_WEIGHTS, score_exit
from cartstream.detection.settings import DetectionSettings
from cartstream.events.records import Cart, ExitHint, Session, Signal
from cartstream.runtime.settings import load
from tests.detection.harness import Partition
from tests.detection.shopper import Shopper


def judged(shopper: Shopper) -> tuple[list[Signal], list[str]]:
    partition = Partition(DetectionStage(load(DetectionSettings)))
    partition.feed(*shopper.activities)
    exits = [signal for signal in partition.published("signals") if signal.kind == "exit_intent"]
    return exits, [detail for kind, detail in partition.outcomes if kind == "exit_intent"]


def test_a_pointer_that_leaves_with_a_cart_is_an_exit_intent_at_once() -> None:
    shopper = Shopper().add(1).leave(2)

    (signal,), _ = judged(shopper)

    assert signal.at == shopper.time(2)
    assert signal.episode == signal.session_id == "s-exit"
    assert signal.cart == shopper.cart
    assert signal.viewed == ["shoe", "hat"]
    assert signal.score == pytest.approx(sum(signal.contributions.values()))
    assert set(signal.contributions) == {"trigger_pointer_top_exit", "cart_not_empty", "cart_value", "page_views", "dwell", "scroll"}


def test_a_started_checkout_weighs_in() -> None:
    (signal,), _ = judged(Shopper().add(1).checkout(1.5).leave(2))

    assert signal.contributions["checkout_started"] == 0.15


WHY_NOT = {
    "already_bought": Shopper().add(1).leave(2, orders=1),
    "not_armed": Shopper().add(1).leave(2, dwell_ms=4_999),
    "below_threshold": Shopper().leave(2, "idle"),
    "already_signalled": Shopper().add(1).leave(2).leave(3),
}


@pytest.mark.parametrize("reason", WHY_NOT)
def test_every_exit_that_is_no_signal_has_a_reason(reason: str) -> None:
    exits, outcomes = judged(WHY_NOT[reason])

    assert outcomes[-1] == reason
    assert len(exits) == (1 if reason == "already_signalled" else 0)


def test_a_purchase_on_another_device_during_the_session_counts_as_bought() -> None:
    _, outcomes = judged(Shopper().add(1).order(1.5, device="laptop").leave(2))

    assert outcomes == ["already_bought"]


def test_a_first_weak_hint_does_not_use_up_the_session() -> None:
    exits, _ = judged(Shopper().leave(1, "idle").add(1.5).leave(2))

    assert len(exits) == 1


def test_without_a_measured_dwell_the_session_start_counts() -> None:
    exits, _ = judged(Shopper().add(1).leave(2, dwell_ms=None))

    assert len(exits) == 1


@settings(deadline=None)
@given(
    trigger=st.sampled_from([*TRIGGER_WEIGHTS, "unheard_of"]),
    value=st.none() | st.floats(0, 1e9),
    pages=st.integers(0, 10_000),
    dwell=st.integers(-(10**9), 10**12),
    scroll=st.none() | st.floats(-1e6, 1e6),
    checkout=st.booleans(),
)
def test_a_score_stays_within_bounds_and_is_explained(
    trigger: str, value: float | None, pages: int, dwell: int, scroll: float | None, checkout: bool
) -> None:
    cart = Cart(1, [], value) if value is not None else None
    session = Session("s", "d", 0, 0, 1, 0, pages, [])

    score, contributions = score_exit(ExitHint(trigger, None, scroll), session, cart, checkout, dwell, load(DetectionSettings))

    assert 0 <= score <= 1
    assert score == pytest.approx(min(1, sum(contributions.values())))
    assert all(part > 0 for part in contributions.values())
