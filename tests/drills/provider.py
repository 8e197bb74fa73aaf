"""`provider`: providers time out, refuse, ask to wait and hang up, before and after they have taken a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from cartstream.events import avro, topics
from cartstream.events.records import Delivery
from tests.drills.course import Course
from tests.drills.drill import Drill, Form, Line

_SLOWER = 3.0
# Calls hang for two seconds each, many of them. Who waited for these would wait longer.
_SLOWEST_S = 5.0
T = TypeVar("T")
_BY_HTTP: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("accept_then_timeout", 2, {}),
    ("accept_then_reset", 2, {}),
    ("timeout", 2, {}),
    ("reset", 2, {}),
    ("429", 2, {"retry_after": 0.3}),
    ("500", 5, {}),
    ("503", 5, {"retry_after": 0.2}),
)
_BY_SMTP: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("accept_then_timeout", 2, {}),
    ("accept_then_reset", 2, {}),
    ("timeout", 2, {}),
    ("reset", 2, {}),
    ("421", 3, {"text": "4.3.2 try again later"}),
    ("451", 5, {"text": "4.3.0 local error"}),
    ("452", 5, {"text": "4.2.2 mailbox full"}),
)


def _fail(course: Course, form: Form) -> Mapping[str, Any]:
    """Every kind of failure on every channel, while the traffic flows."""
    course.feed.linger(_SLOWER, bound=2.0)
    planned = 0
    for round in range(form.faults):
        course.feed.wait_share(0.1 + 0.6 * round / form.faults)
        for channel in topics.CHANNELS:
            for mode, times, more in _BY_SMTP if channel == "email" else _BY_HTTP:
                course.surroundings.providers.fail(channel, mode, times, **more)
                planned += times
    course.feed.hurry()
    return {"faults": planned}


def _look_at_senders(course: Course) -> Mapping[str, Any]:
    """What was told to be ambiguous, and what was counted; and how long those took whose own calls all went well."""
    told = {end.command_id: end for end in _decoded(course, topics.DELIVERIES, Delivery)}
    ambiguous = sum(1 for end in told.values() if end.status == "ambiguous")
    counted = sum(course.fleet.metric(channel, "cartstream_sends_total", status="ambiguous") for channel in topics.CHANNELS)
    due = {
        avro.codec().decode(seen.value).command_id: seen.timestamp
        for channel in topics.CHANNELS
        for seen in course.watch.records[topics.commands(channel)]
    }
    slowest = max(
        message.received_at - due[end.command_id]
        for message in course.surroundings.providers.messages()
        if (end := told.get(message.command_id or "")) is not None and (end.status, end.attempts) == ("accepted", 1)
    )
    return {"ambiguous_told": ambiguous, "ambiguous_counted": int(counted), "slowest_of_the_others_s": round(slowest / 1000, 2)}


def _decoded(course: Course, topic: str, kind: type[T]) -> list[T]:
    return [value for seen in course.watch.records[topic] if isinstance(value := avro.codec().decode(seen.value), kind)]


def _broken(line: Line) -> bool:
    counted = line["ambiguous_told"] == line["ambiguous_counted"] > 0
    return not counted or line["slowest_of_the_others_s"] > _SLOWEST_S


PROVIDER = Drill(
    name="provider",
    about="providers that time out, refuse, ask to wait and hang up, before and after they have taken a message",
    disturb=_fail,
    inspect=_look_at_senders,
    short=Form(shoppers=300, seconds=6, faults=1),
    long=Form(shoppers=2_000, seconds=60, faults=10),
    broken=_broken,
)
