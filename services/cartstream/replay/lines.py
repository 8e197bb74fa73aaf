"""Records as lines of JSON: times in ISO 8601 UTC, keys in the order of the type's fields, floats as they are."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from cartstream.events.records import Activity
from cartstream.events.times import iso

_TIMES = frozenset({"at", "started_at", "ended_at", "last_activity", "expires_at", "allowed_at", "order_mark", "cause_at", "version"})


def line(value: Any) -> bytes:
    """One line, ending in a newline. 0 as a time is never: null."""
    return orjson.dumps(_readable(msgspec.to_builtins(value))) + b"\n"


def session_line(activity: Activity) -> bytes:
    """Of a session_ended activity."""
    session = activity.session
    assert session is not None
    return line(
        {
            "session_id": session.session_id,
            "device_id": session.device_id,
            "customer_id": activity.customer_id,
            "started_at": session.started_at,
            "ended_at": session.ended_at,
            "events": session.events,
            "orders": session.orders,
        }
    )


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _time(entry) if name in _TIMES and isinstance(entry, int) else _readable(entry) for name, entry in value.items()}
    return [_readable(entry) for entry in value] if isinstance(value, list) else value


def _time(at: int) -> str | None:
    return iso(at) if at else None
