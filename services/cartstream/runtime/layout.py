"""How the topics lie around a stage, and what one batch of it may hold."""

from __future__ import annotations

from dataclasses import dataclass

from cartstream.events import avro
from cartstream.events.records import Watermark


@dataclass(frozen=True, slots=True)
class Layout:
    """How the topics lie: `source_partitions` of the stage's input, `partitions` of every topic that cartstream makes.

    At the end of a backlog time passes for everybody: a batch takes no further watermark once it wakes so many (`wakes`).
    """

    source_partitions: int
    partitions: int
    cache_entries: int = 200_000
    watermark_header: bytes = b""
    wakes: int = 5_000

    @classmethod
    def of(cls, source_partitions: int, partitions: int, cache_entries: int = 200_000, wakes: int = 5_000) -> Layout:
        return cls(source_partitions, partitions, cache_entries, avro.codec().header_of(Watermark), wakes)
