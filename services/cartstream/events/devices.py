"""What kind of device an event was made on: as its tracker says, else as the browser calls itself.

Asked of single events only, from their own bytes: nothing is kept of it. Sources: Segment's common fields (`context.device.type`,
`context.userAgentData`, `context.userAgent`), the words of GA4's `device.category` and Snowplow's `dvce_type`, and MDN on browser
detection: `Mobi` says a phone, Android without it a tablet. A browser that passes for a computer (iPadOS, desktop mode) counts as one.
"""

from __future__ import annotations

import msgspec

KINDS = ("desktop", "mobile", "tablet")

_SAID = {
    "desktop": "desktop",
    "computer": "desktop",
    "mobile": "mobile",
    "phone": "mobile",
    "smartphone": "mobile",
    "android": "mobile",
    "ios": "mobile",
    "tablet": "tablet",
    "ipad": "tablet",
}
_TABLETS = ("iPad", "Tablet")
_COMPUTERS = ("Windows NT", "Macintosh", "X11", "CrOS")


class _Device(msgspec.Struct):
    type: str | None = None


class _Hints(msgspec.Struct):
    """The browser's low-entropy client hints."""

    mobile: bool | None = None
    platform: str | None = None


class _Context(msgspec.Struct, rename="camel"):
    device: _Device | None = None
    user_agent: str | None = None
    user_agent_data: _Hints | None = None


class _Event(msgspec.Struct):
    context: _Context | None = None


_decode = msgspec.json.Decoder(_Event).decode


def device_kind(raw: bytes) -> str | None:
    """One of `KINDS`, of a native event. None: it does not say, or not so that it can be read."""
    try:
        context = _decode(raw).context
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if context is None:
        return None
    said = _SAID.get((context.device.type or "").lower()) if context.device is not None else None
    return said or _of_hints(context.user_agent_data) or _of_agent(context.user_agent or "")


def _of_hints(hints: _Hints | None) -> str | None:
    """An Android tablet says that it is not mobile."""
    if hints is None or hints.mobile is None:
        return None
    return "mobile" if hints.mobile else "tablet" if hints.platform == "Android" else "desktop"


def _of_agent(agent: str) -> str | None:
    if any(word in agent for word in _TABLETS):
        return "tablet"
    if "Mobi" in agent:
        return "mobile"
    if "Android" in agent:
        return "tablet"
    return "desktop" if any(word in agent for word in _COMPUTERS) else None
