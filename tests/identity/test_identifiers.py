"""Which ids name somebody, at first sight and at length."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cartstream.events.clicks import MAX_ID
from cartstream.identity.identifiers import _BLOCKED, blocked, usable

_WORDS = st.sampled_from([*sorted(_BLOCKED), "0000-0000", "0", "-", "ann"])
_AROUND = st.text(" \t\u3000'\"0-aA", max_size=3)
_DRESSED = st.builds(lambda left, word, right: left + word + right, _AROUND, _WORDS | _WORDS.map(str.upper), _AROUND)


@given(st.text() | _DRESSED)
@example("")
@example("0" * 300)
def test_what_is_usable_at_first_sight_is_neither_blocked_nor_too_long(value: str) -> None:
    assert not usable(value) or (not blocked(value) and len(value) <= MAX_ID)


@pytest.mark.parametrize("value", ["ann", "7", "0e8400e2-9b1d-4a1c-8e21-1f0c2a4d3b10", "dev-00000010", "cafe0000"])
def test_usual_ids_are_usable_at_first_sight(value: str) -> None:
    assert usable(value)


@pytest.mark.parametrize("value", ["null", "NULL", " 'guest' ", "00000000-0000-0000-0000-000000000000", "", "-1", "[object Object]"])
def test_ids_that_broken_trackers_send_for_everybody_are_blocked(value: str) -> None:
    assert blocked(value)
    assert not usable(value)
