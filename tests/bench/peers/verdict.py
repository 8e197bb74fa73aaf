"""An engine's output against the reference, record by record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cartstream.events.times import EventTime
from tests.bench.peers.facts import Fact, Name
from tests.bench.peers.reference import Expected

EXAMPLES = 3


@dataclass(slots=True)
class Verdict:
    """How many records are not as they must be, and some `examples` of them."""

    outputs: int = 0
    expected: int = 0
    missing: int = 0
    duplicates: int = 0
    wrong: int = 0
    extra: int = 0
    out_of_order: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def correct(self) -> bool:
        return not (self.missing or self.duplicates or self.wrong or self.extra or self.out_of_order)

    def counts(self) -> dict[str, Any]:
        names = ("outputs", "expected", "missing", "duplicates", "wrong", "extra", "out_of_order")
        return {"correct": self.correct, **{name: getattr(self, name) for name in names}}

    def complain(self, what: str, about: object) -> None:
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{what}: {about}")


def compare(facts: Iterable[Fact], expected: Expected) -> Verdict:
    """Each record once, with the right content; of one customer, what clicks caused in the order of the clicks."""
    verdict = Verdict(expected=len(expected.required))
    seen: set[Name] = set()
    latest: dict[str, EventTime] = {}
    for fact in facts:
        verdict.outputs += 1
        if fact.name in seen:
            verdict.duplicates += 1
            verdict.complain("duplicate", fact)
            continue
        seen.add(fact.name)
        _judge(fact, expected, verdict)
        if fact.kind != "session_ended":
            if fact.at < latest.get(fact.customer, 0):
                verdict.out_of_order += 1
                verdict.complain("out of order", fact)
            latest[fact.customer] = fact.at
    missing = [name for name in expected.required if name not in seen]
    verdict.missing = len(missing)
    for name in missing[:EXAMPLES]:
        verdict.complain("missing", name)
    return verdict


def _judge(fact: Fact, expected: Expected, verdict: Verdict) -> None:
    digest = expected.required.get(fact.name, expected.allowed.get(fact.name))
    if digest is None:
        verdict.extra += 1
        verdict.complain("extra", fact)
    elif digest != hash(fact):
        verdict.wrong += 1
        verdict.complain("wrong", fact)
