"""`provider`: providers time out, refuse, ask to wait and hang up, before and after they have taken a message."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cartstream.events import avro, topics
from tests.drills.course import Course
from tests.drills.drill import Drill, Form

_SLOWER = 3.0
_HANGING = 3
_HANG_S = 1.5  # a call hangs for CARTSTREAM_SEND_TIMEOUT_S, 2 s
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
    """Every kind of failure on every channel while the traffic flows, and calls that hang while others must go on."""
    course.feed.stretch = _SLOWER
    providers, planned, meanwhile = course.surroundings.providers, 0, 0
    for round in range(form.faults):
        course.feed.wait_share(0.1 + 0.6 * round / form.faults)
        for channel in topics.CHANNELS:
            for mode, times, more in _BY_SMTP if channel == "email" else _BY_HTTP:
                providers.fail(channel, mode, times, **more)
                planned += times
        course.feed.wait_share(0.1 + 0.6 * (round + 0.6) / form.faults)
        meanwhile += _went_on_while_calls_hang(course)
        planned += _HANGING * len(topics.CHANNELS)
    course.feed.stretch = 1.0
    return {"faults": planned, "went_on_meanwhile": meanwhile}


def _went_on_while_calls_hang(course: Course) -> int:
    """How many messages got through in the time that the hanging calls take."""
    for channel in topics.CHANNELS:
        course.surroundings.providers.fail(channel, "timeout", _HANGING)
    before = len(course.surroundings.providers.messages())
    time.sleep(_HANG_S)
    return len(course.surroundings.providers.messages()) - before


def _count_ambiguous(course: Course) -> Mapping[str, Any]:
    """What the senders counted, and what they told."""
    counted = sum(course.fleet.metric(channel, "cartstream_sends_total", status="ambiguous") for channel in topics.CHANNELS)
    told = [avro.codec().decode(seen.value) for seen in course.watch.records[topics.DELIVERIES]]
    return {"ambiguous_counted": int(counted), "ambiguous_told": sum(1 for end in told if end.status == "ambiguous")}


PROVIDER = Drill(
    name="provider",
    about="providers that time out, refuse, ask to wait and hang up, before and after they have taken a message",
    disturb=_fail,
    inspect=_count_ambiguous,
    short=Form(shoppers=300, seconds=6, faults=1),
    long=Form(shoppers=2_000, seconds=60, faults=10),
    broken=lambda line: line["ambiguous_counted"] != line["ambiguous_told"] or not line["ambiguous_told"] or not line["went_on_meanwhile"],
)
