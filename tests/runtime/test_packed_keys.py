from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartstream.runtime.packed_keys import packed, shortened, unpacked

_HEX = st.text("0123456789abcdefABCDEF -", min_size=24, max_size=24)
_SHORT = st.text("0123456789abcdefABCDEF -", min_size=16, max_size=16)
_HASH = st.text("0123456789abcdefABCDEF -", min_size=32, max_size=36)


_UUIDS = st.uuids().map(str)


@given(st.one_of(st.text(max_size=40), _HEX, _SHORT, _HASH, _HEX.map("c_".__add__), _UUIDS, _UUIDS.map(str.upper)))
def test_a_key_comes_back_as_it_was(key: str) -> None:
    assert unpacked(packed(key)) == key
    assert unpacked(shortened(key)) == key


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("c_0123456789abcdef01234567", 13),
        ("c_0123456789ABCDEF01234567", 26),
        ("c_0123456789abcdef0123 567", 26),
        ("0a1b2c3d-0000-4000-8000-00000000abcd", 17),
        ("0A1B2C3D-0000-4000-8000-00000000ABCD", 36),
        ("0a1b2c3d0000-4000-8000-0000-0000abcd", 36),
        ("0123456789abcdef", 9),
        ("0123456789ABCDEF", 16),
        ("0123456789abcdeg", 16),
        ("somebody", 8),
    ],
)
def test_only_customers_and_uuids_in_small_letters_are_packed(key: str, size: int) -> None:
    assert len(packed(key)) == size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("0123456789abcdef0123456789abcdef", 17),
        ("0123456789abcdef0123456789abcdeF", 32),
        ("00000000-0000-4000-8000-000000000000", 17),
        ("0a1b2c3d0000-4000-8000-0000-0000abcd", 36),
        ("c_0123456789abcdef01234567", 13),
    ],
)
def test_a_value_is_also_packed_when_it_is_a_hash_or_has_no_letters(value: str, size: int) -> None:
    assert len(shortened(value)) == size
    assert packed("0123456789abcdef0123456789abcdef") == b"0123456789abcdef0123456789abcdef", "states are found by keys as they always were"
    assert packed("00000000-0000-4000-8000-000000000000") == b"00000000-0000-4000-8000-000000000000"
