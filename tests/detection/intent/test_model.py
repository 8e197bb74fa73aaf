from __future__ import annotations

from math import exp
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cartstream.detection.intent.command import encode
from cartstream.detection.intent.model import EXPLAINED_LIMIT, SHIPPED, Axis, Value, bounded, decode_model, load_model
from cartstream.errors import ConfigError
from tests.detection.intent.models import by_hand

EXPLAINED: list[tuple[dict[str, Value], float]] = [
    ({}, 0.125),
    ({"session_minutes": 0.5}, 0.625),
    ({"session_minutes": 1.0, "trigger": "back_press"}, -0.125),
    ({"session_minutes": 5.0, "trigger": "idle"}, -0.875),
    ({"session_minutes": 5.0, "trigger": "back_press"}, 1.125),
    ({"session_minutes": 99.0, "trigger": "unheard_of"}, -0.875),
    ({"session_minutes": float("nan"), "trigger": 3.0}, 0.125),
    ({"session_minutes": "soon", "trigger": None, "colour": "red"}, 0.125),
]


@pytest.mark.parametrize(("features", "logit"), EXPLAINED)
def test_a_score_is_the_sum_of_what_each_table_says(features: dict[str, Value], logit: float) -> None:
    explained = by_hand().explain(features)

    assert explained.logit == logit == sum(explained.contributions.values())
    assert explained.probability == pytest.approx(1 / (1 + exp(-logit)))
    assert set(explained.contributions) == {"intercept", "session_minutes", "trigger & session_minutes"}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    features=st.dictionaries(
        st.sampled_from(["session_minutes", "other_events", "page_views", "product_views", "cart_items", "in_checkout"]),
        st.none() | st.floats() | st.sampled_from(["", "many"]),
    )
)
def test_the_shipped_model_explains_whatever_a_session_tells(features: dict[str, Value]) -> None:
    explained = load_model(SHIPPED).explain(features)

    kept = bounded(explained.contributions)
    assert 0 < explained.probability < 1
    assert sum(kept.values()) == pytest.approx(explained.logit, abs=1e-3)
    assert len(kept) <= EXPLAINED_LIMIT + 2


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=2), st.floats(-5, 5), max_size=40), st.integers(0, 10))
def test_contributions_are_bounded_strongest_first_and_keep_their_sum(parts: dict[str, float], limit: int) -> None:
    kept = bounded({"intercept": 1.5, **parts}, limit)

    assert len(kept) <= limit + 2
    assert sum(kept.values()) == pytest.approx(1.5 + sum(parts.values()), abs=1e-4 * (limit + 2))
    named = [abs(part) for name, part in kept.items() if name in parts]
    assert named == sorted(named, reverse=True)


def test_a_value_is_at_the_level_that_begins_at_or_below_it() -> None:
    axis = Axis("n", edges=[0.0, 10.0])

    assert [axis.level(value) for value in (None, -1.0, 0.0, 9.9, 10.0, float("inf"))] == [0, 1, 2, 2, 3, 0]
    assert axis.levels == 4


def test_what_is_written_is_what_is_read_one_line_a_table() -> None:
    raw = encode(by_hand())

    assert decode_model(raw, "there") == by_hand()
    assert sum(line.startswith(b'  {"of"') for line in raw.splitlines()) == len(by_hand().terms)


def _spoiled(**changes: Any) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(by_hand()), **changes})


WRONG: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "truncated"),
    "a field is missing": (b'{"format": "cartstream-intent-1"}', "missing required field"),
    "another format": (_spoiled(format="poem"), "format is poem"),
    "a table too short": (_spoiled(terms=[{"of": ["session_minutes"], "logits": [1.0]}]), "1 logits for 4 places"),
    "a table of nothing known": (_spoiled(terms=[{"of": ["colour"], "logits": [1.0]}]), "colour is of features that have no axis"),
    "edges out of order": (_spoiled(axes=[{"name": "session_minutes", "edges": [2.0, 1.0]}]), "axis session_minutes is out of order"),
    "a threshold out of bounds": (_spoiled(threshold=1.5), "out of bounds"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_file_that_cannot_score_is_refused_and_says_why(fault: str) -> None:
    raw, why = WRONG[fault]

    with pytest.raises(ConfigError, match=rf"intent model there: .*{why}.*cartstream detection train"):
        decode_model(raw, "there")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: No such file"):
        load_model(str(tmp_path / "none.json"))
