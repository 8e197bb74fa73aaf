"""Labelled sessions: a CSV with a column that says whether the shopper bought; all others are features, unless left out."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cartstream.detection.intent.model import Value
from cartstream.errors import ConfigError
from cartstream.events.adapters.recorded import open_text

LABELS = ("bought", "Revenue")
GROUP = "customer_id"
YES, NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
# Of the Online Shoppers Purchasing Intention data set (Sakar et al. 2018): no live session knows them.
LEAKING = {
    "PageValues": "leaks the label: it is computed from completed orders",
    "ExitRates": "a figure of the whole site over the whole period, orders included",
    "BounceRates": "a figure of the whole site over the whole period, orders included",
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """`columns` by name, all as long as `left`. A column of numbers has None where nothing stands; all others have strings.

    `groups` are rows of one customer: they are never torn apart between training and validation. None: every row for itself.
    """

    source: str
    columns: dict[str, list[Value]]
    left: list[bool]
    groups: list[str] | None
    left_out: dict[str, str]


def read(path: Path, label: str | None = None, categories: Collection[str] = (), leave_out: Collection[str] = ()) -> Labelled:
    """Separated by comma, semicolon or tab. Raises ConfigError with the file and what is wrong."""
    names, rows = _rows(path)
    named = next((name for name in ((label,) if label else LABELS) if name in names), None)
    if named is None:
        raise ConfigError(f"{path}, line 1: no column {label or ' or '.join(LABELS)}; name the one that says who bought with --label")
    unknown = sorted({*categories, *leave_out} - set(names))
    if unknown:
        raise ConfigError(f"{path}, line 1: no column {unknown[0]}; there are {', '.join(names)}")
    left = [not _bought(path, number, row[names.index(named)]) for number, row in enumerate(rows, start=2)]
    left_out = {name: reason for name, reason in LEAKING.items() if name in names} | dict.fromkeys(sorted(leave_out), "left out on request")
    columns: dict[str, list[Value]] = {}
    for place, name in enumerate(names):
        if name in (named, GROUP) or name in left_out:
            continue
        column = [row[place] for row in rows]
        if len(set(column)) < 2:
            left_out[name] = "the same in every row"
        else:
            columns[name] = _typed(column, name in categories)
    groups = [row[names.index(GROUP)] for row in rows] if GROUP in names else None
    return Labelled(path.name, columns, left, groups, left_out)


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with open_text(path) as lines:
            header = lines.readline()
            delimiter = max(",;\t", key=header.count)
            names = next(csv.reader([header], delimiter=delimiter), [])
            rows = list(csv.reader(lines, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: {error}; give a CSV of labelled sessions") from error
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}, line 1: two columns have the same name")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise ConfigError(f"{path}, line {number}: {len(row)} values for {len(names)} columns")
    return names, rows


def _bought(path: Path, number: int, text: str) -> bool:
    word = text.strip().lower()
    if word not in YES and word not in NO:
        raise ConfigError(f"{path}, line {number}: the label is {text[:20]!r}; it must be true or false")
    return word in YES


def _typed(column: Sequence[str], category: bool) -> list[Value]:
    """Numbers if all are, else what they are called. None: a blank, as what a live session does not say."""
    told = [text if text.strip() else None for text in column]
    if category:
        return list(told)
    try:
        return [None if text is None else float(text) for text in told]
    except ValueError:
        return list(told)
