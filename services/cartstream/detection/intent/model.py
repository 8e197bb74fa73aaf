"""The model: tables of logits, one for each feature and for some pairs of features, added up. No library is needed to score.

A feature's value falls into a level of its axis; a table has one logit for each level, or for each pair of levels. So a score is
as many look-ups as there are tables, and the look-ups are the explanation. It is what others call a generalised additive model with
pairwise interactions (GA2M, Lou et al. 2013).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from math import exp, isfinite
from pathlib import Path
from typing import NamedTuple

import msgspec

from cartstream.detection.intent.report import Report
from cartstream.errors import ConfigError

FORMAT = "cartstream-intent-1"
SHIPPED = "shipped"
INTERCEPT, OTHERS = "intercept", "others"
EXPLAINED_LIMIT = 12
_LIMIT = 30.0

Value = float | str | None
Features = Mapping[str, Value]


class Axis(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a feature's values are told apart by: `edges` if it is a number (a level begins at its edge), else `values`.

    Level 0 is what the axis does not know: a missing number, a value that training did not see often enough.
    """

    name: str
    edges: list[float] = []
    values: list[str] = []

    @property
    def levels(self) -> int:
        return len(self.values) + 1 if self.values else len(self.edges) + 2

    def level(self, value: Value) -> int:
        if self.values:
            return self.values.index(value) + 1 if value in self.values else 0
        if value is None or isinstance(value, str) or not isfinite(value):
            return 0
        return bisect_right(self.edges, value) + 1


class Term(msgspec.Struct, frozen=True):
    """The logits of one feature, or of two (row by row: the second feature's levels run fastest)."""

    of: list[str]
    logits: list[float]

    @property
    def name(self) -> str:
        return " & ".join(self.of)


class Explained(NamedTuple):
    """`probability` that the shopper leaves without buying; the contributions, the intercept among them, add up to its logit."""

    probability: float
    logit: float
    contributions: dict[str, float]


class IntentModel(msgspec.Struct, frozen=True):
    """What a model file holds. `threshold` is the least probability that is an exit intent."""

    format: str
    axes: list[Axis]
    intercept: float
    terms: list[Term]
    threshold: float
    report: Report

    def explain(self, features: Features) -> Explained:
        """Features that are missing count as unknown; those the model does not know are not looked at."""
        level = {axis.name: axis.level(features.get(axis.name)) for axis in self.axes}
        width = {axis.name: axis.levels for axis in self.axes}
        contributions = {INTERCEPT: self.intercept}
        for term in self.terms:
            place = level[term.of[0]]
            if len(term.of) == 2:
                place = place * width[term.of[1]] + level[term.of[1]]
            contributions[term.name] = term.logits[place]
        logit = sum(contributions.values())
        return Explained(probability_of(logit), logit, contributions)


def probability_of(logit: float) -> float:
    return 1.0 / (1.0 + exp(-min(max(logit, -_LIMIT), _LIMIT)))


def bounded(contributions: Mapping[str, float], limit: int = EXPLAINED_LIMIT) -> dict[str, float]:
    """The intercept and the largest, strongest first; the rest as one, so that the sum stays. Zeros left out."""
    parts = [(name, part) for name, part in contributions.items() if name != INTERCEPT and part]
    parts.sort(key=lambda one: (-abs(one[1]), one[0]))
    kept = {INTERCEPT: contributions.get(INTERCEPT, 0.0), **dict(parts[:limit])}
    if len(parts) > limit:
        kept[OTHERS] = sum(part for _, part in parts[limit:])
    return {name: round(part, 4) for name, part in kept.items()}


@lru_cache(maxsize=8)
def load_model(where: str) -> IntentModel:
    """From a file; `shipped` is the one in the package. Raises ConfigError."""
    try:
        raw = (files("cartstream.detection.intent") / "shipped.json").read_bytes() if where == SHIPPED else Path(where).read_bytes()
    except OSError as error:
        raise ConfigError(f"intent model {where}: {error.strerror}; name a file of `cartstream detection train`, or {SHIPPED}") from error
    return decode_model(raw, where)


def decode_model(raw: bytes, where: str) -> IntentModel:
    """Raises ConfigError if it is no model, or one whose tables do not fit."""
    try:
        model = msgspec.json.decode(raw, type=IntentModel)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"intent model {where}: {error}; make it with `cartstream detection train`") from error
    fault = fault_of(model)
    if fault is not None:
        raise ConfigError(f"intent model {where}: {fault}; make it with `cartstream detection train`")
    return model


def fault_of(model: IntentModel) -> str | None:
    """Why the model cannot score, if it cannot."""
    if model.format != FORMAT:
        return f"its format is {model.format}, not {FORMAT}"
    width = {axis.name: axis.levels for axis in model.axes}
    for axis in model.axes:
        if axis.edges != sorted(set(axis.edges)) or (axis.edges and axis.values):
            return f"the axis {axis.name} is out of order"
    for term in model.terms:
        if not 1 <= len(term.of) <= 2 or any(name not in width for name in term.of):
            return f"the table {term.name} is of features that have no axis"
        if len(term.logits) != _size([width[name] for name in term.of]):
            return f"the table {term.name} has {len(term.logits)} logits for {_size([width[name] for name in term.of])} places"
    numbers = [model.intercept, model.threshold, *(logit for term in model.terms for logit in term.logits)]
    return None if all(map(isfinite, numbers)) and 0 <= model.threshold <= 1 else "a number is out of bounds"


def _size(widths: Sequence[int]) -> int:
    size = 1
    for width in widths:
        size *= width
    return size
