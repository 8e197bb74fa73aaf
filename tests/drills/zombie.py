"""`zombie`: a process stops in the middle of its work, another takes over, and the first wakes up and goes on as if nothing had been."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.drills.course import Course
from tests.drills.drill import Drill, Form
from tests.drills.traffic import PARTITIONS

_STAGE_POINTS = ("redis-write-before", "redis-write-after", "send-offsets-before", "commit-before")
# What a provider has accepted is written down whoever has the command by now: nothing is refused at "outcome-before".
_SENDER_POINTS = ("intent-before", "intent-after", "offsets-before")
_MAY_PASS = "commit-before"
"""Until the coordinator ends the zombie's transaction it may still commit it: the new owner waits for one or the other."""
_REFUSALS = ("cartstream_fenced_total", "cartstream_commit_failures_total")
"""By the ledger, Redis or the group; by the transaction coordinator, which ended what the zombie had begun."""
_SENDERS = ("email", "sms", "push")
_SLOWER = 4.0
_SECONDS = 60.0


@dataclass(slots=True)
class _Zombies:
    """`refused` counts the writes that were refused to each."""

    refused: dict[str, int] = field(default_factory=dict)
    harmless: list[str] = field(default_factory=list)
    """Those to which nothing was refused: they did not wake up in the middle of a write."""


def _zombie(course: Course, form: Form) -> Mapping[str, Any]:
    zombies = _Zombies()
    course.feed.linger(_SLOWER)
    lanes = [
        threading.Thread(target=_walk, args=(course, service, points, zombies), name=f"zombies of {service}")
        for service, points in _share(course, form).items()
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    course.feed.hurry()
    harmless = {"not_refused": zombies.harmless} if zombies.harmless else {}
    return {"faults": form.faults, "refused_writes": sum(zombies.refused.values()), "refused": zombies.refused, **harmless}


def _share(course: Course, form: Form) -> dict[str, list[str]]:
    """A point for a stage and one for a sender, or all of them for all."""
    everywhere = {service: list(_SENDER_POINTS if service in _SENDERS else _STAGE_POINTS) for service in course.plan.services}
    everywhere.pop("insights", None)
    if form.faults >= sum(map(len, everywhere.values())):
        return everywhere
    stage, sender = course.random.choice(("identity", "sessions", "detection", "journeys")), course.random.choice(("email", "push"))
    return {service: [course.random.choice(everywhere[service])] for service in (stage, sender)}


def _walk(course: Course, service: str, points: list[str], zombies: _Zombies) -> None:
    """For each point: stop there, be replaced, wake up, be refused."""
    fleet = course.fleet
    heir = f"{service}-2"
    for point in points:
        fleet.stop(service)
        fleet.start(service, freeze_at=point)
        fleet.until(service, lambda: fleet.frozen(service), f"frozen at {point}", _SECONDS)
        fleet.start(heir)
        fleet.until(heir, lambda: _owns(course, heir) == PARTITIONS, "the owner of all partitions", _SECONDS)
        _let_it_work(course, heir)
        fleet.thaw(service)
        fleet.until(
            service, lambda: _owns(course, service) + _owns(course, heir) == PARTITIONS and _owns(course, service) > 0, "back", _SECONDS
        )
        refused = int(sum(fleet.metric(service, metric) for metric in _REFUSALS))
        zombies.refused[f"{service} {point}"] = refused
        if not refused and point != _MAY_PASS:
            zombies.harmless.append(f"{service} {point}")
        assert fleet.stop(heir) == 0, f"{heir} ended badly: {fleet.last_words(heir)}"
        fleet.forget(heir)


def _owns(course: Course, name: str) -> int:
    return int(course.fleet.metric(name, "cartstream_assigned_partitions"))


def _let_it_work(course: Course, heir: str) -> None:
    """Until the new owner has done what the zombie had under way: all that is there by now."""
    ends = course.ends(heir.partition("-")[0])
    course.fleet.until(heir, lambda: course.has_done(heir.partition("-")[0], ends), "done with what the zombie had", _SECONDS)


ZOMBIE = Drill(
    name="zombie",
    about="SIGSTOP past the session timeout, take-over, SIGCONT: what the zombie writes is refused",
    disturb=_zombie,
    short=Form(shoppers=300, seconds=6, faults=2),
    long=Form(shoppers=2_000, seconds=120, faults=25),
    env={"CARTSTREAM_SESSION_TIMEOUT_MS": "3000"},
    broken=lambda line: "not_refused" in line,
)
