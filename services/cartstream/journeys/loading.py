"""Reading journeys from YAML: whatever is wrong is named with its file and line, all of it at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cartstream.errors import ConfigError
from cartstream.journeys.definition import ChannelRules, Duration, Journey, Journeys, StepRule, WallTime
from cartstream.journeys.quiet import zone_named

DEFAULT = Path(__file__).with_name("default.yaml")
_PLACE = re.compile(r"(.*?)(?: - at `(\$.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")
_SOUND_STEP = {"name": "step", "channels": ["email"], "template": "template"}
Problem = tuple[str, str]
"""Path in the file (`$.journeys[0].steps[1].after`), and what is wrong there."""


def load_journeys(path: Path | str | None = None) -> Journeys:
    """The journeys of a file, or of the package. Raises ConfigError: one `file:line: what is wrong` a line."""
    file = Path(path) if path else DEFAULT
    try:
        return read_journeys(file.read_text(encoding="utf-8"), file.name if file == DEFAULT else str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}; CARTSTREAM_JOURNEYS must name a readable YAML file") from error


def read_journeys(text: str, file: str) -> Journeys:
    lines: dict[str, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        plain = _plain(node, "$", lines) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{file}:{line}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}:1: not YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{file}:1: an anchor contains itself; write it out") from error
    problems = list(_misshapen(plain))
    if not problems:
        journeys = msgspec.convert(plain, Journeys, dec_hook=_dec_hook)
        problems = list(_contradictions(journeys))
        if not problems:
            return journeys
    problems.sort(key=lambda problem: _line(problem[0], lines))
    raise ConfigError("\n".join(f"{file}:{_line(path, lines)}: {_short(path)}{message}" for path, message in problems))


def _plain(node: yaml.Node, path: str, lines: dict[str, int]) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, f"{path}[{index}]", lines) for index, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(node)
    fields: dict[str, Any] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in fields:
            raise yaml.MarkedYAMLError(problem=f"`{name}` is given twice", problem_mark=key.start_mark)
        lines[f"{path}.{name}"] = key.start_mark.line + 1
        fields[name] = _plain(value, f"{path}.{name}", lines)
    return fields


def _scalar(node: yaml.Node) -> Any:
    """As YAML resolves it, but 21:00 stays text: YAML 1.1 would make it 1260."""
    kind, text = node.tag.rpartition(":")[2], str(node.value)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("yes", "true", "on")
    if kind in ("int", "float"):
        try:
            return int(text) if kind == "int" else float(text)
        except ValueError:
            return text
    return text


def _misshapen(plain: Any) -> Iterator[Problem]:
    """Each step, journey and channel for itself, so that one mistake does not hide the next; then the whole."""
    found = False
    for path, value, kind in _parts(plain):
        for problem in _convert(value, kind, path):
            found = True
            yield problem
    if not found:
        yield from _convert(plain, Journeys, "$")


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


def _convert(value: Any, kind: type, path: str) -> Iterator[Problem]:
    try:
        msgspec.convert(value, kind, dec_hook=_dec_hook)
    except msgspec.ValidationError as error:
        message, inner = _PLACE.fullmatch(str(error)).groups()  # type: ignore[union-attr]
        place = path + (inner or "$")[1:]
        unknown = _UNKNOWN.fullmatch(message)
        if unknown:
            place, message = f"{place}.{unknown[1]}", "no such field"
        yield place, message[0].lower() + message[1:]


def _dec_hook(kind: type, value: Any) -> Any:
    if kind is Duration or kind is WallTime:
        return kind.parse(value)
    raise NotImplementedError(kind)


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


def _line(path: str, lines: dict[str, int]) -> int:
    while path not in lines and path != "$":
        path = path[: max(path.rfind("."), path.rfind("["))] or "$"
    return lines.get(path, 1)


def _short(path: str) -> str:
    return f"{path[2:]}: " if len(path) > 2 else ""
