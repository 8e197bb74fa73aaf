from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartstream.events.devices import KINDS, device_kind
from cartstream.events.formats import ga4, snowplow
from cartstream.events.formats.native import Incoming, Native, Translate

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 Version/17.4 Mobile/15E148 Safari/604.1"
PIXEL = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Mobile Safari/537.36"
GALAXY_TAB = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36"
IPAD = "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Mobile/15E148 Safari/604.1"
FIREFOX_TABLET = "Mozilla/5.0 (Android 13; Tablet; rv:123.0) Gecko/123.0 Firefox/123.0"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.3 Safari/605.1.15"
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:123.0) Gecko/20100101 Firefox/123.0"


def kind_of(context: Any) -> str | None:
    return device_kind(msgspec.json.encode({"type": "track", "event": "Exit Intent", "context": context}))


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        (IPHONE, "mobile"),
        (PIXEL, "mobile"),
        (GALAXY_TAB, "tablet"),
        (IPAD, "tablet"),
        (FIREFOX_TABLET, "tablet"),
        (WINDOWS, "desktop"),
        (MAC, "desktop"),
        (LINUX, "desktop"),
        ("curl/8.6.0", None),
        ("", None),
    ],
)
def test_a_browser_is_known_by_how_it_calls_itself(agent: str, kind: str | None) -> None:
    assert kind_of({"userAgent": agent}) == kind


@pytest.mark.parametrize(
    ("context", "kind"),
    [
        ({"device": {"type": "ios"}}, "mobile"),
        ({"device": {"type": "Tablet"}}, "tablet"),
        ({"device": {"type": "desktop"}, "userAgent": PIXEL}, "desktop"),
        ({"device": {"type": "smart tv"}, "userAgent": LINUX}, "desktop"),
        ({"device": {"id": "x"}, "userAgent": PIXEL}, "mobile"),
        ({"userAgentData": {"mobile": True}, "userAgent": WINDOWS}, "mobile"),
        ({"userAgentData": {"mobile": False, "platform": "Android"}}, "tablet"),
        ({"userAgentData": {"mobile": False, "platform": "macOS"}}, "desktop"),
        ({"userAgentData": {"platform": "macOS"}, "userAgent": MAC}, "desktop"),
        ({}, None),
        (None, None),
        ("odd", None),
        ({"device": "phone"}, None),
        ({"userAgent": 7}, None),
    ],
)
def test_what_the_tracker_says_goes_before_the_browsers_word(context: Any, kind: str | None) -> None:
    assert kind_of(context) == kind


@given(st.binary(max_size=60) | st.builds(lambda text: b'{"context":' + text.encode(errors="replace") + b"}", st.text(max_size=40)))
def test_any_bytes_give_a_kind_or_none(raw: bytes) -> None:
    assert device_kind(raw) in (*KINDS, None)


@pytest.mark.parametrize(
    ("translate", "event", "kind"),
    [
        (ga4.translate, {"client_id": "c", "device": {"category": "mobile"}, "events": [{"name": "exit_intent"}]}, "mobile"),
        (ga4.translate, {"user_pseudo_id": "c", "device": {"category": "tablet"}, "event_name": "exit_intent"}, "tablet"),
        (ga4.translate, {"client_id": "c", "event": "exit_intent"}, None),
        (
            snowplow.translate,
            {"domain_userid": "d", "dvce_type": "Computer", "event": "struct", "derived_tstamp": "2024-03-13 10:00:00"},
            "desktop",
        ),
        (
            snowplow.translate,
            {"domain_userid": "d", "dvce_type": "Mobile", "event": "struct", "derived_tstamp": "2024-03-13 10:00:00"},
            "mobile",
        ),
    ],
)
def test_other_formats_bring_their_own_word_for_it(translate: Translate, event: dict[str, Any], kind: str | None) -> None:
    (native,) = translate(Incoming(msgspec.json.encode(event), at=1_710_000_000_000))

    assert isinstance(native, Native)
    assert device_kind(native.value) == kind
