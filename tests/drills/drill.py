"""What a drill is, and how it comes to its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cartstream.up.launch import SERVICES
from tests.drills.course import Course, Plan, Result, running
from tests.drills.surroundings import Surroundings, usual
from tests.drills.traffic import Traffic, make
from tests.drills.verdict import judge

OUT = Path("build/drills")
Line = dict[str, Any]
Disturb = Callable[["Course", "Form"], Mapping[str, Any]]
"""What a drill does while the traffic is fed. It gives `faults`, how many there were, and whatever else its line is to say."""


@dataclass(frozen=True, slots=True)
class Form:
    """How big: `shoppers`, real `seconds` of feed (for which the drill may hold it), and `faults` to inject."""

    shoppers: int
    seconds: float
    faults: int = 1


class Drills(Protocol):
    """What can be run by its name."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str: ...

    def run(self, ground: Ground, seed: int, *, short: bool) -> tuple[Line, bool]:
        """The line, and whether every promise was kept. Raises AssertionError when it does not come to its end."""


@dataclass(frozen=True, slots=True)
class Drill:
    """`around` makes the surroundings of the disturbed course out of the usual ones; the reference always has the usual ones.

    `env` and `static` are of the disturbed course's services. `inspect` adds to the line what can be seen when all is done, while the
    processes still run. `broken` says what of the line breaks a promise besides the usual.
    """

    name: str
    about: str
    disturb: Disturb
    short: Form
    long: Form
    around: Callable[[Surroundings], AbstractContextManager[Surroundings]] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    static: bool = False
    services: Sequence[str] = SERVICES
    inspect: Callable[[Course], Mapping[str, Any]] = lambda course: {}
    broken: Callable[[Line], bool] = lambda line: False

    def run(self, ground: Ground, seed: int, *, short: bool) -> tuple[Line, bool]:
        """The line, and whether every promise was kept. Raises AssertionError when a course does not come to its end."""
        form = self.short if short else self.long
        traffic = ground.traffic(seed, form.shoppers)
        reference = ground.reference(traffic, form.seconds)
        said: dict[str, Any] = {}
        disturbed = self._disturbed(ground, traffic, form, said)
        return self.line(seed, short, said, reference, disturbed, traffic)

    def _disturbed(self, ground: Ground, traffic: Traffic, form: Form, said: dict[str, Any]) -> Result:
        plan = Plan(traffic, form.seconds, self.env, self.static, self.services)
        out = ground.out / f"{self.name}-{traffic.seed}"
        around = nullcontext(ground.surroundings) if self.around is None else self.around(ground.surroundings)
        with around as surroundings, running(surroundings, plan, out) as course:
            return course.play(
                lambda course: said.update(self.disturb(course, form)),
                lambda course: said.update(self.inspect(course)),
            )

    def line(
        self, seed: int, short: bool, said: Mapping[str, Any], reference: Result, disturbed: Result, traffic: Traffic
    ) -> tuple[Line, bool]:
        verdict = judge(reference, disturbed, traffic.truth)
        line = {
            "drill": self.name,
            "seed": seed,
            "form": "short" if short else "long",
            "faults": said["faults"],
            "events": disturbed.events,
            "commands": verdict.commands,
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "unexpected": verdict.unexpected,
            "sent_after_purchase": verdict.sent_after_purchase,
            "max_stall_s": round(disturbed.max_stall_s, 1),
            "max_stall_undisturbed_s": round(reference.max_stall_s, 1),
            "seconds": round(disturbed.seconds, 1),
            **({"fed_twice": disturbed.fed_twice} if disturbed.fed_twice and "poison" not in said else {}),
            **{name: count for name, count in sorted(verdict.allowed.items()) if count},
            **{name: value for name, value in said.items() if name != "faults"},
            **({"restarted": disturbed.restarted} if disturbed.restarted else {}),
            **({"differences": verdict.differences} if verdict.differences else {}),
        }
        return line, verdict.good and verdict.commands > 0 and not self.broken(line)


class Ground:
    """Usual surroundings, and the references that drills share."""

    def __init__(self, surroundings: Surroundings, out: Path = OUT) -> None:
        self.surroundings, self.out = surroundings, out
        self._traffic: dict[tuple[int, int], Traffic] = {}
        self._references: dict[tuple[int, int], Result] = {}

    def traffic(self, seed: int, shoppers: int) -> Traffic:
        if (seed, shoppers) not in self._traffic:
            self._traffic[seed, shoppers] = make(seed, shoppers, self.surroundings.providers.url)
        return self._traffic[seed, shoppers]

    def reference(self, traffic: Traffic, seconds: float) -> Result:
        """Undisturbed. Run once for the same traffic, at the pace of the drill that asks first: what comes of it is the same at any."""
        key = traffic.seed, traffic.shoppers
        if key not in self._references:
            with running(self.surroundings, Plan(traffic, seconds), self.out / "reference") as course:
                self._references[key] = course.play()
        return self._references[key]


__all__ = ["OUT", "Disturb", "Drill", "Drills", "Form", "Ground", "Line", "usual"]
