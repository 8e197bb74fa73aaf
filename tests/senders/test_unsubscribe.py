"""Unsubscribe tokens: ours can be read, others cannot be made."""

from __future__ import annotations

import pytest

from cartstream.errors import Refused
from cartstream.senders.unsubscribe import Unsubscribe


def test_a_token_tells_customer_and_channel_to_whoever_has_the_key() -> None:
    token = Unsubscribe("k" * 32).token("ada", "email")

    assert Unsubscribe("k" * 32).read(token) == ("ada", "email")


@pytest.mark.parametrize("change", [lambda t: t[:-2] + "AA", lambda t: "A" + t[1:], lambda t: "", lambda t: "é", lambda t: t + "!"])
def test_a_changed_token_is_refused(change: object) -> None:
    token = Unsubscribe("k" * 32).token("ada", "email")
    with pytest.raises(Refused, match="bad_token"):
        Unsubscribe("k" * 32).read(change(token))  # type: ignore[operator]


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(Refused, match="bad_token"):
        Unsubscribe("k" * 32).read(Unsubscribe("j" * 32).token("ada", "email"))
