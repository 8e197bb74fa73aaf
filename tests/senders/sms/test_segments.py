"""Segments against the published 160/153/70/67."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartstream.senders.sms.segments import is_gsm7, segments

_GSM = "abcXYZ 0123456789@£$èéÅåΔΦΓΛΩßÄÖÑÜ§¿äöñüà\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 459, 3),
        ("a" * 460, 4),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 151 + "€" + "a" * 153, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("я" * 70, 1),
        ("я" * 71, 2),
        ("я" * 134, 2),
        ("я" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("a" * 69 + "’", 1),
        ("a" * 70 + "’", 2),
        ("`", 1),
    ],
)
def test_segments_are_counted_as_published(text: str, expected: int) -> None:
    assert segments(text) == expected


def test_one_foreign_character_turns_the_whole_message_to_ucs2() -> None:
    assert is_gsm7("a" * 150)
    assert not is_gsm7("a" * 150 + "‘")
    assert (segments("a" * 150), segments("a" * 150 + "‘")) == (1, 3)


@given(st.text(alphabet=_GSM, max_size=1_000))
def test_plain_gsm_text_follows_the_formula(text: str) -> None:
    assert segments(text) == (1 if len(text) <= 160 else -(-len(text) // 153))


@given(st.text(alphabet="яжш世界", min_size=1, max_size=500))
def test_plain_ucs2_text_follows_the_formula(text: str) -> None:
    assert segments(text) == (1 if len(text) <= 70 else -(-len(text) // 67))


@given(st.text(max_size=400), st.text(max_size=50))
def test_more_text_never_costs_less(text: str, more: str) -> None:
    assert segments(text + more) >= segments(text)
