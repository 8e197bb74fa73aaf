"""`kill`: service processes die without a word, again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.drills.course import Course
from tests.drills.drill import Drill, Form


def _kill(course: Course, form: Form) -> Mapping[str, Any]:
    """A random one at even intervals of the traffic; restarted at once."""
    names = list(course.plan.services)
    for number in range(form.faults):
        course.feed.wait_share((number + 1) / (form.faults + 2))
        name = course.random.choice(names)
        course.fleet.kill(name)
        course.fleet.start(name)
    return {"faults": form.faults}


KILL = Drill(
    name="kill",
    about="kill -9 of a random service process, again and again, restarted each time",
    disturb=_kill,
    short=Form(shoppers=300, seconds=6, faults=8),
    long=Form(shoppers=2_000, seconds=240, faults=100),
    static=True,
)
