"""UCI's Online Shoppers Purchasing Intention: a row is one visit, with counts and durations of page kinds and the outcome.

Rows have no time and no visitor, so each becomes a device of its own in 2018, in file order within its month; its pages are
spread evenly over the row's durations. The row's label (Revenue) becomes an order at the end.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cartstream.errors import ConfigError
from cartstream.events.adapters.recorded import Recorded, event, open_text
from cartstream.events.times import HOUR, MINUTE, SECOND, EventTime, from_datetime

_MONTHS = {
    name: number
    for number, name in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], start=1)
}
_KINDS = ("Administrative", "Informational", "ProductRelated")
_LONGEST_GAP = 20 * MINUTE


def read(path: Path) -> Iterator[Recorded]:
    """In order of time. Raises ConfigError with the line."""
    recorded: list[Recorded] = []
    with open_text(path) as lines:
        for number, row in enumerate(csv.DictReader(lines, delimiter=";"), start=2):
            try:
                recorded += _visit(number, row)
            except (KeyError, TypeError, ValueError) as error:
                raise ConfigError(f"{path}, line {number}: not a row of the shoppers file ({error})") from error
    return iter(sorted(recorded, key=lambda entry: (entry.at, entry.key)))


def _visit(number: int, row: dict[str, str]) -> Iterator[Recorded]:
    device = f"shopper-{number}"
    at = from_datetime(datetime(2018, _MONTHS[row["Month"]], 1, tzinfo=UTC)) + number % 600 * HOUR + number % 3_600 * SECOND
    index = 0
    for kind in _KINDS:
        pages = int(row[kind])
        pause = min(int(float(row[f"{kind}_Duration"]) * SECOND / pages) if pages else 0, _LONGEST_GAP)
        for _ in range(pages):
            yield _page(at, device, f"{device}-{index}", kind, index)
            at, index = at + pause, index + 1
    if row["Revenue"].upper() == "TRUE":
        yield event(at, device, f"{device}-order", "track", "Order Completed", properties={"order_id": device})


def _page(at: EventTime, device: str, message: str, kind: str, index: int) -> Recorded:
    if kind == "ProductRelated":
        return event(at, device, message, "track", "Product Viewed", properties={"product_id": f"{device}-{index}"})
    return event(at, device, message, "page", name=kind)
