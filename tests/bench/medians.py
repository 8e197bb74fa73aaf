"""Of several runs of one benchmark: the run in the middle of each figure."""

from __future__ import annotations

import statistics
from typing import Any


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Each number's median over the runs, in nested objects too; `runs` says how many there were, and `spread` from where to where the
    first figure that differs went. What is no number is the last run's."""
    merged = {name: _median([run[name] for run in runs]) for name in runs[-1]}
    if len(runs) > 1:
        merged["runs"] = len(runs)
        for name, value in runs[-1].items():
            figures = [run[name] for run in runs]
            if _is_number(value) and min(figures) != max(figures):
                return merged | {"spread": {name: [min(figures), max(figures)]}}
    return merged


def _median(values: list[Any]) -> Any:
    if all(_is_number(value) for value in values):
        return round(statistics.median(values), 3)
    if all(isinstance(value, dict) for value in values):
        return {name: _median([value[name] for value in values if name in value]) for name in values[-1]}
    return values[-1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
