"""`downtime`: services are down for hours of the shop's time while shoppers buy; what was bought meanwhile is nobody's abandonment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cartstream.events.times import HOUR, EventTime
from tests.drills.course import Course
from tests.drills.drill import Drill, Form
from tests.drills.traffic import ORDER

_AWAY = 2 * HOUR
# As in production, and with a clock that stands days ahead: a service that believed it before it has read what waits would end
# everybody's session.
_AWAKE = {"CARTSTREAM_IDLE_GRACE_MS": "2000"}


def _go_down(course: Course, form: Form) -> Mapping[str, Any]:
    """In turn all services and each of the first two alone, at even intervals."""
    away: list[Sequence[str]] = [list(course.plan.services), ["identity"], ["sessions"]]
    bought = 0
    for number in range(form.faults):
        course.feed.wait_share((number + 0.5) / (form.faults + 1))
        bought += _down(course, away[number % len(away)])
    return {"faults": form.faults, "hours_away": _AWAY // HOUR, "bought_meanwhile": bought}


def _down(course: Course, names: Sequence[str]) -> int:
    """Stop these, in the order of the chain; start them after two hours. How many bought meanwhile."""
    begun = course.feed.at
    for name in names:
        code = course.fleet.stop(name)
        assert code == 0, f"{name} ended with {code} when told to stop: {course.fleet.last_words(name)}"
    course.feed.wait_at(max(course.feed.at, begun + _AWAY))
    ended = course.feed.at
    for name in names:
        course.fleet.start(name, _AWAKE)
    course.fleet.wait_ready(names)
    return _orders(course, begun, ended)


def _orders(course: Course, begun: EventTime, ended: EventTime) -> int:
    deeds = (deed for deeds in course.plan.traffic.truth.deeds.values() for deed in deeds)
    return sum(1 for deed in deeds if deed.name == ORDER and begun < deed.at <= ended)


DOWNTIME = Drill(
    name="downtime",
    about="services down for two hours of event time while shoppers buy",
    disturb=_go_down,
    short=Form(shoppers=300, seconds=6, faults=2),
    long=Form(shoppers=2_000, seconds=120, faults=9),
    broken=lambda line: line["bought_meanwhile"] == 0,
)
