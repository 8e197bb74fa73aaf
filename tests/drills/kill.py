"""`kill`: service processes die without a word, at named points of the commit protocol and at random."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.drills.course import Course
from tests.drills.crash_points import RECOVERY_POINTS, points_of
from tests.drills.drill import Drill, Form

_STAGES = ("identity", "sessions", "detection", "journeys")
_SERVICES = (*_STAGES, "email", "sms", "push")
_REACH_SECONDS = 60.0
_SLOWER = 4.0
_LOOK_S = 0.01


@dataclass(slots=True)
class _Crashes:
    """`reached` counts the points at which a process died, `missed` names those that one did not come to."""

    reached: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)


def _kill(course: Course, form: Form) -> Mapping[str, Any]:
    """Crashes at named points while the traffic flows slowly, each service by itself; then kills at even intervals of the rest."""
    crashes = _Crashes()
    course.feed.linger(_SLOWER)
    lanes = [
        threading.Thread(target=_crash, args=(course, service, points, crashes), name=f"crashes of {service}")
        for service, points in _share(course, every=form.faults >= 100).items()
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    course.feed.hurry()
    begun = course.feed.share
    for number in range(form.faults):
        course.feed.wait_share(begun + (1 - begun) * (number + 1) / (form.faults + 2))
        name = course.random.choice(course.plan.services)
        course.fleet.kill(name)
        course.fleet.start(name)
    points = dict(sorted(crashes.reached.items()))
    missed = {"not_reached": crashes.missed} if crashes.missed else {}
    return {"faults": form.faults + crashes.reached.total(), "kills": form.faults, "crash_points": points, **missed}


def _share(course: Course, *, every: bool) -> dict[str, list[str]]:
    """Which service dies at which points: every one at all of its own, or each point once, at some service that has it."""
    if every:
        return {service: [*points_of(service), *(["recovery"] if service in _STAGES else [])] for service in _SERVICES}
    shared: dict[str, list[str]] = {service: [] for service in _SERVICES}
    points = [*sorted({point for service in _SERVICES for point in points_of(service)}), "recovery"]
    for point in points:
        able = [service for service in _SERVICES if point in points_of(service) or (point == "recovery" and service in _STAGES)]
        fewest = min(len(shared[service]) for service in able)
        shared[course.random.choice([service for service in able if len(shared[service]) == fewest])].append(point)
    return shared


def _crash(course: Course, service: str, points: list[str], crashes: _Crashes) -> None:
    """One point after the other, each in a fresh process. In the end the service runs as it did."""
    for point in points:
        for step in ("redis-write-after", *RECOVERY_POINTS) if point == "recovery" else (point,):
            if course.fleet.alive(service):
                course.fleet.kill(service)
            course.fleet.start(service, crash_at=step)

            if _dies(course, service):
                crashes.reached[step] += 1
            else:
                crashes.missed.append(f"{service} {step}")
    if points:
        if course.fleet.alive(service):
            course.fleet.kill(service)
        course.fleet.start(service)


def _dies(course: Course, service: str) -> bool:
    """Whether it kills itself while there is traffic."""
    end = time.monotonic() + _REACH_SECONDS
    while (code := course.fleet.code(service)) is None:
        if time.monotonic() > end or not course.feed.is_alive():
            return False
        time.sleep(_LOOK_S)
    assert code == -signal.SIGKILL, f"{service} ended with {code} at a crash point: {course.fleet.last_words(service)}"
    return True


KILL = Drill(
    name="kill",
    about="kill -9 of service processes, at named points of the commit protocol and at random, restarted each time",
    disturb=_kill,
    short=Form(shoppers=300, seconds=6, faults=8),
    long=Form(shoppers=2_000, seconds=300, faults=100),
    static=True,
    broken=lambda line: "not_reached" in line,
)
