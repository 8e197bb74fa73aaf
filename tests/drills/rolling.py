"""`rolling`: every process is replaced in good order, and services grow and shrink, while shoppers go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.drills.course import Course
from tests.drills.drill import Drill, Form

_SLOWER = 4.0
_SCALED_SHORT = ("identity", "sessions", "email")


def _roll(course: Course, form: Form) -> Mapping[str, Any]:
    """A rolling restart, then one to three to two instances of services; under load all the time."""
    course.feed.linger(_SLOWER)
    scaled = [name for name in course.plan.services if name != "insights"] if form.faults > 1 else list(_SCALED_SHORT)
    restarts = 0
    for _ in range(form.faults):
        restarts += _restart(course, course.fleet.names)
        _scale(course, scaled, [2, 3], grow=True)
        restarts += _restart(course, course.fleet.names) if form.faults > 1 else 0
        _scale(course, scaled, [3, 2] if form.faults > 1 else [3], grow=False)
    course.feed.hurry()
    changes = form.faults * len(scaled) * (4 if form.faults > 1 else 3)
    return {"faults": restarts + changes, "restarts": restarts, "scaled": len(scaled), "static": course.fleet.static}


def _restart(course: Course, names: Sequence[str]) -> int:
    """One after the other: stop, start, wait until it is ready."""
    for name in names:
        _end(course, name)
        course.fleet.start(name)
        course.fleet.wait_ready([name])
    return len(names)


def _scale(course: Course, services: Sequence[str], numbers: Sequence[int], *, grow: bool) -> None:
    for number in numbers:
        for service in services:
            name = f"{service}-{number}"
            if grow:
                course.fleet.start(name)
            else:
                _end(course, name)
                course.fleet.forget(name)
        if grow:
            course.fleet.wait_ready([f"{service}-{number}" for service in services])


def _end(course: Course, name: str) -> None:
    code = course.fleet.stop(name)
    assert code == 0, f"{name} ended with {code} when told to stop: {course.fleet.last_words(name)}"


ROLLING = tuple(
    Drill(
        name=name,
        about=f"rolling restart, and one to three to two instances, under load, with {membership} membership",
        disturb=_roll,
        short=Form(shoppers=300, seconds=6, faults=1),
        long=Form(shoppers=2_000, seconds=120, faults=2),
        static=static,
    )
    for name, membership, static in (("rolling", "dynamic", False), ("rolling-static", "static", True))
)
