"""Records that cannot be used, on their way to a dead-letter topic: as they came, with why."""

from __future__ import annotations

from cartstream.errors import PartitionHalted, Refused
from cartstream.events import topics
from cartstream.runtime.kafka import LARGEST_RECORD
from cartstream.runtime.stage import Output, Record

_OVERHEAD = 10_000
"""More than Kafka adds to a record, with as many headers as one has."""


class RecordTooLarge(PartitionHalted):
    """A record that cannot be used, and that no dead-letter topic takes. The partition stops before it: nothing is dropped in silence."""

    def __init__(self, record: Record, size: int) -> None:
        super().__init__(
            f"{record.topic}[{record.partition}]: the record at offset {record.offset} cannot be used, and is too large for "
            f"{topics.dead_letters(record.topic)}: {size} bytes, at most {LARGEST_RECORD}. Keep a copy if you need one, and go on "
            f"behind it with `cartstream state skip --offset {record.offset + 1}` (see docs/operations.md)"
        )
        self.offset = record.offset


def dead_letter(service: str, record: Record, refused: Refused) -> Output:
    """The record as it came, headers and all, with more that say what, where and why. Raises RecordTooLarge."""
    said = {
        "cs-reason": refused.reason,
        "cs-detail": refused.detail,
        "cs-service": service,
        "cs-topic": record.topic,
        "cs-partition": str(record.partition),
        "cs-offset": str(record.offset),
        "cs-timestamp": str(record.timestamp),
    }
    headers = [*record.headers, *((name, text.encode()) for name, text in said.items())]
    key = None if record.key is None else record.key.decode(errors="replace")
    if record.key is not None and key != record.key.decode(errors="ignore"):
        headers.append(("cs-key", record.key))  # a key that is no text
    size = len(record.value) + len(record.key or b"") + sum(len(name) + len(value or b"") for name, value in headers)
    if size > LARGEST_RECORD - _OVERHEAD:
        raise RecordTooLarge(record, size)
    return Output(topics.dead_letters(record.topic), key, record.value, headers=headers)
