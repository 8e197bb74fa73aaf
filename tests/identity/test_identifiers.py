"""Which ids name somebody, at first sight and at length."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cartstream.events.clicks import MAX_ID
from cartstream.identity.identifiers import ZEROS, BlockedValues
from cartstream.identity.rules import default_rules

_WORDS = st.sampled_from(["anonymous", "guest", "null", "None", "[object Object]", "-1", "n/a", "0000-0000", "0", "-", "ann", "qa-7"])
_AROUND = st.text(" \t\u3000'\"0-aA", max_size=3)
_DRESSED = st.builds(lambda left, word, right: left + word + right, _AROUND, _WORDS | _WORDS.map(str.upper), _AROUND)
_LISTS = [
    default_rules().values,
    BlockedValues([], []),
    BlockedValues(["ANN", " 'guest' "], ["qa-.*", "[A-Z]"]),
    BlockedValues([], [ZEROS, "(?-i:QA)-7", "\\s*"]),
]


@pytest.mark.parametrize("values", _LISTS)
@given(value=st.text() | _DRESSED)
@example(value="")
@example(value="0" * 300)
def test_what_is_usable_at_first_sight_is_neither_blocked_nor_too_long(values: BlockedValues, value: str) -> None:
    assert not values.usable(value) or (not values.blocked(value) and len(value) <= MAX_ID)


@pytest.mark.parametrize("value", ["ann", "7", "0e8400e2-9b1d-4a1c-8e21-1f0c2a4d3b10", "dev-00000010", "cafe0000"])
def test_usual_ids_are_usable_at_first_sight(value: str) -> None:
    assert default_rules().values.usable(value)


@pytest.mark.parametrize("value", ["null", "NULL", " 'guest' ", "00000000-0000-0000-0000-000000000000", "", "-1", "[object Object]"])
def test_ids_that_broken_trackers_send_for_everybody_are_blocked(value: str) -> None:
    assert default_rules().values.blocked(value)
    assert not default_rules().values.usable(value)


def test_values_and_patterns_of_ones_own_are_compared_without_quotes_and_case() -> None:
    values = BlockedValues(["'House Account'"], ["qa-[0-9]+"])
    assert [values.blocked(value) for value in ("house account", '"HOUSE ACCOUNT"', "QA-17", "qa-17b", "null", "000")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
