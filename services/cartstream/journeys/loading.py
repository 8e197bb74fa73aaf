"""Reading journeys from YAML: whatever is wrong is named with its file and line, all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from cartstream.journeys.definition import ChannelRules, Journey, Journeys, StepRule
from cartstream.journeys.quiet import zone_named
from cartstream.runtime.rules_file import Problem, misfits, parse_rules, parse_written, text_of

DEFAULT = Path(__file__).with_name("default.yaml")
_SOUND_STEP = {"name": "step", "channels": ["email"], "template": "template"}


def load_journeys(path: Path | str | None = None) -> Journeys:
    """The journeys of a file, or of the package. Raises ConfigError: one `file:line: what is wrong` a line."""
    file = Path(path) if path else DEFAULT
    return read_journeys(text_of(file, "CARTSTREAM_JOURNEYS"), file.name if file == DEFAULT else str(file))


def read_journeys(text: str, file: str) -> Journeys:
    rules = parse_rules(text, file)
    problems = list(_misshapen(rules.plain))
    if not problems:
        journeys = msgspec.convert(rules.plain, Journeys, dec_hook=parse_written)
        problems = list(_contradictions(journeys))
        if not problems:
            return journeys
    raise rules.wrong(problems)


def _misshapen(plain: Any) -> Iterator[Problem]:
    """Each step, journey and channel for itself, so that one mistake does not hide the next; then the whole."""
    found = False
    for path, value, kind in _parts(plain):
        for problem in misfits(value, kind, path):
            found = True
            yield problem
    if not found:
        yield from misfits(plain, Journeys)


def _parts(plain: Any) -> Iterator[tuple[str, Any, type]]:
    if not isinstance(plain, dict):
        return
    channels, journeys = plain.get("channels"), plain.get("journeys")
    for name, rules in channels.items() if isinstance(channels, dict) else ():
        if name in ("email", "sms", "push"):
            yield f"$.channels.{name}", rules, ChannelRules
    for index, journey in enumerate(journeys if isinstance(journeys, list) else ()):
        steps = journey.get("steps") if isinstance(journey, dict) else None
        path = f"$.journeys[{index}]"
        if not isinstance(steps, list) or not steps:
            yield path, journey, Journey
            continue
        yield path, {**journey, "steps": [_SOUND_STEP]}, Journey
        for number, step in enumerate(steps):
            yield f"{path}.steps[{number}]", step, StepRule


def _contradictions(rules: Journeys) -> Iterator[Problem]:
    """What the shape cannot say."""
    names = [journey.name for journey in rules.journeys]
    for name in ("email", "sms", "push"):
        quiet = rules.channels.rules_of(name).quiet
        if quiet is not None and quiet.start == quiet.until:
            yield f"$.channels.{name}.quiet", "`from` and `until` are the same; leave `quiet` out for none"
    for index, journey in enumerate(rules.journeys):
        path = f"$.journeys[{index}]"
        if journey.name in names[:index]:
            yield f"{path}.name", f"a second journey is called {journey.name}"
        for place, other in enumerate(journey.outranks):
            if other not in names or other == journey.name:
                yield f"{path}.outranks[{place}]", f"no other journey is called {other}"
            elif journey.name in rules.journeys[names.index(other)].outranks:
                yield f"{path}.outranks[{place}]", f"{other} outranks {journey.name} as well; only one can"
        if journey.timezone is not None and zone_named(journey.timezone) is None:
            yield f"{path}.timezone", f"no time zone is called {journey.timezone}; use an IANA name such as Europe/Berlin"
        yield from _contradicting_steps(journey, path)
        if journey.at_once:
            yield from _not_at_once(journey, path)


def _contradicting_steps(journey: Journey, path: str) -> Iterator[Problem]:
    names = [step.name for step in journey.steps]
    for number, step in enumerate(journey.steps):
        place = f"{path}.steps[{number}]"
        if step.name in names[:number]:
            yield f"{place}.name", f"a second step is called {step.name}"
        if number and step.after <= journey.steps[number - 1].after:
            yield f"{place}.after", "each step must come later than the one before it"
        if len(set(step.channels)) < len(step.channels):
            yield f"{place}.channels", "a channel is named twice"
        if step.expires_after == 0:
            yield f"{place}.expires_after", "a message that expires at once is never sent"
        if step.guard == "cart" and journey.trigger == "browse_abandoned":
            yield f"{place}.guard", "browsing leaves no cart; use purchase"


def _not_at_once(journey: Journey, path: str) -> Iterator[Problem]:
    if len(journey.steps) > 1:
        yield f"{path}.steps[1]", "an exit_intent journey has one step, sent at once; what follows later is for cart_abandoned"
    if journey.steps[0].after:
        yield f"{path}.steps[0].after", "an exit_intent journey sends at once; leave `after` out"
    if journey.outranks:
        yield f"{path}.outranks", "an exit_intent journey is over at once and cannot outrank another"
    if journey.quiet not in ("drop", "ignore"):
        yield f"{path}.quiet" if journey.quiet else path, "an exit_intent message cannot wait: set `quiet` to drop or ignore"
