"""Rules in YAML: read as plain values with the line of each, and checked so that all that is wrong is named at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cartstream.errors import ConfigError
from cartstream.events.times import DAY, HOUR, MINUTE, SECOND

Problem = tuple[str, str]
"""Path in the file (`$.journeys[0].steps[1].after`), and what is wrong there."""

_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_DURATION = re.compile(r"(\d+)\s*([smhd])")
_PLACE = re.compile(r"(.*?)(?: - at `(\$.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")


class Duration(int):
    """Milliseconds, written as `90s`, `30m`, `24h` or `14d`."""

    @classmethod
    def parse(cls, text: object) -> Duration:
        match = _DURATION.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"expected a duration such as 90s, 30m, 24h or 14d, got {text!r}")
        return cls(int(match[1]) * _UNITS[match[2]])


class RulesFile:
    """`plain` is the file's content; `wrong` makes the error that names file, line and field of each problem."""

    def __init__(self, plain: Any, name: str, lines: dict[str, int]) -> None:
        self.plain = plain
        self._name = name
        self._lines = lines

    def wrong(self, problems: Iterable[Problem]) -> ConfigError:
        in_order = sorted(problems, key=lambda problem: self._line(problem[0]))
        return ConfigError("\n".join(f"{self._name}:{self._line(path)}: {_short(path)}{message}" for path, message in in_order))

    def _line(self, path: str) -> int:
        while path not in self._lines and path != "$":
            path = path[: max(path.rfind("."), path.rfind("["))] or "$"
        return self._lines.get(path, 1)


def text_of(file: Path, setting: str) -> str:
    """Raises ConfigError, naming the setting that led here."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}; {setting} must name a readable YAML file") from error


def parse_rules(text: str, name: str) -> RulesFile:
    """Raises ConfigError when it is no YAML."""
    lines: dict[str, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return RulesFile(_plain(node, "$", lines) if node is not None else {}, name, lines)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}:1: not YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{name}:1: an anchor contains itself; write it out") from error


def misfits(value: Any, kind: type, path: str = "$") -> Iterator[Problem]:
    """Where a plain value is not what `kind` says; the first place only, as msgspec tells it."""
    try:
        msgspec.convert(value, kind, dec_hook=parse_written)
    except msgspec.ValidationError as error:
        message, inner = _PLACE.fullmatch(str(error)).groups()  # type: ignore[union-attr]
        place = path + (inner or "$")[1:]
        unknown = _UNKNOWN.fullmatch(message)
        if unknown:
            place, message = f"{place}.{unknown[1]}", "no such field"
        yield place, message[0].lower() + message[1:]


def parse_written(kind: type, value: Any) -> Any:
    """msgspec's hook for types that are written in a way of their own: they have a `parse` that raises ValueError."""
    parse = getattr(kind, "parse", None)
    if parse is None:
        raise NotImplementedError(kind)
    return parse(value)


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


def _short(path: str) -> str:
    return f"{path[2:]}: " if len(path) > 2 else ""
