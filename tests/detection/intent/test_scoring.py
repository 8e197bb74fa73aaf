"""Exits scored by a trained model."""

from __future__ import annotations

from pathlib import Path

import pytest

from cartstream.detection import DetectionStage
from cartstream.detection.exit_intent import score_exit
from cartstream.detection.intent.command import encode
from cartstream.detection.intent.live import LIVE, live_features
from cartstream.detection.intent.model import probability_of
from cartstream.detection.settings import DetectionSettings
from cartstream.detection.state import DetectionState
from cartstream.errors import ConfigError
from cartstream.events.records import Activity, Cart, ExitHint, Habits, Item, Look, Session, Signal
from cartstream.events.times import MINUTE, parse_iso
from cartstream.runtime.settings import load
from tests.detection.harness import Partition
from tests.detection.intent.models import by_hand
from tests.detection.shopper import Shopper


def judged(shopper: Shopper, model: str) -> tuple[list[Signal], list[str]]:
    partition = Partition(DetectionStage(load(DetectionSettings, detection_intent_model=model)))
    partition.feed(*shopper.activities)
    exits = [signal for signal in partition.published("signals") if signal.kind == "exit_intent"]
    return exits, [detail for kind, detail in partition.outcomes if kind == "exit_intent"]


def model_file(folder: Path, threshold: float = 0.5, trigger: str = "trigger") -> str:
    path = folder / "model.json"
    path.write_bytes(encode(by_hand(threshold, trigger)))
    return str(path)


def test_the_signal_carries_the_models_score_and_what_made_it(tmp_path: Path) -> None:
    (signal,), _ = judged(Shopper().leave(2, "back_press"), model_file(tmp_path, 0.3))

    assert signal.contributions == {"intercept": 0.125, "session_minutes": -0.25}
    assert signal.score == pytest.approx(probability_of(sum(signal.contributions.values())), abs=1e-4)


@pytest.mark.parametrize(("threshold", "outcome"), [(0.46, "exit_intent"), (0.47, "below_threshold")])
def test_the_models_own_threshold_decides(tmp_path: Path, threshold: float, outcome: str) -> None:
    exits, outcomes = judged(Shopper().add(1).leave(2), model_file(tmp_path, threshold))

    assert [signal.kind for signal in exits] + outcomes == [outcome]


def test_without_a_model_the_fixed_weights_decide() -> None:
    shopper = Shopper().add(1).leave(2)
    (signal,), _ = judged(shopper, "")

    exit_signal = shopper.activities[-1]
    assert exit_signal.exit is not None
    assert exit_signal.session is not None
    expected = score_exit(exit_signal.exit, exit_signal.session, exit_signal.cart, False, 20_000, load(DetectionSettings))
    assert (signal.score, signal.contributions) == expected


@pytest.mark.parametrize(
    ("shopper", "outcome"),
    [
        (Shopper().leave(2, orders=1), "already_bought"),
        (Shopper().leave(2, dwell_ms=4_999), "not_armed"),
        (Shopper().leave(2, "idle").leave(3, "idle"), "already_signalled"),
    ],
)
def test_what_no_exit_may_pass_holds_for_a_model_too(tmp_path: Path, shopper: Shopper, outcome: str) -> None:
    _, outcomes = judged(shopper, model_file(tmp_path, 0.0))

    assert outcomes == [outcome]


def test_the_shipped_model_scores_a_live_session() -> None:
    stage = DetectionStage(load(DetectionSettings, detection_intent_model="shipped"))
    partition = Partition(stage)
    partition.feed(*Shopper().leave(2).activities)

    (outcome,) = [found for found in partition.outcomes if "exit_intent" in found]
    assert outcome in {("signal", "exit_intent"), ("exit_intent", "below_threshold")}


def test_a_model_that_wants_what_no_live_session_tells_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"CARTSTREAM_DETECTION_INTENT_MODEL.*the model wants colour, which no live session tells"):
        load(DetectionSettings, detection_intent_model=model_file(tmp_path, trigger="colour"))


def test_a_model_that_is_not_there_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"CARTSTREAM_DETECTION_INTENT_MODEL.*nowhere\.json: No such file"):
        load(DetectionSettings, detection_intent_model="/nowhere.json")


def test_features_are_what_is_known_at_the_exit() -> None:
    at = parse_iso("2024-03-10T23:30:00+00:00")
    session = Session("s", "phone", at - 3 * MINUTE, at, 12, 0, 5, ["hat", "shoe"], product_views=4)
    cart = Cart(7, [Item("hat", 2, 10.0), Item("shoe", 1, 5.0)], 25.0, "EUR")
    habits = Habits([Look("hat", at, 2), Look("shoe", at, 1)], 3)
    hint = ExitHint("idle", 12_000, 40.0, "tablet")
    activity = Activity("x", "exit_signal", "ann", at, at, "phone", session, cart, hint, habits=habits)
    known = DetectionState("ann", began_at=at - MINUTE, checkout_at=at - MINUTE, order_mark=at - 30 * MINUTE)

    features = live_features(known, activity, hint, session)

    assert tuple(features) == LIVE
    assert list(features.values()) == ["idle", 12.0, 40.0, 3.0, 5.0, 4.0, 2.0, 1.0, 3.0, 25.0, 1.0, 3.0, 1.0, 23.0, 6.0, "tablet"]


def test_what_is_not_known_is_none_not_zero() -> None:
    session = Session("s", "phone", 0, 0, 1, 0, 1, ["hat"])
    hint = ExitHint("idle")
    features = live_features(DetectionState("ann"), Activity("x", "exit_signal", "ann", 0, 0, "phone", session, None, hint), hint, session)

    unknown = ["dwell_seconds", "scroll_pct", "looked_again", "visits_before", "device"]
    assert [name for name, value in features.items() if value is None] == unknown
    assert features["product_views"] == 1.0
